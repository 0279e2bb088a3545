// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the `xdp` link does in the kernel: probes out of a ring that user space fills, answers into a ring that it
// empties.
//
//   send      Takes the next frame from the ring, looks once more whether it may leave, and redirects it into the
//             device. Runs in BPF_PROG_RUN calls with live frames (Documentation/bpf/bpf_prog_run.rst), one after the
//             other, so all of its state belongs to one thread.
//   sent      Hears what became of the frames that `send` redirected. What the device has refused is sent again.
//   lost      Hears of a frame that could not even be redirected.
//   enlist    Notes which thread is the one that sends.
//   receive   Runs for every frame that comes in, and takes what answers our probes.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// The layout of what is shared stands in `mod.rs`, `programs.rs` and `receive.rs` too.
#define SLOTS 32768
#define FRAME_LEN 88
// A probe over Ethernet and IPv4; over IPv6 there are so many bytes more.
#define PROBE_LEN 66
#define MORE_LEN 20
#define STATUS_FREE 0
#define STATUS_READY 1
#define STATUS_TAKEN 2

// More than one call of `send` handles before what it redirected is flushed.
#define IN_FLIGHT 256

struct slot {
    __u32 status;
    __u32 len;
    __u64 reserved;
    __u8 frame[FRAME_LEN];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, SLOTS);
    __type(key, __u32);
    __type(value, struct slot);
} slots SEC(".maps");

// What user space reads of all this.
struct counts {
    // Frames that were to leave the scope.
    __u64 fenced;
    // Answers that found no room in the ring.
    __u64 dropped;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct counts);
} counts SEC(".maps");

// Of the thread that sends, and of no other.
struct sending {
    // The slot that `send` takes next.
    __u32 next;
    // Slots that were redirected and of which nobody knows more, oldest first.
    __u32 first_in_flight;
    __u32 in_flight;
    // Slots that are to be sent again, oldest first.
    __u32 first_again;
    __u32 again;
    // Whether `send` has run at all, which user space waits for.
    __u32 begun;
    // Which thread that is.
    __u64 thread;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sending);
} sending SEC(".maps");

// The two lists of it: slots in flight in the first half, slots to be sent again in the second.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2 * IN_FLIGHT);
    __type(key, __u32);
    __type(value, __u32);
} lists SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 23);
} answers SEC(".maps");

struct key4 {
    __u32 bits;
    __u8 address[4];
};

struct key6 {
    __u32 bits;
    __u8 address[16];
};

// The scope. How many networks it has is said when the programs are loaded.
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct key4);
    __type(value, __u8);
} scope4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct key6);
    __type(value, __u8);
} scope6 SEC(".maps");

// Its ports, a bit for each.
const volatile __u64 ports[1024];
// The ports that probes come from, both ends included.
const volatile __u16 first_source_port;
const volatile __u16 last_source_port;
// The device that they leave by.
const volatile __u32 device;
// The length of the frames that BPF_PROG_RUN hands to `send`.
const volatile __u32 run_len;

static __always_inline int is_in_scope4(const void *address) {
    struct key4 key = {.bits = 32};
    __builtin_memcpy(key.address, address, 4);
    return bpf_map_lookup_elem(&scope4, &key) != 0;
}

static __always_inline int is_in_scope6(const void *address) {
    struct key6 key = {.bits = 128};
    __builtin_memcpy(key.address, address, 16);
    return bpf_map_lookup_elem(&scope6, &key) != 0;
}

static __always_inline int is_port_in_scope(__u16 port) {
    return ports[port >> 6 & 1023] >> (port & 63) & 1;
}

// Whether a frame of at least PROBE_LEN bytes may leave. That is as far as both families' ports reach.
static __always_inline int may_leave(const struct ethhdr *eth) {
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        const struct iphdr *ip = (const void *)(eth + 1);
        const struct tcphdr *tcp = (const void *)(ip + 1);
        return ip->version == 4 && ip->ihl == 5 && ip->protocol == IPPROTO_TCP && is_in_scope4(&ip->daddr) &&
               is_port_in_scope(bpf_ntohs(tcp->dest));
    }
    if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        const struct ipv6hdr *ip = (const void *)(eth + 1);
        const struct tcphdr *tcp = (const void *)(ip + 1);
        return ip->version == 6 && ip->nexthdr == IPPROTO_TCP && is_in_scope6(&ip->daddr) &&
               is_port_in_scope(bpf_ntohs(tcp->dest));
    }
    return 0;
}

static __always_inline __u32 *entry(__u32 half, __u32 at) {
    __u32 key = half * IN_FLIGHT + (at & (IN_FLIGHT - 1));
    return bpf_map_lookup_elem(&lists, &key);
}

static __always_inline struct sending *state(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&sending, &zero);
}

static __always_inline struct counts *tally(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&counts, &zero);
}

static __always_inline struct slot *slot_at(__u32 number) {
    return bpf_map_lookup_elem(&slots, &number);
}

// Puts a slot on the list of those that are to be sent again. There is room: a round takes 64 at most, and these first.
static __always_inline void send_again(struct sending *mine, __u32 number) {
    __u32 *last = entry(1, mine->first_again + mine->again);
    if (!last)
        return;
    *last = number;
    mine->again += 1;
}

SEC("xdp")
int send(struct xdp_md *ctx) {
    struct sending *mine = state();
    struct counts *all = tally();
    if (!mine || !all)
        return XDP_DROP;
    if (!mine->begun)
        mine->begun = 1;
    if (mine->in_flight >= IN_FLIGHT)
        return XDP_DROP;
    struct slot *slot;
    __u32 number;
    if (mine->again > 0) {
        __u32 *first = entry(1, mine->first_again);
        if (!first)
            return XDP_DROP;
        number = *first;
        slot = slot_at(number);
        mine->first_again += 1;
        mine->again -= 1;
    } else {
        number = mine->next & (SLOTS - 1);
        slot = slot_at(number);
        // The exchange orders: what user space wrote before it gave the slot is read after.
        if (!slot || slot->status != STATUS_READY ||
            __sync_val_compare_and_swap(&slot->status, STATUS_READY, STATUS_TAKEN) != STATUS_READY)
            return XDP_DROP;
        mine->next += 1;
    }
    if (!slot)
        return XDP_DROP;
    __u32 len = slot->len;
    if (len != run_len && bpf_xdp_adjust_tail(ctx, (int)len - (int)run_len))
        goto again;
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    // Frames come back as whoever had them last has left them, so every byte is written.
    if (data + PROBE_LEN > end)
        goto again;
    __builtin_memcpy(data, slot->frame, PROBE_LEN);
    if (data + PROBE_LEN + MORE_LEN <= end)
        __builtin_memcpy(data + PROBE_LEN, slot->frame + PROBE_LEN, MORE_LEN);
    // Looked at is what leaves, and not what it was copied from.
    if (!may_leave(data)) {
        __sync_fetch_and_add(&all->fenced, 1);
        __sync_lock_test_and_set(&slot->status, STATUS_FREE);
        return XDP_DROP;
    }
    __u32 *last = entry(0, mine->first_in_flight + mine->in_flight);
    if (!last)
        goto again;
    *last = number;
    mine->in_flight += 1;
    return bpf_redirect(device, 0);
again:
    send_again(mine, number);
    return XDP_DROP;
}

static __always_inline int is_ours(const struct sending *mine) {
    // Between two rounds the same thread may do other people's work (softirqs), but then nothing of ours is in flight.
    return mine->in_flight > 0 && bpf_get_current_pid_tgid() == mine->thread;
}

// What a device has said of the oldest frames in flight.
struct outcome {
    __u32 taken;
    __u32 refused;
};

// One frame of those. A loop of the kernel's, because the verifier follows any other through all of its turns.
static long settle(__u32 at, void *context) {
    const struct outcome *outcome = context;
    struct sending *mine = state();
    if (!mine || mine->in_flight == 0)
        return 1;
    __u32 *number = entry(0, mine->first_in_flight);
    if (!number)
        return 1;
    mine->first_in_flight += 1;
    mine->in_flight -= 1;
    if (at >= outcome->taken) {
        send_again(mine, *number);
        return 0;
    }
    struct slot *slot = slot_at(*number);
    if (slot)
        __sync_lock_test_and_set(&slot->status, STATUS_FREE);
    return 0;
}

// include/trace/events/xdp.h, xdp_devmap_xmit: from device, to device, sent, drops, error. What a device does not take are
// the last ones that it was given (include/linux/netdevice.h, ndo_xdp_xmit), so the first in flight are those that left.
SEC("raw_tp/xdp_devmap_xmit")
int sent(struct bpf_raw_tracepoint_args *ctx) {
    struct sending *mine = state();
    if (!mine || !is_ours(mine))
        return 0;
    struct outcome outcome = {.taken = (__u32)ctx->args[2], .refused = (__u32)ctx->args[3]};
    bpf_loop(outcome.taken + outcome.refused, settle, &outcome, 0);
    return 0;
}

// include/trace/events/xdp.h, xdp_redirect_err: device, program, target, error. Nothing else can be redirected between
// `send` and this, so it is the newest that is meant.
SEC("raw_tp/xdp_redirect_err")
int lost(struct bpf_raw_tracepoint_args *ctx) {
    struct sending *mine = state();
    if (!mine || !is_ours(mine))
        return 0;
    mine->in_flight -= 1;
    __u32 *number = entry(0, mine->first_in_flight + mine->in_flight);
    if (number)
        send_again(mine, *number);
    return 0;
}

SEC("raw_tp/xdp_redirect_err")
int enlist(struct bpf_raw_tracepoint_args *ctx) {
    struct sending *mine = state();
    if (mine)
        mine->thread = bpf_get_current_pid_tgid();
    return 0;
}

// --- answers ------------------------------------------------------------------------------------------------------

// What user space gets of an answer: when, and the packet from its IP header on. `len` says how much of the room is used.
struct short_answer {
    __u64 at;
    __u16 len;
    // IPv4 or IPv6 and TCP, without options.
    __u8 packet[62];
};

struct long_answer {
    __u64 at;
    __u16 len;
    // Two IP headers with options, and what stands between and behind them.
    __u8 packet[246];
};

#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TIME_EXCEEDED 3

static __always_inline int is_source_port(__u16 port) {
    return port >= first_source_port && port <= last_source_port;
}

static __always_inline void count_dropped(void) {
    struct counts *all = tally();
    if (all)
        __sync_fetch_and_add(&all->dropped, 1);
}

// Hands on the first `len` bytes of a packet, which are known to be there.
#define HAND_ON(from, length)                                                                                          \
    do {                                                                                                               \
        struct short_answer *answer = bpf_ringbuf_reserve(&answers, sizeof(struct short_answer), 0);                   \
        if (!answer) {                                                                                                 \
            count_dropped();                                                                                           \
        } else {                                                                                                       \
            answer->at = bpf_ktime_get_ns();                                                                           \
            answer->len = (length);                                                                                    \
            __builtin_memcpy(answer->packet, (from), (length));                                                        \
            bpf_ringbuf_submit(answer, BPF_RB_NO_WAKEUP);                                                              \
        }                                                                                                              \
    } while (0)

// Hands on what there is room for of a packet with options, extensions or a quote. These are rare.
static __always_inline void hand_on_whole(struct xdp_md *ctx) {
    __u64 len = bpf_xdp_get_buff_len(ctx);
    if (len <= ETH_HLEN)
        return;
    len -= ETH_HLEN;
    if (len > sizeof(((struct long_answer *)0)->packet))
        len = sizeof(((struct long_answer *)0)->packet);
    struct long_answer *answer = bpf_ringbuf_reserve(&answers, sizeof(struct long_answer), 0);
    if (!answer) {
        count_dropped();
        return;
    }
    answer->at = bpf_ktime_get_ns();
    answer->len = len;
    if (bpf_xdp_load_bytes(ctx, ETH_HLEN, answer->packet, len))
        bpf_ringbuf_discard(answer, BPF_RB_NO_WAKEUP);
    else
        bpf_ringbuf_submit(answer, BPF_RB_NO_WAKEUP);
}

// What becomes of a TCP segment: a reset to one of our ports is of no use to anybody else, and a SYN-ACK must reach the
// host, which answers it with a reset, so that the far side does not wait. Negative where it is no answer.
static __always_inline int verdict(const struct tcphdr *tcp) {
    __u8 flags = *((const __u8 *)tcp + 13) & (SYN | RST | ACK);
    if (!is_source_port(bpf_ntohs(tcp->dest)))
        return -1;
    if (flags == (SYN | ACK))
        return XDP_PASS;
    if (flags == (RST | ACK))
        return XDP_DROP;
    return -1;
}

static __always_inline int receive4(struct xdp_md *ctx, struct iphdr *ip, void *end) {
    if ((void *)(ip + 1) > end || ip->version != 4 || ip->frag_off & bpf_htons(0x1fff))
        return XDP_PASS;
    if (ip->protocol == IPPROTO_ICMP) {
        __u8 *type = (void *)ip + 20;
        if ((void *)(type + 1) <= end &&
            (ip->ihl > 5 || *type == ICMP_UNREACHABLE || *type == ICMP_TIME_EXCEEDED))
            hand_on_whole(ctx);
        return XDP_PASS;
    }
    if (ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    if (ip->ihl > 5) {
        if (is_in_scope4(&ip->saddr))
            hand_on_whole(ctx);
        return XDP_PASS;
    }
    struct tcphdr *tcp = (void *)(ip + 1);
    if ((void *)(tcp + 1) > end || bpf_ntohs(ip->tot_len) < 40)
        return XDP_PASS;
    int action = verdict(tcp);
    if (action < 0 || !is_in_scope4(&ip->saddr))
        return XDP_PASS;
    HAND_ON(ip, 40);
    return action;
}

static __always_inline int has_extensions(__u8 next_header) {
    return next_header == IPPROTO_HOPOPTS || next_header == IPPROTO_ROUTING || next_header == IPPROTO_FRAGMENT ||
           next_header == IPPROTO_AH || next_header == IPPROTO_DSTOPTS;
}

static __always_inline int receive6(struct xdp_md *ctx, struct ipv6hdr *ip, void *end) {
    if ((void *)(ip + 1) > end || ip->version != 6)
        return XDP_PASS;
    if (ip->nexthdr == IPPROTO_ICMPV6) {
        __u8 *type = (void *)(ip + 1);
        if ((void *)(type + 1) <= end && (*type == ICMPV6_UNREACHABLE || *type == ICMPV6_TIME_EXCEEDED))
            hand_on_whole(ctx);
        return XDP_PASS;
    }
    if (has_extensions(ip->nexthdr)) {
        hand_on_whole(ctx);
        return XDP_PASS;
    }
    if (ip->nexthdr != IPPROTO_TCP)
        return XDP_PASS;
    struct tcphdr *tcp = (void *)(ip + 1);
    if ((void *)(tcp + 1) > end || bpf_ntohs(ip->payload_len) < 20)
        return XDP_PASS;
    int action = verdict(tcp);
    if (action < 0 || !is_in_scope6(&ip->saddr))
        return XDP_PASS;
    HAND_ON(ip, 60);
    return action;
}

SEC("xdp")
int receive(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    if ((void *)(eth + 1) > end)
        return XDP_PASS;
    if (eth->h_proto == bpf_htons(ETH_P_IP))
        return receive4(ctx, (void *)(eth + 1), end);
    if (eth->h_proto == bpf_htons(ETH_P_IPV6))
        return receive6(ctx, (void *)(eth + 1), end);
    return XDP_PASS;
}

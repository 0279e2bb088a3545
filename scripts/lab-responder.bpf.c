// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A network of hosts that all answer, as fast as a device can take packets: every SYN that comes in goes back as a
// SYN-ACK where the last byte of the address is the port's remainder by 251, and as a reset everywhere else. Nothing is
// remembered, no other packet is touched, and segments without a SYN to those addresses are dropped, as if taken.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define SYN 0x02
#define SYN_ACK 0x12
#define RST_ACK 0x14

// The network that answers: its first bytes, as many of them as count.
const volatile __u8 network[16];
const volatile __u32 network_bits;
const volatile __u32 is_ipv6;

static __always_inline int is_in_network(const __u8 *address) {
    for (__u32 at = 0; at < 16; at++) {
        __u32 first = at * 8;
        if (first >= network_bits)
            break;
        __u8 mask = network_bits - first >= 8 ? 0xff : 0xff << (8 - (network_bits - first));
        if ((address[at] ^ network[at]) & mask)
            return 0;
    }
    return 1;
}

static __always_inline void swap(void *one, void *other, __u32 len) {
    __u8 kept[16];
    __builtin_memcpy(kept, one, len);
    __builtin_memcpy(one, other, len);
    __builtin_memcpy(other, kept, len);
}

// RFC 1624, equation 3, over one half word.
static __always_inline void change(__u32 *sum, __u16 from, __u16 to) {
    *sum += (__u16)~from + to;
}

static __always_inline int answer(struct ethhdr *eth, struct tcphdr *tcp, __u8 last_byte) {
    __u8 *flags = (__u8 *)tcp + 13;
    if ((*flags & 0x3f) != SYN)
        return XDP_DROP;
    __u8 said = last_byte == bpf_ntohs(tcp->dest) % 251 ? SYN_ACK : RST_ACK;
    __u32 sequence = bpf_ntohl(tcp->seq), acknowledged = sequence + 1;
    __u32 sum = (__u16)~tcp->check;
    change(&sum, bpf_htons(sequence >> 16), 0);
    change(&sum, bpf_htons(sequence & 0xffff), 0);
    change(&sum, 0, bpf_htons(acknowledged >> 16));
    change(&sum, 0, bpf_htons(acknowledged & 0xffff));
    // The flags stand in the second byte of their half word.
    change(&sum, bpf_htons(*flags), bpf_htons(said));
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    tcp->check = ~sum;
    tcp->seq = 0;
    tcp->ack_seq = bpf_htonl(acknowledged);
    *flags = said;
    swap(&tcp->source, &tcp->dest, 2);
    swap(eth->h_source, eth->h_dest, ETH_ALEN);
    return XDP_TX;
}

SEC("xdp")
int respond(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    if ((void *)(eth + 1) > end)
        return XDP_PASS;
    if (!is_ipv6 && eth->h_proto == bpf_htons(ETH_P_IP)) {
        struct iphdr *ip = (void *)(eth + 1);
        struct tcphdr *tcp = (void *)(ip + 1);
        if ((void *)(tcp + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
            return XDP_PASS;
        if (!is_in_network((void *)&ip->daddr))
            return XDP_PASS;
        __u8 last_byte = bpf_ntohl(ip->daddr) & 0xff;
        int verdict = answer(eth, tcp, last_byte);
        if (verdict == XDP_TX)
            swap(&ip->saddr, &ip->daddr, 4);
        return verdict;
    }
    if (is_ipv6 && eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct ipv6hdr *ip = (void *)(eth + 1);
        struct tcphdr *tcp = (void *)(ip + 1);
        if ((void *)(tcp + 1) > end || ip->nexthdr != IPPROTO_TCP)
            return XDP_PASS;
        if (!is_in_network((void *)&ip->daddr))
            return XDP_PASS;
        int verdict = answer(eth, tcp, ip->daddr.s6_addr[15]);
        if (verdict == XDP_TX)
            swap(&ip->saddr, &ip->daddr, 16);
        return verdict;
    }
    return XDP_PASS;
}

// A network that takes everything and answers nothing: what TCP comes in is dropped at once.
SEC("xdp")
int swallow(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = (void *)(eth + 1);
    if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    return ip->protocol == IPPROTO_TCP ? XDP_DROP : XDP_PASS;
}

// The other end of the wire, where nobody else takes frames by XDP: without any program, a veth device leaves what its
// peer answers by XDP_TX in its ring.
SEC("xdp")
int pass(struct xdp_md *ctx) {
    return XDP_PASS;
}

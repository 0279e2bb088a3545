//! What the machine says of itself: name, memory, port range, counters. Read from /proc and /sys.

use std::path::Path;

/// The name of this host.
pub fn hostname() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".to_owned())
}

/// The release of the running kernel.
pub fn kernel_release() -> String {
    read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned())
}

/// The ports that the kernel gives to connections: lowest and highest.
pub fn local_port_range() -> Option<(u16, u16)> {
    let text = read("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Bytes of memory that may still be used.
pub fn available_memory() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Whether this process may open packet sockets in its network namespace.
pub fn has_net_raw() -> bool {
    const CAP_NET_RAW: u64 = 1 << 13;
    let effective = read("/proc/self/status").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim().to_owned();
        u64::from_str_radix(&line, 16).ok()
    });
    effective.is_some_and(|set| set & CAP_NET_RAW != 0)
}

/// Entries of the connection tracking table, and how many fit, where the kernel tracks connections.
pub fn conntrack() -> Option<(u64, u64)> {
    let number = |name: &str| read(&format!("/proc/sys/net/netfilter/{name}"))?.parse().ok();
    Some((number("nf_conntrack_count")?, number("nf_conntrack_max")?))
}

/// A counter of an interface, such as `rx_dropped`.
pub fn interface_counter(interface: &str, counter: &str) -> Option<u64> {
    let path = Path::new("/sys/class/net").join(interface).join("statistics").join(counter);
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

//! What the machine says of itself: name, memory, port range, counters. Read from /proc and /sys.

use std::path::Path;

use crate::link::capabilities::{Capabilities, Capability};

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

/// Bytes of memory that may still be used: of the machine's, and of what this process and those around it are allowed.
pub fn available_memory() -> Option<u64> {
    let of_machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    of_machine.into_iter().chain(groups.lines().filter_map(left_in_group)).min()
}

/// What a control group, as /proc/self/cgroup names it, and every one that it is in leave of their limits.
fn left_in_group(line: &str) -> Option<u64> {
    let (_, controllers_and_path) = line.split_once(':')?;
    let (controllers, path) = controllers_and_path.split_once(':')?;
    // The second version has one tree and names no controllers.
    let (root, limit, used, cache) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            let (limit, used) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
            ("/sys/fs/cgroup/memory", limit, used, "total_inactive_file ")
        }
        _ => return None,
    };
    let left = |group: &Path| {
        let group = Path::new(root).join(group);
        let number = |name: &str| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        // What only caches files is given up for those who need memory.
        let cached = stat.lines().find_map(|line| line.strip_prefix(cache)?.parse::<u64>().ok()).unwrap_or(0);
        Some(number(limit)?.saturating_sub(number(used)?.saturating_sub(cached)))
    };
    // A container sees a path that is none in its own tree; its root has the limit then.
    Path::new(path.trim_start_matches('/')).ancestors().filter_map(left).min()
}

/// Whether this process may open packet sockets in its network namespace.
pub fn has_net_raw() -> bool {
    Capabilities::effective().is_some_and(|all| all.has(Capability::NetRaw))
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

//! Which of root's rights this process has.

/// A right that root has, and that others can be given one by one. Numbered as in linux/capability.h.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Capability {
    /// To change how a network works.
    NetAdmin = 12,
    /// To make packets by itself.
    NetRaw = 13,
    /// Almost anything; for BPF it stands in for the others.
    SysAdmin = 21,
    /// To observe the kernel.
    Perfmon = 38,
    /// To load BPF programs.
    Bpf = 39,
}

impl Capability {
    /// What everybody calls it.
    pub fn name(self) -> &'static str {
        match self {
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
        }
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Those that count now, if /proc says so.
    pub fn effective() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    /// Whether this one is among them.
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> (capability as u8) & 1 == 1
    }

    fn parse(status: &str) -> Option<Self> {
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(set.trim(), 16).ok().map(Capabilities)
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        Capabilities(all.into_iter().fold(0, |set, one| set | 1 << (one as u8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000003000\n";
        let all = Capabilities::parse(status).expect("a set");
        for (capability, is_there) in [
            (Capability::NetAdmin, true),
            (Capability::NetRaw, true),
            (Capability::SysAdmin, false),
            (Capability::Perfmon, true),
            (Capability::Bpf, true),
        ] {
            assert_eq!(all.has(capability), is_there, "{}", capability.name());
        }
        assert_eq!(Capabilities::parse("Name:\tx\n"), None);
    }
}

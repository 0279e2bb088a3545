//! What the engine needs of a host, and what of that is not there. Asking needs no privilege and changes nothing.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::super::LinkError;
use super::programs;
use crate::link::capabilities::{Capabilities, Capability};

/// The kernel that can run a program with live frames.
const KERNEL: (u32, u32) = (5, 18);

/// What one needs, and what stands in for it.
const NEEDED: [(Capability, Option<Capability>); 4] = [
    (Capability::NetRaw, None),
    (Capability::Bpf, Some(Capability::SysAdmin)),
    (Capability::NetAdmin, Some(Capability::SysAdmin)),
    (Capability::Perfmon, Some(Capability::SysAdmin)),
];

/// The user namespace that the machine begins with (`PROC_USER_INIT_INO`, linux/proc_ns.h).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

/// What the kernel has for each tracepoint that a BPF program can hear, by the names of include/trace/bpf_probe.h. Both
/// stand there only with CONFIG_BPF_EVENTS.
const TRACEPOINTS: [&[u8]; 2] = [b"__bpf_trace_xdp_devmap_xmit", b"__bpf_trace_xdp_redirect_template"];

/// Something that the engine needs and does not find.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lack {
    /// Rights of this process.
    Capabilities(Vec<&'static str>),
    /// The rights are those of a container only.
    Confined,
    /// A kernel that is new enough; the release of this one.
    Kernel(String),
    /// The tracepoints that say what a device has refused.
    Tracepoints,
}

impl Lack {
    /// Whether the engine cannot run for that, whatever else. Distributors put newer parts into older kernels, and a
    /// compiler may have renamed what is not found: there the kernel has the last word.
    pub fn is_certain(&self) -> bool {
        matches!(self, Lack::Capabilities(_) | Lack::Confined)
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Lack::Capabilities(_) => {
                "run as root, or sudo setcap cap_net_raw,cap_bpf,cap_net_admin,cap_perfmon+ep on a copy of the program \
                 that only you may run; or use --engine packet"
            }
            Lack::Confined => "run on the host itself, outside of the user namespace; or use --engine packet",
            Lack::Kernel(_) => "run on Linux 5.18 or newer; or use --engine packet",
            Lack::Tracepoints => "run on a kernel with CONFIG_BPF_EVENTS; or use --engine packet",
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Capabilities(names) => {
                let needed = NEEDED.map(|(capability, _)| capability.name()).join(", ");
                let are = if names.len() == 1 { "is" } else { "are" };
                write!(f, "{} {are} missing, of {needed}", names.join(", "))
            }
            Lack::Confined => f.write_str(
                "this is a user namespace (a rootless container), whose capabilities do not count for BPF",
            ),
            Lack::Kernel(release) => {
                let (major, minor) = KERNEL;
                write!(f, "the kernel is Linux {release}, and what the engine needs came with {major}.{minor}")
            }
            Lack::Tracepoints => f.write_str(
                "the kernel shows no tracepoints for BPF (CONFIG_BPF_EVENTS), which say what a device has refused",
            ),
        }
    }
}

/// What was found out about this host. What could not be is not held against it.
#[derive(Clone, Debug)]
pub struct Host {
    release: String,
    capabilities: Option<Capabilities>,
    is_confined: bool,
    has_tracepoints: Option<bool>,
}

impl Host {
    /// Looks at this host. Takes some milliseconds, for the kernel's list of names is long.
    pub fn look() -> Self {
        let namespace = std::fs::read_link("/proc/self/ns/user").ok();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Host {
            release: release.trim().to_owned(),
            capabilities: Capabilities::effective(),
            is_confined: namespace.is_some_and(|found| found != Path::new(FIRST_USER_NAMESPACE)),
            has_tracepoints: File::open("/proc/kallsyms").ok().and_then(|list| knows(BufReader::new(list))),
        }
    }

    /// What is not there, the certain first.
    pub fn lacks(&self) -> Vec<Lack> {
        let mut lacks = Vec::new();
        if let Some(all) = self.capabilities {
            let is_missing = |(capability, other): &(Capability, Option<Capability>)| {
                !all.has(*capability) && !other.is_some_and(|other| all.has(other))
            };
            let missing = NEEDED.iter().filter(|needed| is_missing(needed));
            let missing: Vec<_> = missing.map(|(capability, _)| capability.name()).collect();
            lacks.extend((!missing.is_empty()).then_some(Lack::Capabilities(missing)));
        }
        lacks.extend(self.is_confined.then_some(Lack::Confined));
        let is_old = version(&self.release).is_some_and(|version| version < KERNEL);
        lacks.extend(is_old.then(|| Lack::Kernel(self.release.clone())));
        lacks.extend((self.has_tracepoints == Some(false)).then_some(Lack::Tracepoints));
        lacks
    }
}

/// Refuses to begin where it is certain that the engine cannot run.
///
/// # Errors
/// What this host lacks.
pub fn require() -> Result<(), LinkError> {
    match Host::look().lacks().into_iter().find(Lack::is_certain) {
        Some(lack) => Err(unable(&lack, None)),
        None => Ok(()),
    }
}

/// What the kernel refuses, with what is likely to be the reason.
pub(super) fn explained(error: LinkError) -> LinkError {
    match Host::look().lacks().first() {
        Some(lack) => unable(lack, Some(&error)),
        None => error,
    }
}

fn unable(lack: &Lack, error: Option<&LinkError>) -> LinkError {
    let why = match error {
        Some(error) => format!("{error}; perhaps because {lack}"),
        None => lack.to_string(),
    };
    LinkError::NoXdp { place: "here".to_owned(), why, remedy: lack.remedy().to_owned() }
}

/// Whether the kernel takes the programs and runs the one that sends, which finds nothing to send. Attaches nothing,
/// and nothing of it is left. This says more than everything above, and needs the capabilities.
///
/// # Errors
/// What the kernel refuses.
pub fn rehearse() -> Result<(), LinkError> {
    programs::rehearse().map_err(explained)
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the kernel's list of names has all that belongs to the tracepoints. An empty list says nothing.
fn knows(list: impl BufRead) -> Option<bool> {
    let mut found = [false; TRACEPOINTS.len()];
    let mut is_empty = true;
    for line in list.split(b'\n') {
        let line = line.ok()?;
        is_empty = false;
        // An address, a type, a name, which a compiler may have added to behind a dot; and the module.
        let name = line.split(u8::is_ascii_whitespace).nth(2).unwrap_or_default();
        let name = name.split(|byte| *byte == b'.').next().unwrap_or_default();
        for (wanted, found) in TRACEPOINTS.iter().zip(&mut found) {
            *found |= name == *wanted;
        }
        if found.iter().all(|found| *found) {
            return Some(true);
        }
    }
    if is_empty { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(capabilities: &[Capability]) -> Host {
        Host {
            release: "6.1.0-9-amd64".to_owned(),
            capabilities: Some(capabilities.iter().copied().collect()),
            is_confined: false,
            has_tracepoints: Some(true),
        }
    }

    #[test]
    fn says_exactly_what_is_missing() {
        use Capability::{Bpf, NetAdmin, NetRaw, Perfmon, SysAdmin};
        for (has, missing) in [
            (&[NetRaw, Bpf, NetAdmin, Perfmon][..], vec![]),
            (&[NetRaw, SysAdmin], vec![]),
            (&[NetRaw, Bpf, Perfmon], vec!["CAP_NET_ADMIN"]),
            (&[NetRaw, NetAdmin], vec!["CAP_BPF", "CAP_PERFMON"]),
            (&[Bpf, NetAdmin, Perfmon], vec!["CAP_NET_RAW"]),
            (&[], vec!["CAP_NET_RAW", "CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]),
        ] {
            let expected: Vec<_> =
                (!missing.is_empty()).then_some(Lack::Capabilities(missing)).into_iter().collect();
            assert_eq!(host(has).lacks(), expected, "{has:?}");
        }
        let root = host(&[NetRaw, Bpf, NetAdmin, Perfmon]);
        for (host, lack) in [
            (Host { is_confined: true, ..root.clone() }, Lack::Confined),
            (Host { release: "5.17.3".into(), ..root.clone() }, Lack::Kernel("5.17.3".into())),
            (Host { has_tracepoints: Some(false), ..root.clone() }, Lack::Tracepoints),
        ] {
            assert_eq!(host.lacks(), [lack]);
        }
        // What nobody says is not held against the host.
        for release in ["5.18", "5.18.0-rc1", "10.0.1", "", "x.y"] {
            let host =
                Host { release: release.into(), capabilities: None, has_tracepoints: None, ..root.clone() };
            assert_eq!(host.lacks(), [], "{release}");
        }
    }

    #[test]
    fn tracepoints_are_found_by_name() {
        let both = "0 t __bpf_trace_xdp_devmap_xmit.llvm.7\n0 t __bpf_trace_xdp_redirect_template\n";
        let other = "0 t __pfx___bpf_trace_xdp_devmap_xmit\n0 t __bpf_trace_xdp_redirect_template\t[x]\n";
        assert_eq!(knows(both.as_bytes()), Some(true));
        assert_eq!(knows(other.as_bytes()), Some(false));
        assert_eq!(knows(&b""[..]), None);
    }
}

//! The programs in the kernel: loaded, told the scope, and attached to one device.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, RingBuf};
use aya::programs::raw_trace_point::RawTracePoint;
use aya::programs::xdp::XdpMode;
use aya::programs::{Program, Xdp};
use aya::{Ebpf, EbpfLoader};

use super::super::LinkError;
use super::super::fence::Fence;
use super::{SLOT_LEN, SLOTS, failed};
use crate::link::packet::ring::RingMemory;

/// Compiled from the source beside it by `scripts/bpf.sh`; CI compares.
static OBJECT: &[u8] = aya::include_bytes_aligned!("bpf/probe.bpf.o");

/// What to do where the kernel does not let us.
const REMEDY: &str = "the xdp engine needs Linux 5.18 or newer with CONFIG_BPF_EVENTS, and the capabilities CAP_BPF, \
     CAP_NET_ADMIN and CAP_PERFMON (root has them); or use --engine packet";

/// How a device hands packets to the program that receives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Its driver runs the program before anything else.
    Native,
    /// The kernel does, later and more slowly, because the driver cannot.
    Generic,
}

/// What the programs count, as they lay it out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts([u64; 5]);

impl Counts {
    /// Frames that were to leave the scope.
    pub fn fenced(&self) -> u64 {
        self.0[3]
    }

    /// Answers that found no room in the ring.
    pub fn dropped(&self) -> u64 {
        self.0[4]
    }
}

/// The programs of one device. They end with this value, and with the process, whatever ends that.
pub(super) struct Programs {
    /// The device's name.
    pub interface: String,
    /// How it receives.
    pub mode: Mode,
    ebpf: Ebpf,
}

/// What is known before the programs are loaded.
pub(super) struct Setting<'a> {
    pub interface: &'a str,
    pub interface_index: u32,
    pub source_ports: (u16, u16),
    pub fence: &'a Fence,
    pub frame_len: usize,
}

impl Programs {
    /// Loads and attaches them. From then on the host no longer sees resets that answer our probes.
    ///
    /// # Errors
    /// Without the capabilities, on an old kernel, or where another program is attached already.
    pub fn load(setting: &Setting<'_>) -> Result<Self, LinkError> {
        let name = setting.interface;
        let (first, last) = setting.source_ports;
        let (four, six) = prefixes(setting.fence);
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("scope4", four.len().max(1) as u32)
            .map_max_entries("scope6", six.len().max(1) as u32)
            .override_global("ports", setting.fence.port_bits(), true)
            .override_global("first_source_port", &first, true)
            .override_global("last_source_port", &last, true)
            .override_global("device", &setting.interface_index, true);
        let run_len = setting.frame_len as u32;
        loader.override_global("run_len", &run_len, true);
        let mut ebpf = loader.load(OBJECT).map_err(|error| broken("load BPF programs", name, error))?;
        fill_scope(&mut ebpf, name, &four, &six)?;
        for program in ["sent", "lost", "enlist"] {
            let loaded = tracepoint(&mut ebpf, program).and_then(|p| p.load().map_err(boxed));
            loaded
                .map_err(|error| broken("load the BPF programs that hear of refused frames", name, error))?;
        }
        for program in ["send", "receive"] {
            let loaded = xdp(&mut ebpf, program).and_then(|p| p.load().map_err(boxed));
            loaded.map_err(|error| broken("load the BPF programs that send and receive", name, error))?;
        }
        for (program, point) in [("sent", "xdp_devmap_xmit"), ("lost", "xdp_redirect_err")] {
            let attached =
                tracepoint(&mut ebpf, program).and_then(|p| p.attach(point).map(|_| ()).map_err(boxed));
            attached.map_err(|error| broken("hear of refused frames", name, error))?;
        }
        let receive = xdp(&mut ebpf, "receive").map_err(|error| broken("attach", name, error))?;
        let mode = attach(receive, setting.interface_index)
            .map_err(|error| broken("attach an XDP program", name, error))?;
        Ok(Programs { interface: name.to_owned(), mode, ebpf })
    }

    /// The ring that probes are handed over in.
    ///
    /// # Errors
    /// Without memory for the mapping.
    pub fn slots(&self) -> Result<RingMemory, LinkError> {
        let map = self.map("slots")?;
        RingMemory::map(&map.fd().as_fd(), SLOTS * SLOT_LEN)
            .map_err(|cause| failed("map the ring of probes", &self.interface, cause, "free some memory"))
    }

    /// The ring that answers come in.
    ///
    /// # Errors
    /// Without memory for the mapping.
    pub fn answers(&mut self) -> Result<RingBuf<MapData>, LinkError> {
        let map = self.ebpf.take_map("answers");
        let map = map.ok_or_else(|| broken("find", &self.interface, boxed(NoSuch("answers"))))?;
        RingBuf::try_from(map).map_err(|error| broken("map the ring of answers", &self.interface, error))
    }

    /// What the programs count.
    ///
    /// # Errors
    /// When they are not the programs that this was built for.
    pub fn counters(&mut self) -> Result<Counters, LinkError> {
        let map = self.ebpf.take_map("counts");
        let map = map.ok_or_else(|| broken("find", &self.interface, boxed(NoSuch("counts"))))?;
        let map = Array::try_from(map).map_err(|error| broken("read counters", &self.interface, error))?;
        Ok(Counters { interface: self.interface.clone(), map })
    }

    /// The program that sends, and the one by which the thread that runs it makes itself known.
    ///
    /// # Errors
    /// Without a free file descriptor.
    pub fn sending(&self) -> Result<(OwnedFd, OwnedFd), LinkError> {
        let fd = |name: &'static str| {
            let program = self.ebpf.program(name).ok_or_else(|| boxed(NoSuch(name)));
            program
                .and_then(|program: &Program| program.fd().map_err(boxed))
                .and_then(|fd| fd.as_fd().try_clone_to_owned().map_err(boxed))
                .map_err(|error| broken("use a BPF program", &self.interface, error))
        };
        Ok((fd("send")?, fd("enlist")?))
    }

    fn map(&self, name: &'static str) -> Result<&MapData, LinkError> {
        match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => Err(broken("find a map", &self.interface, boxed(NoSuch(name)))),
        }
    }
}

/// Reads what the programs count.
pub(super) struct Counters {
    interface: String,
    map: Array<MapData, [u64; 5]>,
}

impl Counters {
    /// The counts at this moment.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn read(&self) -> Result<Counts, LinkError> {
        let counts = self.map.get(&0, 0);
        counts.map(Counts).map_err(|error| broken("read counters", &self.interface, error))
    }
}

/// Prefers the driver; the kernel itself can do it for every device.
fn attach(receive: &mut Xdp, interface_index: u32) -> Result<Mode, Failure> {
    if receive.attach_to_if_index(interface_index, XdpMode::Driver).is_ok() {
        return Ok(Mode::Native);
    }
    receive.attach_to_if_index(interface_index, XdpMode::Skb).map_err(boxed)?;
    Ok(Mode::Generic)
}

fn fill_scope(
    ebpf: &mut Ebpf,
    interface: &str,
    four: &[(u8, [u8; 4])],
    six: &[(u8, [u8; 16])],
) -> Result<(), LinkError> {
    fill(ebpf, "scope4", four)
        .and_then(|()| fill(ebpf, "scope6", six))
        .map_err(|error| broken("tell the BPF programs the scope", interface, error))
}

fn fill<const N: usize>(
    ebpf: &mut Ebpf,
    name: &'static str,
    networks: &[(u8, [u8; N])],
) -> Result<(), Failure> {
    let map = ebpf.map_mut(name).ok_or_else(|| boxed(NoSuch(name)))?;
    let mut map: LpmTrie<_, [u8; N], u8> = LpmTrie::try_from(map).map_err(boxed)?;
    for (bits, address) in networks {
        map.insert(&Key::new(u32::from(*bits), *address), 1, 0).map_err(boxed)?;
    }
    Ok(())
}

/// Networks as their number of bits and their first address.
type Networks<const N: usize> = Vec<(u8, [u8; N])>;

/// The fence as networks, in as few as it takes.
fn prefixes(fence: &Fence) -> (Networks<4>, Networks<16>) {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for (first, last) in fence.ranges() {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                each_network(u32::from(first).into(), u32::from(last).into(), 32, |bits, address| {
                    four.push((bits, (address as u32).to_be_bytes()));
                });
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                each_network(first.into(), last.into(), 128, |bits, address| {
                    six.push((bits, address.to_be_bytes()));
                });
            }
            _ => {}
        }
    }
    (four, six)
}

/// Calls `each` with the networks that a range is made of: from the front on, the largest that begins there and fits.
fn each_network(first: u128, last: u128, width: u32, mut each: impl FnMut(u8, u128)) {
    let mut next = Some(first);
    while let Some(first) = next.filter(|first| *first <= last) {
        let mut host_bits = first.trailing_zeros().min(width);
        let last_of =
            |host_bits: u32| first | 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        while last_of(host_bits) > last {
            host_bits -= 1;
        }
        each((width - host_bits) as u8, first);
        next = last_of(host_bits).checked_add(1);
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn boxed(error: impl Into<Failure>) -> Failure {
    error.into()
}

/// The object lacks something that we have compiled into it.
#[derive(Debug, thiserror::Error)]
#[error("the compiled programs have no {0}")]
struct NoSuch(&'static str);

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, Failure> {
    let program = ebpf.program_mut(name).ok_or_else(|| boxed(NoSuch(name)))?;
    program.try_into().map_err(boxed)
}

fn tracepoint<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut RawTracePoint, Failure> {
    let program = ebpf.program_mut(name).ok_or_else(|| boxed(NoSuch(name)))?;
    program.try_into().map_err(boxed)
}

/// An error of the library, with all of its causes: the first of them only says what was tried.
fn broken(attempt: &'static str, interface: &str, error: impl Into<Failure>) -> LinkError {
    let error = error.into();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    failed(attempt, interface, std::io::Error::other(text), REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(first: u128, last: u128, width: u32) -> Vec<(u8, u128)> {
        let mut found = Vec::new();
        each_network(first, last, width, |bits, address| found.push((bits, address)));
        found
    }

    #[test]
    fn a_range_is_cut_into_the_fewest_networks() {
        assert_eq!(networks(0, 255, 32), [(24, 0)]);
        assert_eq!(networks(1, 6, 32), [(32, 1), (31, 2), (31, 4), (32, 6)]);
        assert_eq!(networks(0, u32::MAX.into(), 32), [(0, 0)]);
        assert_eq!(networks(7, 7, 128), [(128, 7)]);
        assert_eq!(networks(0, u128::MAX, 128), [(0, 0)]);
        assert_eq!(networks(u128::MAX, u128::MAX, 128), [(128, u128::MAX)]);
    }
}

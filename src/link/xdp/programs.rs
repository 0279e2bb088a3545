//! The programs in the kernel: loaded, told the scope, and attached to one device.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, RingBuf};
use aya::programs::raw_trace_point::RawTracePoint;
use aya::programs::xdp::XdpMode;
use aya::programs::{
    Program, ProgramError, RawTracePointRunOptions, TestRun, TestRunAttrs, TestRunOptions, Xdp,
};
use aya::{Ebpf, EbpfLoader};

use super::super::LinkError;
use super::super::fence::Fence;
use super::{SLOT_LEN, SLOTS, failed};
use crate::link::ring::RingMemory;
use crate::wire::syn::MAX_SYN_LEN;

/// Compiled from the source beside it by `scripts/bpf.sh`; CI compares.
static OBJECT: &[u8] = aya::include_bytes_aligned!("bpf/probe.bpf.o");

/// What to do where the kernel does not let us.
const REMEDY: &str = "the xdp engine needs Linux 5.18 or newer with CONFIG_BPF_EVENTS, and the capabilities CAP_BPF, \
     CAP_NET_ADMIN and CAP_PERFMON (root has them); or use --engine packet";

/// Frames of one round, within which nothing else is done on that processor. The list of those in flight holds more.
const BATCH: u32 = 64;

/// `struct sending` of the programs: how many words it has, and which says that it has run.
const SENDING_WORDS: usize = 8;
const BEGUN_AT: usize = 5;

/// How a device hands packets to the program that receives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Its driver runs the program before anything else.
    Native,
    /// The kernel does, later and more slowly, because the driver would not, for this reason.
    Generic(String),
}

/// What the programs count, as they lay it out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts([u64; 2]);

impl Counts {
    /// Frames that were to leave the scope.
    pub fn fenced(&self) -> u64 {
        self.0[0]
    }

    /// Answers that found no room in the ring.
    pub fn dropped(&self) -> u64 {
        self.0[1]
    }
}

/// The programs of one device. They end with this value, and with the process, whatever ends that.
pub(super) struct Programs {
    /// The device's name.
    pub interface: String,
    /// How it receives.
    pub mode: Mode,
    /// The length of the longest frame that it sends.
    pub frame_len: usize,
    /// The ring that answers come in.
    pub answers: RingBuf<MapData>,
    /// What the programs count.
    pub counters: Counters,
    ebpf: Arc<Ebpf>,
}

/// What is known before the programs are loaded.
pub(super) struct Setting<'a> {
    pub interface: &'a str,
    pub interface_index: u32,
    pub source_ports: (u16, u16),
    pub fence: &'a Fence,
    pub frame_len: usize,
}

/// The programs in the kernel, told the scope. Nothing is attached yet.
pub(super) struct Loaded(Ebpf);

/// Loads them.
///
/// # Errors
/// Without the capabilities, or on an old kernel.
pub(super) fn load(setting: &Setting<'_>) -> Result<Loaded, LinkError> {
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
        loaded.map_err(|error| broken("load the BPF programs that hear of refused frames", name, error))?;
    }
    for program in ["send", "receive"] {
        let loaded = xdp(&mut ebpf, program).and_then(|p| p.load().map_err(boxed));
        loaded.map_err(|error| broken("load the BPF programs that send and receive", name, error))?;
    }
    Ok(Loaded(ebpf))
}

/// Loads them for no device, and has the one that sends run once, with nothing to send.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn rehearse() -> Result<(), LinkError> {
    let nowhere = Fence::new([], []);
    let interface = "this host";
    let frame_len = MAX_SYN_LEN;
    let setting = Setting { interface, interface_index: 0, source_ports: (0, 0), fence: &nowhere, frame_len };
    let runner = Runner(Arc::new(load(&setting)?.0));
    let run = runner.send(&[0; MAX_SYN_LEN], 1);
    run.map_err(|cause| failed("run the BPF program that sends", interface, cause, REMEDY))
}

impl Programs {
    /// Attaches what has been loaded. From then on the host no longer sees resets that answer our probes.
    ///
    /// # Errors
    /// Without the capabilities, on an old kernel, or where another program is attached already.
    pub fn attach(loaded: Loaded, setting: &Setting<'_>) -> Result<Self, LinkError> {
        let name = setting.interface;
        let Loaded(mut ebpf) = loaded;
        for (program, point) in [("sent", "xdp_devmap_xmit"), ("lost", "xdp_redirect_err")] {
            let attached =
                tracepoint(&mut ebpf, program).and_then(|p| p.attach(point).map(|_| ()).map_err(boxed));
            attached.map_err(|error| broken("hear of refused frames", name, error))?;
        }
        let receive = xdp(&mut ebpf, "receive").map_err(|error| broken("attach", name, error))?;
        let mode = attach(receive, setting.interface_index)
            .map_err(|error| broken("attach an XDP program", name, error))?;
        Ok(Programs {
            interface: name.to_owned(),
            mode,
            frame_len: setting.frame_len,
            answers: taken(&mut ebpf, "answers").map_err(|error| broken("map answers", name, error))?,
            counters: Counters {
                interface: name.to_owned(),
                map: taken(&mut ebpf, "counts").map_err(|error| broken("find counters", name, error))?,
            },
            ebpf: Arc::new(ebpf),
        })
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

    /// These programs, for the thread that runs them.
    pub fn share(&self) -> Runner {
        Runner(Arc::clone(&self.ebpf))
    }

    /// Whether the program that sends has run, and will take what stands in the ring.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn has_begun(&self) -> Result<bool, LinkError> {
        let unknown = |error: Failure| broken("ask whether probes are sent", &self.interface, error);
        let map = self.ebpf.map("sending").ok_or_else(|| unknown(boxed(NoSuch("sending"))))?;
        let map = Array::<_, [u32; SENDING_WORDS]>::try_from(map).map_err(|error| unknown(boxed(error)))?;
        map.get(&0, 0).map(|state| state[BEGUN_AT] > 0).map_err(|error| unknown(boxed(error)))
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
    map: Array<MapData, [u64; 2]>,
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

/// Runs the programs that send.
pub(super) struct Runner(Arc<Ebpf>);

impl Runner {
    /// Makes the calling thread the one that sends.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn enlist(&self) -> std::io::Result<()> {
        match self.0.program("enlist") {
            Some(Program::RawTracePoint(enlist)) => {
                enlist.test_run(RawTracePointRunOptions::new()).map(|_| ()).map_err(cause)
            }
            _ => Err(std::io::Error::other(NoSuch("enlist"))),
        }
    }

    /// Sends what stands in the ring, in as many copies of this frame, or until a signal comes.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn send(&self, frame: &[u8], frames: u32) -> std::io::Result<()> {
        let Some(Program::Xdp(send)) = self.0.program("send") else {
            return Err(std::io::Error::other(NoSuch("send")));
        };
        let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        let run = TestRunOptions { data_in: Some(frame), repeat: frames, attrs, ..TestRunOptions::new() };
        match send.test_run(run).map_err(cause) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

/// What the kernel said, out of what the library says of it.
fn cause(error: ProgramError) -> std::io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        error => std::io::Error::other(error),
    }
}

/// A map, as what it is.
fn taken<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Failure>
where
    T: TryFrom<Map>,
    T::Error: Into<Failure>,
{
    let map = ebpf.take_map(name).ok_or_else(|| boxed(NoSuch(name)))?;
    T::try_from(map).map_err(boxed)
}

/// Prefers the driver; the kernel itself can do it for every device.
fn attach(receive: &mut Xdp, interface_index: u32) -> Result<Mode, Failure> {
    let Err(native) = receive.attach_to_if_index(interface_index, XdpMode::Driver) else {
        return Ok(Mode::Native);
    };
    receive.attach_to_if_index(interface_index, XdpMode::Skb).map_err(boxed)?;
    Ok(Mode::Generic(with_causes(&native)))
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
    failed(attempt, interface, std::io::Error::other(with_causes(&*error.into())), REMEDY)
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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

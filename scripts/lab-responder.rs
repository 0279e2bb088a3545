//! One end of a wire, in XDP, at whatever rate its packets come:
//!
//!   lab-responder respond DEVICE NETWORK   answers for a whole network
//!   lab-responder swallow DEVICE           takes all IPv4 TCP, and answers nothing
//!   lab-responder pass DEVICE              lets everything pass
//!
//! It says `ready` and goes on until its standard input ends. For network namespaces without a way out; see
//! `scripts/lab-wire.sh`.

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;

use aya::EbpfLoader;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use ipnetwork::IpNetwork;

static OBJECT: &[u8] = aya::include_bytes_aligned!("lab-responder.bpf.o");

const USAGE: &str = "usage: lab-responder respond DEVICE NETWORK | swallow DEVICE | pass DEVICE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["respond", device, network] => respond(device, network),
        [program @ ("swallow" | "pass"), device] => hold(&mut EbpfLoader::new(), program, device),
        _ => {
            let _ = writeln!(std::io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lab-responder: {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn respond(device: &str, network: &str) -> Result<(), Box<dyn Error>> {
    let network: IpNetwork = network.parse()?;
    let mut octets = [0_u8; 16];
    match network {
        IpNetwork::V4(v4) => octets[..4].copy_from_slice(&v4.network().octets()),
        IpNetwork::V6(v6) => octets = v6.network().octets(),
    }
    let (bits, is_ipv6) = (u32::from(network.prefix()), u32::from(network.is_ipv6()));
    let mut loader = EbpfLoader::new();
    loader
        .override_global("network", &octets, true)
        .override_global("network_bits", &bits, true)
        .override_global("is_ipv6", &is_ipv6, true);
    hold(&mut loader, "respond", device)
}

/// Keeps a program attached for as long as the standard input lasts.
fn hold(loader: &mut EbpfLoader<'_>, program: &str, device: &str) -> Result<(), Box<dyn Error>> {
    let mut ebpf = loader.load(OBJECT)?;
    let program: &mut Xdp = ebpf.program_mut(program).ok_or("no such program")?.try_into()?;
    program.load()?;
    program.attach(device, XdpMode::Driver)?;
    writeln!(std::io::stdout(), "ready")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

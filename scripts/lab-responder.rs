//! Lets a device answer for a whole network, at whatever rate its packets come: `lab-responder DEVICE NETWORK`. It says
//! `ready` and goes on until its standard input ends. For network namespaces without a way out; see `scripts/lab.sh`.

use std::io::{Read, Write};
use std::process::ExitCode;

use aya::EbpfLoader;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use ipnetwork::IpNetwork;

static OBJECT: &[u8] = aya::include_bytes_aligned!("lab-responder.bpf.o");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, network] = arguments.as_slice() else {
        let _ = writeln!(std::io::stderr(), "usage: lab-responder DEVICE NETWORK");
        return ExitCode::from(2);
    };
    match respond(device, network) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lab-responder: {device} {network}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn respond(device: &str, network: &str) -> Result<(), Box<dyn std::error::Error>> {
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
    let mut ebpf = loader.load(OBJECT)?;
    let program: &mut Xdp = ebpf.program_mut("respond").ok_or("no program `respond`")?.try_into()?;
    program.load()?;
    program.attach(device, XdpMode::Driver)?;
    writeln!(std::io::stdout(), "ready")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

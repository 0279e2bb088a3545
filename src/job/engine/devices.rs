//! The devices of the xdp engine: which take its frames, and what sends by those that do not.

use super::packet::{Path, open_half};
use super::{OpenError, Wanted};
use crate::link::clock::Monotonic;
use crate::link::packet::{Knowledge, PacketTransmit};
use crate::link::xdp::{Device, Mode, XdpTransmit};
use crate::link::{LinkError, Transmit};

/// What sends by XDP, and by packet sockets where it must.
pub(super) struct Devices {
    pub transmit: Box<dyn Transmit>,
    /// The devices that take frames from XDP, by number.
    pub devices: Vec<(u32, Device)>,
    /// The names of those that do not.
    others: Vec<String>,
}

impl Devices {
    /// What is to be said of them.
    pub fn about(&self) -> String {
        let mut said = String::new();
        let generic = self.devices.iter().find_map(|(_, device)| match device.mode() {
            Mode::Generic(why) => Some(why),
            Mode::Native => None,
        });
        if let Some(why) = generic {
            said = format!("; receiving in generic mode, which is slower, because the driver refused: {why}");
        }
        if !self.others.is_empty() {
            let names = self.others.join(", ");
            said = format!("{said}; by packet sockets on {names}, whose driver takes no frames from XDP");
        }
        said
    }
}

/// Opens one sending half that reaches all targets, by XDP where the device can.
///
/// # Errors
/// Where none of them can: that is not what was asked for.
pub(super) fn open_devices(
    wanted: &Wanted<'_>,
    paths: &[Path<'_>],
    block: (u16, u16),
    knowledge: &Knowledge,
    clock: Monotonic,
) -> Result<Devices, OpenError> {
    let (mut devices, mut others, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    let transmit = open_half(wanted, paths, |options| {
        let device = match Device::open(&options, block) {
            Ok(device) => device,
            Err(refusal @ LinkError::TakesNoFrames { .. }) => {
                refusals.push(refusal);
                others.push(options.interface.clone());
                return Ok(Box::new(PacketTransmit::open(&options, knowledge.clone(), clock)?));
            }
            Err(error) => return Err(error),
        };
        let transmit = XdpTransmit::open(&device, &options, knowledge.clone(), clock)?;
        devices.push((options.interface_index, device));
        Ok(Box::new(transmit))
    })?;
    if !devices.is_empty() {
        return Ok(Devices { transmit, devices, others });
    }
    let name = || paths.first().map(|path| path.hop.interface.name.clone());
    let refusal = refusals.into_iter().next().unwrap_or_else(|| LinkError::TakesNoFrames {
        interface: name().unwrap_or_default(),
        why: "it takes no frames from XDP, and carries none".to_owned(),
        remedy: "use --engine packet".to_owned(),
    });
    Err(OpenError::Link(refusal))
}

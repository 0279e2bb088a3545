//! Cases that run only when they are asked for, by `PORTREEVE_TRUST_LONG=1`.

use crate::{Case, DeviceCase, PlainCase, kinds, weather};

/// Cases that take minutes: a host that limits its resets to 200 a second has 65,535 ports.
pub const CASES: &[Case] = &[("resets_are_limited_on_all_ports", weather::resets_are_limited_on_all_ports)];

/// Cases that need nmap as well.
pub const JUDGED: &[PlainCase] =
    &[("nmap_and_portreeve_agree_on_each", kinds::nmap_and_portreeve_agree_on_each)];

/// Cases that need a kind of device.
pub const DEVICES: &[DeviceCase] = &[("vlan", "vlan", kinds::vlan), ("vrf", "vrf", kinds::vrf)];

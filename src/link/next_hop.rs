//! The hardware address of a next hop, as sending and guarding halves share it: it may change while a sweep runs.

use crate::sync::{AtomicU64, Ordering};

/// A hardware address that one thread may change while others send to it.
#[derive(Debug)]
pub struct HardwareAddress(AtomicU64);

impl HardwareAddress {
    /// It is this one for now.
    pub fn new(mac: [u8; 6]) -> Self {
        HardwareAddress(AtomicU64::new(number_of(mac)))
    }

    /// It is not known yet: nobody has answered for it so far.
    pub fn unknown() -> Self {
        HardwareAddress::new(UNKNOWN)
    }

    /// What it is now. `Relaxed`: the address is all there is to know, and a frame that goes to the old one a moment
    /// longer is made void by the guard's word.
    #[inline]
    pub fn get(&self) -> [u8; 6] {
        let [_, _, mac @ ..] = self.0.load(Ordering::Relaxed).to_be_bytes();
        mac
    }

    /// From now on it is this one.
    pub fn set(&self, mac: [u8; 6]) {
        self.0.store(number_of(mac), Ordering::Relaxed);
    }
}

/// What stands for an address that is not known. No station has it.
pub const UNKNOWN: [u8; 6] = [0; 6];

fn number_of(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn keeps_an_address_in_its_order() {
        let address = HardwareAddress::new([2, 0, 0, 0, 0, 1]);
        assert_eq!(address.get(), [2, 0, 0, 0, 0, 1]);
        address.set([0xff, 1, 2, 3, 4, 5]);
        assert_eq!(address.get(), [0xff, 1, 2, 3, 4, 5]);
    }
}

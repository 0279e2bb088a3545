//! The order of probing: a seeded bijection of `0..len` onto itself.
//!
//! Probes that follow each other should reach different hosts and networks, so that no host and no device in between
//! sees a burst. A Feistel network over the smallest power of two that holds `len` gives such an order without any
//! memory: whatever its round function does, a Feistel network can be undone, so it is a bijection of that power of
//! two. Numbers that fall outside `0..len` are sent through again until they fall inside ("cycle walking": Black and
//! Rogaway,
//! *Ciphers with Arbitrary Finite Domains*, 2002); as the power of two is less than twice `len`, that takes under two
//! turns on average.
//!
//! The order is meant to be even, not secret: the cookie is what nobody may guess.

/// Rounds of the network. Four are enough for secrecy against few queries (Luby and Rackoff); eight leave no visible
/// pattern even for the tiny, lopsided halves of small scopes, and cost about 15 ns.
const ROUNDS: usize = 8;

/// A seeded bijection between positions (places in the order of probing) and indexes (numbers of targets).
#[derive(Clone, Debug)]
pub struct Order {
    len: u64,
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
    keys: [u64; ROUNDS],
}

impl Order {
    /// The order of `0..len` that belongs to this seed; the same for ever, on every machine.
    ///
    /// # Panics
    /// When `len` is 0 or above 2^63: scopes have neither.
    pub fn new(len: u64, seed: u64) -> Self {
        assert!((1..=1 << 63).contains(&len), "an order of {len} targets");
        // At least two bits, one for each half.
        let bits = (64 - (len - 1).leading_zeros()).max(2);
        let low_bits = bits / 2;
        let mut state = seed;
        Order {
            len,
            low_bits,
            low_mask: (1 << low_bits) - 1,
            high_mask: (1 << (bits - low_bits)) - 1,
            keys: std::array::from_fn(|_| splitmix(&mut state)),
        }
    }

    /// The number of targets.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// An order is never empty; here for the sake of the pair.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The target that is probed in this place.
    #[inline]
    pub fn index_at(&self, position: u64) -> u64 {
        debug_assert!(position < self.len);
        let mut number = self.forward(position);
        while number >= self.len {
            number = self.forward(number);
        }
        number
    }

    /// The place in which this target is probed. The inverse of [`Order::index_at`].
    #[inline]
    pub fn position_of(&self, index: u64) -> u64 {
        debug_assert!(index < self.len);
        let mut number = self.backward(index);
        while number >= self.len {
            number = self.backward(number);
        }
        number
    }

    #[inline]
    fn forward(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        // Halves may differ by a bit, so they are changed in turn and never swapped.
        for pair in self.keys.chunks_exact(2) {
            high ^= mix(low, pair[0]) & self.high_mask;
            low ^= mix(high, pair[1]) & self.low_mask;
        }
        high << self.low_bits | low
    }

    #[inline]
    fn backward(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        for pair in self.keys.chunks_exact(2).rev() {
            low ^= mix(high, pair[1]) & self.low_mask;
            high ^= mix(low, pair[0]) & self.high_mask;
        }
        high << self.low_bits | low
    }
}

/// The round function: a multiply-and-fold hash of one half under one key. The product's high half depends on every
/// bit of the input, which is all that a round has to give.
#[inline]
fn mix(half: u64, key: u64) -> u64 {
    let product = u128::from(half ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (product >> 64) as u64 ^ product as u64 ^ key >> 32
}

/// Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014: spreads a seed over the round keys.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_bijection(len in 1_u64..3000, seed: u64) {
            let order = Order::new(len, seed);
            let mut seen = vec![false; len as usize];
            for position in 0..len {
                let index = order.index_at(position);
                prop_assert!(!std::mem::replace(&mut seen[index as usize], true));
                prop_assert_eq!(order.position_of(index), position);
            }
        }

        #[test]
        fn undoes_itself_at_any_size(len in 1_u64..=1 << 63, seed: u64, at: u64) {
            let order = Order::new(len, seed);
            let position = at % len;
            prop_assert_eq!(order.position_of(order.index_at(position)), position);
        }
    }

    /// The share of each host among any stretch of the order must look like chance, not like a pattern: chi-squared
    /// over 256 hosts, for several sizes and seeds, in windows of the order. With 255 degrees of freedom the statistic
    /// has mean 255 and deviation 22.6; six deviations is chance of about one in a billion.
    #[test]
    fn is_even_over_hosts() {
        for (hosts, ports) in [(65_536_u64, 6_u64), (4096, 100), (256, 1000), (65_536, 7)] {
            for seed in 0..4 {
                let order = Order::new(hosts * ports, seed);
                let window = hosts * ports / 8;
                for start in [0, window * 3] {
                    let mut count = [0_u64; 256];
                    for position in start..start + window {
                        count[(order.index_at(position) / ports * 256 / hosts) as usize] += 1;
                    }
                    let expected = window as f64 / 256.0;
                    let chi: f64 = count.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
                    assert!(chi < 255.0 + 6.0 * 22.6, "hosts {hosts} ports {ports} seed {seed}: {chi}");
                }
            }
        }
    }

    /// Neighbours in the order must not be neighbours on the network: the mean step between consecutive probes of a
    /// random order of n targets is n / 3.
    #[test]
    fn spreads_consecutive_probes() {
        let len = 100_000_u64;
        for seed in 0..8 {
            let order = Order::new(len, seed);
            let steps = (1..len).map(|p| order.index_at(p).abs_diff(order.index_at(p - 1)) as f64);
            let mean = steps.sum::<f64>() / (len - 1) as f64;
            assert!((mean / (len as f64 / 3.0) - 1.0).abs() < 0.02, "seed {seed}: {mean}");
        }
    }

    #[test]
    fn is_repeated_by_its_seed_and_by_nothing_else() {
        let list = |seed| (0..50).map(|p| Order::new(393_216, seed).index_at(p)).collect::<Vec<_>>();
        assert_eq!(list(7), list(7));
        assert_ne!(list(7), list(8));
    }
}

//! The Internet checksum, RFC 1071: the ones' complement of the ones' complement sum of 16-bit words.

/// Adds bytes to a running sum, as 16-bit words in network order; an odd byte at the end counts as its word's high
/// half.
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |byte| u32::from(*byte) << 8);
    words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>() + odd
}

/// Folds a running sum to 16 bits and complements it. Takes any sum of up to 65,537 words.
#[inline]
pub fn finish(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

/// The two words of a 32-bit number, added up, for a running sum.
#[inline]
pub fn words(number: u32) -> u32 {
    (number >> 16) + (number & 0xffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn adds_up_as_the_rfc_does() {
        let sum = sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum, 0x2ddf0);
        assert_eq!(finish(sum), !0xddf2);
    }

    proptest! {
        #[test]
        fn agrees_with_pnet(bytes in prop::collection::vec(any::<u8>(), 2..1500)) {
            // pnet takes the place of a word to leave out; one past the end leaves out nothing.
            prop_assert_eq!(finish(sum(&bytes)), pnet::packet::util::checksum(&bytes, usize::MAX));
        }

        #[test]
        fn a_message_with_its_checksum_adds_up_to_nothing(mut bytes in prop::collection::vec(any::<u8>(), 1..700)) {
            if bytes.len() % 2 == 1 { bytes.push(0); }
            let check = finish(sum(&bytes));
            bytes.extend(check.to_be_bytes());
            prop_assert_eq!(finish(sum(&bytes)), 0);
        }
    }
}

//! The secret of a run. It is promised before the first probe, by its digest, and told when all is over: whoever has
//! recorded the packets of the run then sees that they are the run's, and that their numbers were not chosen later.

use std::fmt;

use crate::evidence::digest::Digest;

/// What every key of a tile is made of beside the secret, so that it is of use for nothing else.
const PURPOSE: &[u8] = b"portreeve/tile/1";

/// The secret of a run: 64 hexadecimal digits.
#[derive(Clone, Eq, PartialEq)]
pub struct RunKey(String);

impl RunKey {
    /// A fresh one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(RunKey(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The secret that is written so, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // As it happens, a secret is written as a digest is.
        text.parse::<Digest>().ok().map(|_| RunKey(text.to_owned()))
    }

    /// What is said of it before the run: the digest of its digits.
    pub fn commitment(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The digits.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key of the probes of one attempt at a tile: the first half of a digest over the purpose, the digits and both
    /// numbers, as 64 bits each, the highest first. Every attempt has its own, so that no answer to an earlier one
    /// passes for an answer to it.
    pub fn of_tile(&self, tile: u64, attempt: u32) -> [u8; 16] {
        let (tile, attempt) = (tile.to_be_bytes(), u64::from(attempt).to_be_bytes());
        let digest = Digest::of_pieces(&[PURPOSE, self.0.as_bytes(), &tile, &attempt]);
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_bytes()[..16]);
        key
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_attempt_has_its_own_key_and_the_same_one_again() {
        let key = RunKey::generate().expect("random numbers");
        let again = RunKey::parse(&format!("{}\n", key.reveal())).expect("the same");
        let keys: BTreeSet<[u8; 16]> = (1..40)
            .flat_map(|tile| (1..5).map(move |attempt| (tile, attempt)))
            .map(|(t, a)| key.of_tile(t, a))
            .collect();
        assert_eq!(keys.len(), 39 * 4);
        assert_eq!(key.of_tile(7, 2), again.of_tile(7, 2));
        assert_eq!(key.commitment(), again.commitment());
        assert_ne!(key.commitment(), RunKey::generate().expect("random numbers").commitment());
        assert!(!format!("{key:?}").contains(key.reveal()));
        assert!(RunKey::parse("00").is_none());
    }
}

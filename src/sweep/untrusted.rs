//! Text that somebody else wrote: what a server said of itself, made harmless at the moment that it comes in.
//!
//! A banner is written by whoever runs the server, and is read on terminals, in tickets and in browsers. So nothing in
//! this type can move a cursor, end a line, turn the direction of writing or hide: whatever is not a plain visible
//! character is written out as an escape. There is no `Display`, so that nobody prints it by accident; whoever wants it
//! says where it goes.

use serde::{Deserialize, Serialize};

use crate::target::foreign::harmless;

/// Characters of the escaped text that are kept.
const MOST_CHARS: usize = 256;

/// What stands at the end of a text that was cut.
const CUT: char = '…';

/// Text from outside, escaped: `\n`, `\r`, `\t`, `\\`, `\xNN` for other bytes below 128 and for bytes that are no
/// UTF-8, `\u{…}` for every other character that cannot be seen, or that works on its neighbours.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Untrusted {
    escaped: String,
}

impl Untrusted {
    /// Takes in what was said.
    pub fn new(said: &[u8]) -> Self {
        let mut escaped = Escaped::default();
        for chunk in said.utf8_chunks() {
            for character in chunk.valid().chars() {
                escaped.push(&escape(character, true));
            }
            for byte in chunk.invalid() {
                escaped.push(&format!("\\x{byte:02x}"));
            }
        }
        Untrusted { escaped: escaped.finish() }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.escaped.is_empty()
    }

    /// The first line, fit for a terminal: its end is where the escaped text has a line end.
    pub fn for_terminal(&self) -> &str {
        let mut backslash = false;
        for (at, character) in self.escaped.char_indices() {
            match character {
                'r' | 'n' if backslash => return &self.escaped[..at - 1],
                '\\' => backslash = !backslash,
                _ => backslash = false,
            }
        }
        &self.escaped
    }
}

impl From<&[u8]> for Untrusted {
    fn from(said: &[u8]) -> Self {
        Untrusted::new(said)
    }
}

impl From<Untrusted> for String {
    fn from(text: Untrusted) -> String {
        text.escaped
    }
}

/// Reads back what was stored. A store is no more to be trusted than a wire, so whatever is not escaped there is now.
impl From<String> for Untrusted {
    fn from(stored: String) -> Self {
        let mut escaped = Escaped::default();
        for character in stored.chars() {
            escaped.push(&escape(character, false));
        }
        Untrusted { escaped: escaped.finish() }
    }
}

/// An escaped text that grows up to its limit, and never ends within an escape.
#[derive(Default)]
struct Escaped {
    text: String,
    chars: usize,
    /// Where to cut if anything more comes: the last place that leaves room for the mark.
    cut_at: usize,
    is_cut: bool,
}

impl Escaped {
    fn push(&mut self, part: &str) {
        if self.is_cut {
            return;
        }
        let len = part.chars().count();
        if self.chars + len > MOST_CHARS {
            self.text.truncate(self.cut_at);
            self.text.push(CUT);
            self.is_cut = true;
            return;
        }
        self.text.push_str(part);
        self.chars += len;
        if self.chars < MOST_CHARS {
            self.cut_at = self.text.len();
        }
    }

    fn finish(self) -> String {
        self.text
    }
}

/// How a character is kept. A backslash from outside must not be taken for one of ours.
fn escape(character: char, from_outside: bool) -> String {
    match character {
        '\\' if from_outside => "\\\\".to_owned(),
        _ => harmless(character.encode_utf8(&mut [0; 4])).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::foreign::is_unfit;

    fn text(said: &[u8]) -> String {
        Untrusted::new(said).into()
    }

    #[test]
    fn nothing_in_it_works_on_a_terminal() {
        for (said, kept) in [
            (&b"SSH-2.0-OpenSSH_9.2"[..], "SSH-2.0-OpenSSH_9.2"),
            (b"\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
            (b"a\r\nevent: b\tc\0", "a\\r\\nevent: b\\tc\\x00"),
            (b"back\\slash \"quoted\"", "back\\\\slash \"quoted\""),
            (b"\x9b31m\xff\xc3", "\\x9b31m\\xff\\xc3"),
            ("\u{9b}31m\u{7f}".as_bytes(), "\\u{9b}31m\\x7f"),
            ("gr\u{fc}\u{df} \u{65e5}".as_bytes(), "gr\u{fc}\u{df} \u{65e5}"),
            ("e\u{301}\u{a0}".as_bytes(), "e\\u{301}\\u{a0}"),
        ] {
            assert_eq!(text(said), kept);
        }
        for hidden in [0x202a..=0x202e, 0x2066..=0x2069, 0x200b..=0x200f, 0xfeff..=0xfeff, 0xe0001..=0xe007f]
        {
            for number in hidden {
                let character = char::from_u32(number).expect("a character").to_string();
                assert_eq!(text(character.as_bytes()), format!("\\u{{{number:x}}}"));
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_between_escapes_and_says_so() {
        assert_eq!(text(&[b'a'; 256]).chars().count(), 256);
        assert!(!text(&[b'a'; 256]).ends_with(CUT));
        let cut = text(&[b'a'; 257]);
        assert_eq!((cut.chars().count(), cut.ends_with(CUT)), (256, true));
        let zeros = text(&[0; 1 << 20]);
        assert_eq!(zeros, "\\x00".repeat(63) + "…");
    }

    #[test]
    fn a_terminal_gets_the_first_line() {
        for (said, line) in [
            (&b"220 mail\r\n220 more"[..], "220 mail"),
            (b"one\ntwo", "one"),
            (b"c:\\new", "c:\\\\new"),
            (b"c:\\\nnew", "c:\\\\"),
            (b"", ""),
        ] {
            assert_eq!(Untrusted::new(said).for_terminal(), line);
        }
    }

    proptest! {
        #[test]
        fn is_harmless_whatever_was_said(said in prop::collection::vec(any::<u8>(), 0..600)) {
            let kept = text(&said);
            prop_assert!(kept.chars().count() <= MOST_CHARS);
            prop_assert!(!kept.chars().any(is_unfit));
        }

        #[test]
        fn comes_back_from_where_it_was_stored(said: String) {
            let before = Untrusted::new(said.as_bytes());
            let json = serde_json::to_string(&before).expect("json");
            prop_assert_eq!(serde_json::from_str::<Untrusted>(&json).expect("text"), before);
            let raw: Untrusted = serde_json::from_value(said.into()).expect("text");
            prop_assert!(!String::from(raw).chars().any(is_unfit));
        }
    }
}

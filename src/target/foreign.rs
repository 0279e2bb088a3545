//! Text that somebody else wrote, made harmless before anybody reads it: names, banners, values of files, paths,
//! arguments.
//!
//! There is one list of what a terminal obeys or hides, and one way to spell it: `\n`, `\r`, `\t`, `\xNN` for the other
//! control characters below 128, `\u{…}` for whatever else cannot be seen, or works on its neighbours.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Characters of a name or value that are shown.
const LONGEST: usize = 100;

/// A foreign text as it may be shown in a line of ours: spelt out where it must be, and cut where it is longer than a
/// line.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        None => harmless(text),
        Some((end, _)) => format!("{}...", harmless(&text[..end])).into(),
    }
}

/// A foreign text as it may be shown, in its whole length.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if is_printable(text) { Cow::Borrowed(text) } else { Cow::Owned(Harmless(text).to_string()) }
}

/// As [`harmless`], for writing.
#[derive(Clone, Copy, Debug)]
pub struct Harmless<'t>(pub &'t str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| spell(letter, f))
    }
}

/// Whether a text holds nothing that would be spelt out.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(is_unfit)
}

/// Writes a character, or how it is spelt.
///
/// # Errors
/// When `out` fails.
pub fn spell(letter: char, out: &mut impl Write) -> fmt::Result {
    match letter {
        '\r' => out.write_str("\\r"),
        '\n' => out.write_str("\\n"),
        '\t' => out.write_str("\\t"),
        _ if !is_unfit(letter) => out.write_char(letter),
        _ if letter.is_ascii() => write!(out, "\\x{:02x}", u32::from(letter)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(letter)),
    }
}

/// Whether a character is anything but a plain visible one.
pub fn is_unfit(letter: char) -> bool {
    match letter {
        ' '..='~' => false,
        // The standard library knows what is printable and what joins its neighbour; the rest it calls visible, though
        // it leaves no trace on a screen.
        _ => letter.is_ascii() || is_blank(letter) || letter.escape_debug().len() > 1,
    }
}

/// Characters that count as visible and are not, and those that steer the direction of writing.
fn is_blank(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x80..=0xa0 | 0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f
            | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x2800 | 0x3000 | 0x3164 | 0xe000..=0xf8ff
            | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xffff | 0xe0000..=0x10_ffff
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shown_leaves_the_terminal_alone() {
        for (text, shown) in [
            ("db.example.net", "db.example.net"),
            ("b\u{fc}ro 3", "b\u{fc}ro 3"),
            ("c:\\new", "c:\\new"),
            ("a\x1b[2Jb", "a\\x1b[2Jb"),
            ("a\r\nb\u{7}\t", "a\\r\\nb\\x07\\t"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(harmless(text), shown);
        }
        let long = printable(&"\u{e4}".repeat(101)).into_owned();
        assert_eq!((long.chars().count(), long.ends_with("...")), (103, true));
        assert_eq!(printable(&"\u{e4}".repeat(100)), "\u{e4}".repeat(100));
        assert_eq!(harmless(&"x".repeat(5000)), "x".repeat(5000));
    }

    /// Each of these was let through by one of the two lists that there were once.
    #[test]
    fn what_cannot_be_seen_is_spelt_out() {
        for letter in
            ['\u{34f}', '\u{115f}', '\u{2800}', '\u{3164}', '\u{fe00}', '\u{fe0f}', '\u{fff9}', '\u{301}']
        {
            assert_eq!(harmless(letter.encode_utf8(&mut [0; 4])), format!("\\u{{{:x}}}", u32::from(letter)));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_controls(text in "\\PC{0,5}[\\x00-\\x1f\\x7f-\\x9f]{0,3}.{0,200}") {
            prop_assert!(!printable(&text).chars().any(is_unfit));
            prop_assert!(is_printable(&harmless(&text)));
        }
    }
}

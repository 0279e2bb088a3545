//! JSON of plain visible characters. It says the same as any other, but whoever looks at it on a terminal, in a log or
//! in the middle of a request sees what is there: no control character, and nothing that hides or turns its neighbours.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::target::foreign::is_unfit;

/// A value as JSON, in one line.
///
/// # Errors
/// When it has a map whose keys are no texts.
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut json, Plain))?;
    Ok(json)
}

struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_unfit(*letter)) {
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + letter.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_spelt_out() {
        for (text, json) in [
            ("b\u{fc}ro \"3\" \\", "\"b\u{fc}ro \\\"3\\\" \\\\\""),
            ("a\u{7f}\u{9b}\x1b\n", "\"a\\u007f\\u009b\\u001b\\n\""),
            ("\u{202e}x\u{e0041}", "\"\\u202ex\\udb40\\udc41\""),
        ] {
            assert_eq!(String::from_utf8(to_vec(&text).expect("JSON")).expect("text"), json);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_none_controls(text in any::<String>()) {
            let json = String::from_utf8(to_vec(&text).expect("JSON")).expect("text");
            prop_assert!(!json.chars().any(is_unfit));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        }
    }
}

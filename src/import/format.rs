//! What a file is, by what it begins with.

use std::fmt;
use std::str::FromStr;

use super::error::{Fault, Place, quoted};

/// A format of results.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// nmap's XML (`-oX`), which masscan writes too.
    Nmap,
    /// masscan's JSON (`-oJ`), or one object a line (`-oD`).
    MasscanJson,
    /// masscan's list (`-oL`).
    MasscanList,
    /// zmap's CSV, with a header.
    Zmap,
    /// naabu's JSON Lines (`-json`).
    Naabu,
    /// This program's own events.
    Portreeve,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] = [
        Format::Nmap,
        Format::MasscanJson,
        Format::MasscanList,
        Format::Zmap,
        Format::Naabu,
        Format::Portreeve,
    ];

    /// Its name, as it is asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Nmap => "nmap",
            Format::MasscanJson => "masscan-json",
            Format::MasscanList => "masscan-list",
            Format::Zmap => "zmap",
            Format::Naabu => "naabu",
            Format::Portreeve => "portreeve",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Format::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| {
            let names = Format::ALL.map(Format::as_str).join(", ");
            format!("no such format; the formats are {names}")
        })
    }
}

const START: Place = Place::Line(1, 1);

/// Tells what a file is.
pub(super) fn detect(beginning: &[u8], is_all: bool) -> Result<Format, Fault> {
    for (magic, what) in MAGICS {
        if beginning.starts_with(magic) {
            return Err(Fault::fatal(START, format!("this is {what}"), "unpack or convert it first"));
        }
    }
    let text = beginning.trim_ascii_start();
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match text.first() {
        None if is_all => Err(Fault::fatal(START, "it is empty", EMPTY)),
        Some(b'<') => Ok(Format::Nmap),
        Some(b'[') => Ok(Format::MasscanJson),
        Some(b'{') => of_object(first_line),
        _ if first_line.starts_with(b"#masscan") => Ok(Format::MasscanList),
        _ if first_line.starts_with(b"open ") || first_line.starts_with(b"closed ") => {
            Ok(Format::MasscanList)
        }
        _ if has_column(first_line, b"saddr") => Ok(Format::Zmap),
        _ => Err(unknown(first_line)),
    }
}

const EMPTY: &str = "a scanner that found nothing may leave such a file (masscan does), and so does one that was \
    killed: scan again, or leave it out";

const MAGICS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PK\x03\x04", "a zip file"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
];

/// By the keys that only one of them has. What is inside of its values cannot look like one: quotes are escaped there.
fn of_object(line: &[u8]) -> Result<Format, Fault> {
    let has = |key: &str| line.windows(key.len()).any(|part| part == key.as_bytes());
    if has("\"schema\"") && has("\"event\"") {
        return Ok(Format::Portreeve);
    }
    if has("\"rec_type\"") || has("\"ports\"") {
        return Ok(Format::MasscanJson);
    }
    if has("\"port\"") && (has("\"host\"") || has("\"ip\"")) {
        return Ok(Format::Naabu);
    }
    Err(unknown(line))
}

fn has_column(line: &[u8], name: &[u8]) -> bool {
    line.split(|byte| *byte == b',').any(|column| column.trim_ascii() == name)
}

fn unknown(line: &[u8]) -> Fault {
    let is_list_of_addresses =
        std::str::from_utf8(line).is_ok_and(|line| line.trim().parse::<std::net::IpAddr>().is_ok());
    if is_list_of_addresses {
        let help = "zmap writes such a list where it is not asked for more: scan with -O csv -f \
                    saddr,sport,classification,success";
        return Fault::fatal(START, "this is a list of addresses without ports", help);
    }
    let shown = String::from_utf8_lossy(line);
    let names = Format::ALL.map(Format::as_str).join(", ");
    let help = format!("say what it is with --input-format, if it is one of {names}");
    Fault::fatal(START, format!("no known format begins with {}", quoted(&shown)), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_told_by_its_beginning() {
        for (text, format) in [
            ("<?xml version=\"1.0\"?>\n", Format::Nmap),
            ("\n  <nmaprun>", Format::Nmap),
            ("[\n{   \"ip\": \"198.18.0.1\"", Format::MasscanJson),
            ("[]", Format::MasscanJson),
            ("{\"ip\":\"198.18.0.1\",\"port\":22,\"rec_type\":\"status\"}\n", Format::MasscanJson),
            ("#masscan\nopen tcp 22 198.18.0.1 1\n", Format::MasscanList),
            ("saddr,sport\n", Format::Zmap),
            ("sport,saddr\n", Format::Zmap),
            ("{\"host\":\"a\",\"ip\":\"198.18.0.1\",\"port\":22}\n", Format::Naabu),
            ("{\"schema\":\"portreeve/1\",\"event\":\"sweep.started\"}\n", Format::Portreeve),
        ] {
            assert_eq!(detect(text.as_bytes(), true), Ok(format), "{text}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_told_with_a_remedy() {
        for (text, says) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (b"198.18.0.1\n", "list of addresses without ports"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\xff\xfe<\0", "UTF-16"),
            (b"hello\x1b[2J", "begins with `hello\\x1b[2J`"),
            (b"{\"a\":1}\n", "no known format"),
        ] {
            let fault = detect(text, true).expect_err(says);
            assert!(fault.to_string().contains(says), "{fault}");
            assert!(!fault.help.is_empty() && !fault.leaves_the_rest());
        }
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
    }
}

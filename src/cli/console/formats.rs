//! The formats that `sweep` knows: a new one is a row here.

use std::fmt;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::{Writer, document, lines, list, survey, text};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::sink::format::{LineFormat, defectdojo, prometheus};
use crate::sink::{masscan, nmap};

/// How results are written.
#[derive(Clone, Copy)]
pub struct Format {
    word: &'static str,
    help: &'static str,
    /// Whether results go out one by one. Then standard error is left to what goes wrong.
    pub streams: bool,
    /// Whether every state is listed, unless somebody says otherwise.
    pub lists_all: bool,
    /// How targets are listed that nothing is known of; not at all in formats that are about what was found.
    pub targets: Option<Targets>,
    open: fn(Place) -> Result<Box<dyn Writer>, Failure>,
}

/// How targets are listed that nothing is known of.
#[derive(Clone, Copy, Debug)]
pub enum Targets {
    /// One a line, for people.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// For spreadsheets.
    Csv,
}

const FORMATS: &[Format] = &[
    Format {
        word: "text",
        help: "For people: findings, a table by host, the ledger",
        streams: false,
        lists_all: false,
        targets: Some(Targets::Text),
        open: text::open,
    },
    Format {
        word: "jsonl",
        help: "For machines: one JSON event a line",
        streams: true,
        lists_all: false,
        targets: Some(Targets::Jsonl),
        open: |place| lines::open(place, LineFormat::Jsonl),
    },
    Format {
        word: "csv",
        help: "For spreadsheets: one line a target; how the sweep went is told on standard error",
        streams: false,
        lists_all: false,
        targets: Some(Targets::Csv),
        open: list::open,
    },
    Format {
        word: "ecs",
        help: "Events in the Elastic Common Schema 9.4, one a line",
        streams: true,
        lists_all: false,
        targets: None,
        open: |place| lines::open(place, LineFormat::Ecs),
    },
    Format {
        word: "ocsf",
        help: "Events in the Open Cybersecurity Schema Framework 1.8, one a line",
        streams: true,
        lists_all: false,
        targets: None,
        open: |place| lines::open(place, LineFormat::Ocsf),
    },
    Format {
        word: "hec",
        help: "Events for Splunk's HTTP Event Collector, one a line",
        streams: true,
        lists_all: false,
        targets: None,
        open: |place| lines::open(place, LineFormat::Hec),
    },
    Format {
        word: "cef",
        help: "Events in the Common Event Format, as messages of syslog (RFC 5424), one a line",
        streams: true,
        lists_all: false,
        targets: None,
        open: |place| lines::open(place, LineFormat::Cef),
    },
    Format {
        word: "defectdojo",
        help: "Findings for DefectDojo's Generic Findings Import, when the sweep is over",
        streams: false,
        lists_all: false,
        targets: None,
        open: |place| {
            document::open(place, |out, end, now| defectdojo::write(out, end.report, end.findings, now))
        },
    },
    Format {
        word: "prometheus",
        help: "Metrics for the node exporter's textfile collector, when the sweep is over",
        streams: false,
        lists_all: false,
        targets: None,
        open: |place| {
            document::open(place, |out, end, now| prometheus::write(out, end.report, end.findings, now))
        },
    },
    Format {
        word: "nmap",
        help: "nmap's XML, when the sweep is over; all states are listed unless --states says otherwise",
        streams: false,
        lists_all: true,
        targets: None,
        open: |place| survey::open(place, nmap::write),
    },
    Format {
        word: "masscan",
        help: "masscan's JSON, when the sweep is over",
        streams: false,
        lists_all: false,
        targets: None,
        open: |place| survey::open(place, masscan::write),
    },
];

impl Format {
    /// Opens the output: a file, or standard output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(self, place: Place) -> Result<Box<dyn Writer>, Failure> {
        (self.open)(place)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.word
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        FORMATS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.word).help(self.help))
    }
}

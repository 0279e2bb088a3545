//! A survey that is being made of a file.

use std::net::IpAddr;

use super::error::{Fault, Place};
use super::format::Format;
use crate::survey::builder::{Builder, Twice};
use crate::survey::host::{Port, Protocol};
use crate::survey::{Coverage, Ending, Source, Survey};
use crate::target::foreign::harmless;

/// A survey that is being made.
pub(super) struct Made {
    pub(super) builder: Builder,
    pub(super) source: Source,
    pub(super) coverage: Coverage,
    pub(super) ending: Ending,
    pub(super) notes: Vec<String>,
}

impl Made {
    pub(super) fn new(name: &str, format: Format) -> Self {
        let tool = match format {
            Format::Nmap => "nmap",
            Format::MasscanJson | Format::MasscanList => "masscan",
            Format::Zmap => "zmap",
            Format::Naabu => "naabu",
            Format::Portreeve => "portreeve",
        };
        let file = Some(harmless(name).into_owned());
        Made {
            builder: Builder::new(if format == Format::Portreeve { Twice::Later } else { Twice::Both }),
            source: Source { tool: tool.to_owned(), file, ..Source::default() },
            coverage: Coverage::Unknown,
            ending: Ending::Unsaid,
            notes: Vec::new(),
        }
    }

    /// Takes in a port; the times of all make those of the run, where nothing else does.
    pub(super) fn see(&mut self, ip: IpAddr, port: Port, place: Place) -> Result<(), Fault> {
        if let Some(time) = port.time {
            self.source.started = Some(self.source.started.map_or(time, |known| known.min(time)));
            self.source.ended = Some(self.source.ended.map_or(time, |known| known.max(time)));
        }
        self.builder.see(ip, port).map_err(|much| Fault::too_much(place, much))
    }

    /// The survey. With a fault, of what was read before it.
    pub(super) fn finish(self, fault: Option<Fault>) -> Survey {
        let Made { builder, source, mut coverage, mut ending, notes } = self;
        if let Some(fault) = fault {
            ending = Ending::Incomplete(format!("it was read up to {fault}"));
            coverage = Coverage::Unknown;
        }
        Survey { source, hosts: builder.finish(), coverage, ending, notes }
    }
}

/// A foreign text, spelt out where it must be.
pub(super) fn text(text: &str) -> Box<str> {
    harmless(text).into()
}

/// A protocol by its word.
pub(super) fn protocol(word: &str) -> Option<Protocol> {
    word.parse().ok()
}

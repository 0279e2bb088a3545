//! Files of other scanners, and of this program's own sweeps, read into surveys. One file for each format.
//!
//! # What always holds
//! - **Nothing half-read is a clean result.** A file that is cut, torn or mixed of two is an error with its place; who
//!   asks for what can be read of it ([`Wanted::partial`]) gets a survey that says that it is incomplete.
//! - **Complete is said only where the file proves it**, see [`crate::survey::Ending`].
//! - **Bounded memory.** Files are read as streams; no line, element or record may be longer than [`feed::MOST_BYTES`],
//!   and the survey itself takes in no more than [`crate::survey::builder`] says.
//! - **Foreign text is spelt out as it comes in**, so that nothing of it can work on a terminal later.

pub mod error;
pub mod feed;
mod format;
mod made;
mod masscan_json;
mod masscan_list;
mod naabu;
mod nmap;
mod nmap_host;
mod portreeve;
mod scope;
mod xml;
mod zmap;

use std::io::{BufRead, Read};

use ulid::Ulid;

use self::error::{Fault, ImportError};
use self::feed::Feed;
pub use self::format::Format;
use self::made::Made;
use crate::survey::Survey;

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What it is; `None` to tell by its content.
    pub format: Option<Format>,
    /// Which sweep of several; `None` for the last that came to its end.
    pub sweep: Option<Ulid>,
    /// Whether what can be read of a broken file is better than nothing.
    pub partial: bool,
}

/// Reads a file that is called `name`.
///
/// # Errors
/// When it is no such file, or a broken one, and says where.
pub fn read(name: &str, mut input: impl BufRead, wanted: &Wanted) -> Result<Survey, ImportError> {
    let told = |fault: Fault| ImportError::new(name, fault);
    let (beginning, is_all) = feed::begin(&mut input).map_err(told)?;
    let format = match wanted.format {
        Some(format) => format,
        None => format::detect(&beginning, is_all).map_err(told)?,
    };
    let mut chained = std::io::Cursor::new(beginning).chain(input);
    let mut feed = Feed::new(&mut chained);
    let mut made = Made::new(name, format);
    let result = match format {
        Format::Nmap => nmap::read(&mut feed, &mut made),
        Format::MasscanJson => masscan_json::read(&mut feed, &mut made),
        Format::MasscanList => masscan_list::read(&mut feed, &mut made),
        Format::Zmap => zmap::read(&mut feed, &mut made),
        Format::Naabu => naabu::read(&mut feed, &mut made),
        Format::Portreeve => {
            return portreeve::read(&mut feed, name, wanted).map_err(told);
        }
    };
    match result {
        Ok(()) => Ok(made.finish(None)),
        Err(fault) if wanted.partial && fault.leaves_the_rest() => Ok(made.finish(Some(fault))),
        Err(fault) => Err(told(fault)),
    }
}

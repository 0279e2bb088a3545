//! The configuration: one TOML file and the command line, overlaid in one struct.
//!
//! [`mod@file`] reads a file through [`document`], which keeps the place of every key and value, so that *all* mistakes
//! of a file are told in one go, each with its line, its column and its cure. [`settings`] is the one struct of options
//! that both the file and the command line fill in. [`sources`] turns files of targets ([`mod@list`]), inventories
//! ([`inventory`]) and host names ([`mod@resolve`]) into addresses before anything else looks at them.
//! [`mod@watch`], [`daemon`] and the modules of alerts and sinks read what `portreeve watch` alone needs; [`named`]
//! looks after the files that it will need. [`pace`] says what follows from several settings together.

mod alerts;
mod allow;
pub mod control;
pub mod daemon;
pub mod diagnostic;
pub mod document;
pub mod file;
pub mod hours;
pub mod inventory;
mod json;
pub mod list;
pub mod memory;
pub mod named;
mod names;
pub mod options;
pub mod pace;
pub mod resolve;
mod scope;
pub mod settings;
mod sinks;
pub mod sources;
mod sweep;
mod syntax;
mod time;
pub mod value;
pub mod watch;

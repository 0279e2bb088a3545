//! Where results go: the events that machines read, and the text that people read. Each format is one file.

pub mod channel;
pub mod columns;
pub mod control;
pub mod csv;
pub mod diff;
pub mod doubt;
pub mod event;
pub mod format;
pub mod imported;
pub mod jsonl;
pub mod listing;
pub mod masscan;
pub mod message;
pub mod nmap;
pub mod options;
pub mod plain;
pub mod secret;
pub mod syslog;
pub mod text;
pub mod wording;

//! The commands of those who handle alerts: see what fires, take it on, silence it, look back, look after the database.
//!
//! They open the database of a daemon, beside it while it runs or without it. What they change is one transaction, as
//! everything that the daemon changes is; the daemon delivers what follows from it.

pub mod ack;
pub mod alerts;
pub mod db;
mod deliveries;
pub mod history;
mod kept;
mod list;
mod short;
pub mod silence;
mod when;
mod which;

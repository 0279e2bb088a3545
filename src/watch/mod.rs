//! The daemon: sweeps on schedule, and what they come to, told once and surely.
//!
//! # Who does what
//! - A [`runner`] for each watch waits until its sweep is due ([`schedule`]), makes it ([`cycle`]), and takes a second
//!   look at what has begun to fire ([`recheck`]).
//! - The [`desk`] is where alerts change: one transaction for what was observed, what became of alerts, and what is to
//!   be said to whom ([`standing`]). While the database cannot be written, all that is [`afloat`].
//! - A [`messenger`] for each sink carries what is due, and decides when it is tried again ([`backoff`]).
//! - [`housekeeping`] reminds, looks at the clock ([`time`]) and tidies up; the [`heart`] gives signs of life.
//! - The [`daemon`] starts all of them and listens to signals; [`once`] is one pass without any of that.
//!
//! # What always holds
//! - No sweep waits for a sink, no sink for another, and nobody for a lock that is held during input or output, but for
//!   the database's own.
//! - What is to be said is in the same transaction as the reason to say it. A messenger marks a message as delivered
//!   after its receiver has it; between the two lies the only way in which a message can be told twice.
//! - Each due time of a watch has one sweep at most.

pub mod afloat;
pub mod backoff;
pub mod bell;
pub mod cycle;
pub mod daemon;
pub mod desk;
pub mod heart;
pub mod housekeeping;
pub mod messenger;
pub mod once;
pub mod recheck;
pub mod runner;
pub mod schedule;
pub mod shared;
pub mod standing;
pub mod time;

//! The life of a finding: pending, firing, resolved; told to people once, and surely.
//!
//! Everything here is pure. [`step`] takes the alerts as they were, what a sweep has seen, who is not to be disturbed,
//! and the time; it gives the alerts as they are from now on, and the notices of what has changed. Whoever calls it
//! keeps both in one transaction, so that an alert that has changed and the words about it are never apart.

pub mod advance;
pub mod book;
pub mod judge;
pub mod life;
pub mod maintenance;
pub mod notice;
pub mod record;
pub mod reminder;
pub mod route;
pub mod rules;
pub mod silence;
pub mod tell;

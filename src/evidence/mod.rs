//! Evidence: what a control run leaves behind, so that somebody who was not there can check it years later.
//!
//! A bundle is a directory ([`bundle`]). Its [`manifest`] says what the run was for, what was in scope, how it was
//! done, whether all of it was looked at, what was found and who had allowed the rest; it is signed ([`sign`]). Below
//! it lie the [`plan`], which was written before the first probe, the [`journal`], which grew while the run went on,
//! and the observations ([`observation`]), in which every target is in exactly one line. [`mod@verify`] works
//! everything out again from those, and believes no sum. The [`report`] is for people.
//!
//! What it proves: that nothing was changed since it was signed, and that what it says follows from what it holds. What
//! it cannot prove is that whoever held the key at that time held it honestly.

pub mod bundle;
mod claims;
pub mod compare;
pub mod digest;
pub mod exceptions;
pub mod grid;
pub mod journal;
pub mod judge;
pub mod list;
pub mod manifest;
pub mod merkle;
pub mod observation;
pub mod plan;
pub mod recount;
pub mod report;
pub mod sign;
pub mod sign_off;
pub mod statement;
pub mod surveyed;
pub mod verify;

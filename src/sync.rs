//! The one place that atomics come from, so that the model checker can take them over.
//!
//! With the feature `loom` (only `tests/model.rs` turns it on) the same code runs on loom's atomics, which try every
//! interleaving that the memory model allows. Nothing else in the crate imports `std::sync::atomic`; `tests/tidy.rs`
//! holds it to that.

pub use crossbeam::utils::CachePadded;

#[cfg(not(feature = "loom"))]
pub use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "loom")]
pub use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A word that the kernel shares with us. Never loom's, which cannot live in memory that it did not allocate.
pub use std::sync::atomic::AtomicU32 as KernelU32;

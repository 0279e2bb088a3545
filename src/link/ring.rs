//! Memory shared with the kernel, divided into pieces that belong to one side at a time.
//!
//! Each piece has a status word. Whoever finds that the word gives the piece to it may read and write the piece, and
//! gives it back by writing the word. [`RingMemory`] makes that rule the only way in: a slice is handed out only where
//! the word says that the piece is ours, and it borrows the ring, so that the piece cannot be given back while the
//! slice is alive. Tests back it with a plain vector and play the kernel's part themselves.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::sync::{KernelU32, Ordering};

/// Memory that the kernel or a test shares with us.
#[derive(Debug)]
pub(super) struct RingMemory {
    base: NonNull<u8>,
    len: usize,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    /// A mapping, to be unmapped at the end.
    Mapped,
    /// A vector, as 64-bit words for the sake of alignment; kept only to be freed.
    #[cfg(test)]
    Heap(#[expect(dead_code, reason = "kept only to be freed")] Vec<u64>),
}

// SAFETY: the memory belongs to this value alone on our side, wherever the value goes; what the kernel does to it is
// governed by the status words, from any thread.
unsafe impl Send for RingMemory {}

impl RingMemory {
    /// Maps the ring of a socket.
    pub fn map(socket: &impl AsRawFd, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(RingMemory { base, len, backing: Backing::Mapped })
    }

    /// Plain zeroed memory.
    #[cfg(test)]
    pub fn heap(len: usize) -> Self {
        let mut words = vec![0_u64; len.div_ceil(8)];
        let base = NonNull::new(words.as_mut_ptr().cast()).expect("a vector's pointer is never null");
        RingMemory { base, len, backing: Backing::Heap(words) }
    }

    /// The piece `range`, if the status word at `status_at` satisfies `is_ours`.
    ///
    /// # Panics
    /// When word or range lie outside the memory: the ring's geometry is our own, so that would be a bug.
    #[inline]
    pub fn piece(
        &mut self,
        status_at: usize,
        is_ours: impl Fn(u32) -> bool,
        range: Range<usize>,
    ) -> Option<&mut [u8]> {
        assert!(range.start <= range.end && range.end <= self.len, "a piece outside the ring");
        // Acquire: what the kernel wrote before it gave the piece to us is visible after this.
        if !is_ours(self.status(status_at).load(Ordering::Acquire)) {
            return None;
        }
        // SAFETY: the range lies within memory that lives as long as `self`, the status word says that the kernel
        // leaves it alone, and the exclusive borrow of `self` keeps both the word and the piece from being touched
        // through us while the slice lives.
        let piece = unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().wrapping_add(range.start), range.len())
        };
        Some(piece)
    }

    /// Gives a piece to the other side.
    #[inline]
    pub fn give(&mut self, status_at: usize, status: u32) {
        // Release: what we wrote into the piece is visible to whoever sees the word.
        self.status(status_at).store(status, Ordering::Release);
    }

    /// The status word at this place.
    #[inline]
    pub fn status(&self, at: usize) -> &KernelU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.len, "a status word outside the ring");
        // SAFETY: within the memory and aligned (the base is a page or a vector of u64), for as long as `self` lives;
        // both sides access the word atomically only.
        unsafe { KernelU32::from_ptr(self.base.as_ptr().wrapping_add(at).cast()) }
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        if matches!(self.backing, Backing::Mapped) {
            // SAFETY: mapped by `map` with this length, and nothing borrows it any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_only_what_is_ours() {
        let mut ring = RingMemory::heap(64);
        assert!(ring.piece(0, |status| status == 1, 8..16).is_none());
        ring.give(0, 1);
        ring.piece(0, |status| status == 1, 8..16).expect("ours").fill(7);
        assert_eq!(ring.piece(0, |status| status == 1, 8..17).expect("ours"), [7, 7, 7, 7, 7, 7, 7, 7, 0]);
        ring.give(0, 0);
        assert!(ring.piece(0, |status| status == 1, 8..16).is_none());
    }

    #[test]
    #[should_panic(expected = "outside the ring")]
    fn never_leaves_its_memory() {
        let mut ring = RingMemory::heap(64);
        let _ = ring.piece(0, |_| true, 60..65);
    }
}

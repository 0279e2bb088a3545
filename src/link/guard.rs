//! The guard of a sweep's paths: what this host itself can tell, while the sweep runs, of the way to the first hop.
//!
//! A path may break in the middle of a sweep: the link goes down, the source address is taken away, the router fails
//! over to another one or falls silent. Everything sent meanwhile looks like silence of the targets. So each path is
//! vouched for: up to which moment it is known to have been whole, or what is wrong with it.

use std::net::IpAddr;

use super::LinkError;
use super::clock::Tick;

/// What is said of one path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Word {
    /// The path was whole up to this moment. If it was in trouble before, it has been whole again since then at the
    /// latest, and what was sent in between is lost.
    Good(Tick),
    /// The path is broken, from some moment after the last one that was good.
    Bad(Trouble),
    /// One host on the path was in this trouble, which is over, from some moment after this one: what was sent to it
    /// since is lost. Of the path itself this says nothing.
    Host {
        /// The host.
        ip: IpAddr,
        /// The last moment that was good.
        since: Tick,
        /// What was wrong.
        trouble: Trouble,
    },
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The interface is down, has no carrier, or is gone.
    LinkDown,
    /// The address that probes come from is no longer one of this host's.
    SourceGone,
    /// The next hop does not answer when it is asked whether it is there. On a local network: nobody there does.
    NextHopSilent,
    /// The next hop has another hardware address than a moment ago. Probes are sent to the new one already.
    NextHopMoved,
}

/// Vouches for the paths of one sweep, which are numbered as the hops of its routes.
pub trait Guard: Send {
    /// Has a look, which may mean to send a question and to read an answer, and says what is new.
    ///
    /// # Errors
    /// When the guard itself cannot go on.
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError>;
}

impl<G: Guard + ?Sized> Guard for Box<G> {
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError> {
        (**self).look(now, tell)
    }
}

/// A guard where nothing can be told, because the kernel looks after the path by itself: it vouches for everything.
#[derive(Clone, Copy, Debug)]
pub struct NoGuard {
    /// How many paths there are.
    pub paths: usize,
}

impl Guard for NoGuard {
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError> {
        (0..self.paths).for_each(|path| tell(path, Word::Good(now)));
        Ok(())
    }
}

//! Who hears a job while it goes on. The job itself prints nothing.

use std::fmt::Display;
use std::io;

use crate::sweep::report::Observation;
use crate::sweep::run::Observer;
use crate::sweep::verified::Confirmation;

/// Hears what is no result: what is being waited for, and what broke on the way and is no end.
pub trait Aside {
    /// Something begins that may take long.
    fn waiting(&mut self, doing: &str);

    /// It is over, well or not. Comes once after each [`Aside::waiting`], before anything else is said.
    fn waited(&mut self);

    /// Something has gone wrong, and the job goes on without it.
    fn warned(&mut self, what: &dyn Display);
}

/// Hears results as well, from the first probe on.
pub trait Listener: Observer + Aside {
    /// The probing is over, well or not: no observation comes any more. What follows is the second look.
    fn swept(&mut self);

    /// The second look is over. These targets have been observed as open, and have finished a whole handshake or said
    /// what they are since.
    ///
    /// # Errors
    /// When it cannot be passed on; that ends the job.
    fn confirmed(&mut self, news: &[(Observation, Confirmation)]) -> io::Result<()>;
}

/// Does what may take long, and has that said.
pub(super) fn waiting<T>(aside: &mut dyn Aside, doing: &str, work: impl FnOnce() -> T) -> T {
    aside.waiting(doing);
    let result = work();
    aside.waited();
    result
}

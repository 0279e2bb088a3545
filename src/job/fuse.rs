//! The fuse behind a sweep: the one that its scope needs, and the watch over it while the sweep goes on.

use super::engine::Engine;
use super::settle::Settled;
use super::vitals;
use crate::config::options::EngineChoice;
use crate::config::settings::Settings;
use crate::link::fuse::watch::FuseWatch;
use crate::link::fuse::{Fuse, FuseError};
use crate::sweep::cookie::SourcePorts;
use crate::sweep::run::{Ends, Outcome};

/// Why no fuse can stand behind a sweep.
#[derive(Debug, thiserror::Error)]
pub enum BackingError {
    /// The one that is wanted is not there, or it cannot be told.
    #[error(transparent)]
    Fuse(#[from] FuseError),
    /// The kernel's own connections leave from any port.
    #[error(
        "--fuse cannot stand behind the connect engine ({why}), whose connections look like those of any program; use \
         --engine packet, or leave out --fuse"
    )]
    Connect {
        /// Why that engine runs.
        why: String,
    },
    /// What XDP sends never meets the fuse.
    #[error(
        "--fuse cannot stand behind the xdp engine, whose frames go past nftables (its own program in the kernel holds \
         each of them against the scope); use --engine packet, or leave out --fuse"
    )]
    Xdp,
    /// The fuse could not tell probes from connections.
    #[error(
        "the kernel's own port range {first}-{last} leaves no block for probes to be known by; narrow it, such as \
         sysctl net.ipv4.ip_local_port_range=\"32768 60999\""
    )]
    NoPorts {
        /// The first port that the kernel gives to connections.
        first: u16,
        /// The last.
        last: u16,
    },
}

impl BackingError {
    /// Whether all would be well if the fuse of this very sweep were loaded.
    pub fn asks_to_load(&self) -> bool {
        use FuseError::{Foreign, NotLoaded, Uncovered};
        matches!(self, BackingError::Fuse(NotLoaded | Foreign | Uncovered { .. }))
    }
}

/// The fuse of what is to be swept.
///
/// # Errors
/// When the kernel's port range leaves none for probes.
pub fn fuse_of(settled: &Settled) -> Result<Fuse, BackingError> {
    let (first, last) = vitals::local_port_range().unwrap_or((32_768, 60_999));
    let block = SourcePorts::beside(first, last).ok_or(BackingError::NoPorts { first, last })?;
    let scope = &settled.scope;
    let block = (block.first, block.last());
    Ok(Fuse::new(scope.ends(), scope.ports().iter(), block, settled.routes.hops()))
}

/// The fuse behind a sweep, if it was asked for.
#[derive(Debug)]
pub(super) struct Backing(Option<FuseWatch>);

impl Backing {
    /// Makes sure that the fuse of what is to be swept is loaded, if one is wanted.
    ///
    /// # Errors
    /// When it is not, or when it cannot be told.
    pub fn begin(wanted: bool, settings: &Settings, settled: &Settled) -> Result<Self, BackingError> {
        if !wanted {
            return Ok(Backing(None));
        }
        if settings.engine == Some(EngineChoice::Connect) {
            return Err(BackingError::Connect { why: "asked for".to_owned() });
        }
        if settings.engine == Some(EngineChoice::Xdp) {
            return Err(BackingError::Xdp);
        }
        Ok(Backing(Some(FuseWatch::begin(fuse_of(settled)?)?)))
    }

    /// The same engine, whose guard looks after the fuse as well.
    ///
    /// # Errors
    /// When its frames cannot be told from those of other programs.
    pub fn behind(&self, engine: Engine) -> Result<Engine, BackingError> {
        let Some(watch) = &self.0 else { return Ok(engine) };
        let mut vantage = engine.vantage;
        if vantage.engine == "connect" {
            return Err(BackingError::Connect { why: vantage.engine_reason });
        }
        vantage.engine_reason.push_str("; a fuse stands behind it");
        let ends = Ends { guard: Box::new(watch.guard(engine.ends.guard)), ..engine.ends };
        Ok(Engine { ends, vantage, ..engine })
    }

    /// Looks a last time, and says whether nothing was caught. A sweep whose fuse has caught anything is not complete.
    pub fn holds(self, outcome: &mut Outcome) -> bool {
        let Some(Err(failure)) = self.0.map(FuseWatch::finish) else { return true };
        outcome.report.degrade();
        outcome.failure = Some(failure);
        false
    }
}

//! The thread that sends: it is in a call of the kernel nearly all of the time.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::LinkError;
use super::super::clock::Tick;
use super::failed;
use super::programs::{Programs, Runner};
use super::sys::{self, Waking};
use crate::sync::{AtomicBool, Ordering};

/// Frames of one call: more than any lasts for.
const FRAMES: u32 = 1 << 30;

/// How long one call lasts before there is another. To begin one takes the kernel tens of milliseconds. But within one
/// it counts the processor as a reader of its data (RCU), and whoever changes a link or a route on this host waits for
/// its end.
const CALL: Duration = Duration::from_secs(1);

/// The priority of a thread that lets every other go first.
const LAST: i32 = 19;

/// How often a call is interrupted until it has ended.
const INSIST: Duration = Duration::from_millis(1);

/// How often somebody looks whether the program runs, and how many times at most: for ten seconds at least, because
/// the thread lets every other go first.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 10_000;

/// What to do where it never does.
const GIVE_WAY: &str =
    "leave this host a processor to spare, which the xdp engine keeps busy; or use --engine packet";

/// What to do where the kernel refuses.
const REMEDY: &str = "the xdp engine needs Linux 5.18 or newer; or use --engine packet";

/// A thread that sends what stands in the ring, as long as this value lives.
pub(super) struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<io::Error>,
    interface: String,
    /// When the thread was last sent into a new call.
    renewed: Tick,
    /// Given up last, when there is no more thread to wake.
    _waking: Waking,
}

impl Prober {
    /// Starts the thread, and waits until it sends: the kernel takes a while to prepare the call, and a sweep that is
    /// told to begin before would take that while for the network's silence.
    ///
    /// # Errors
    /// When there can be no such thread, or when the kernel does not run the program.
    pub fn start(programs: &Programs, now: Tick) -> Result<Self, LinkError> {
        let name = programs.interface.as_str();
        let runner = programs.share();
        let waking = sys::prepare_to_wake();
        let waking = waking.map_err(|cause| failed("prepare to send", name, cause, REMEDY))?;
        let frame_len = programs.frame_len;
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, ended) = channel();
        let stopping = Arc::clone(&stop);
        let work = move || {
            if let Err(error) = send_all(&runner, frame_len, &stopping) {
                // Nobody is there to hear it only if the sweep has ended.
                let _ = tell.send(error);
            }
        };
        let thread = std::thread::Builder::new().name("prober".into()).spawn(work);
        let thread = thread.map_err(|cause| failed("start a thread to send", name, cause, REMEDY))?;
        let prober = Prober {
            stop,
            thread: Some(thread),
            ended,
            interface: name.to_owned(),
            renewed: now,
            _waking: waking,
        };
        await_beginning(name, &prober.ended, LOOKS, || programs.has_begun())?;
        Ok(prober)
    }

    /// Sends the thread into a new call where it has been in one for long enough. To be called again and again: with
    /// every batch, and while somebody waits. Between the tiles of a sweep, and for a device that gets nothing, nobody
    /// does.
    pub fn renew(&mut self, now: Tick) {
        if now.since(self.renewed) >= CALL
            && let Some(thread) = &self.thread
        {
            self.renewed = now;
            sys::wake(thread);
        }
    }

    /// Says whether the thread still sends.
    ///
    /// # Errors
    /// When the kernel has refused to go on.
    pub fn check(&self) -> Result<(), LinkError> {
        match self.ended.try_recv() {
            Ok(cause) => Err(ended_by(&self.interface, cause)),
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        // A signal that comes just before the call does not interrupt it, so there is another one.
        while !thread.is_finished() {
            sys::wake(&thread);
            std::thread::sleep(INSIST);
        }
        let _ = thread.join();
    }
}

/// Waits until the program has run for the first time, or has ended.
fn await_beginning(
    interface: &str,
    ended: &Receiver<io::Error>,
    looks: u32,
    mut has_begun: impl FnMut() -> Result<bool, LinkError>,
) -> Result<(), LinkError> {
    for _ in 0..looks {
        // That is the pause, too.
        if let Ok(cause) = ended.recv_timeout(LOOK) {
            return Err(ended_by(interface, cause));
        }
        if has_begun()? {
            return Ok(());
        }
    }
    let cause = io::Error::from(io::ErrorKind::TimedOut);
    Err(failed("begin to send probes by XDP", interface, cause, GIVE_WAY))
}

fn ended_by(interface: &str, cause: io::Error) -> LinkError {
    failed("send probes by XDP", interface, cause, REMEDY)
}

fn send_all(runner: &Runner, frame_len: usize, stop: &AtomicBool) -> io::Result<()> {
    // Whoever takes frames from the device must come first, or they pile up there.
    // (On Linux, a thread has a priority of its own.) Where it may not, it sends all the same.
    let _ = rustix::process::setpriority_process(None, LAST);
    runner.enlist()?;
    let frame = vec![0; frame_len];
    while !stop.load(Ordering::Relaxed) {
        runner.send(&frame, FRAMES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_begin_before_the_program_runs() {
        let (tell, ended) = channel();
        let mut looks = 0;
        let has_begun = || {
            looks += 1;
            Ok(looks == 30)
        };
        assert!(await_beginning("wire", &ended, LOOKS, has_begun).is_ok());
        assert_eq!(looks, 30);
        // A refusal of the kernel is told at once, and by its own words.
        tell.send(io::Error::from_raw_os_error(libc::EINVAL)).expect("somebody who hears it");
        let error = await_beginning("wire", &ended, LOOKS, || panic!("it has ended")).expect_err("a refusal");
        assert!(error.to_string().contains("Invalid argument"), "{error}");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_tell, ended) = channel();
        let error =
            await_beginning("wire", &ended, 3, || Ok(false)).expect_err("no patience left").to_string();
        assert!(error.contains("begin to send") && error.contains("a processor to spare"), "{error}");
    }
}

//! The thread that sends: it is in one call of the kernel from its beginning to its end.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::LinkError;
use super::failed;
use super::programs::{Programs, Runner};
use super::sys::{self, Waking};
use crate::sync::{AtomicBool, Ordering};

/// Frames of one call: some ten milliseconds' worth where there is nothing to send. Then there is another, which costs
/// what sending thousands of frames does. Within one call the kernel counts this processor as a reader of its data
/// (RCU): whoever changes a link or a route on this host waits for its end, for seconds where others keep it busy.
const FRAMES: u32 = 1 << 18;

/// The priority of a thread that lets every other go first.
const LAST: i32 = 19;

/// How often a call is interrupted until it has ended.
const INSIST: Duration = Duration::from_millis(1);

/// What to do where the kernel refuses.
const REMEDY: &str = "the xdp engine needs Linux 5.18 or newer; or use --engine packet";

/// A thread that sends what stands in the ring, as long as this value lives.
pub(super) struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<io::Error>,
    interface: String,
    /// Given up last, when there is no more thread to wake.
    _waking: Waking,
}

impl Prober {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no such thread, or when the kernel does not run the program.
    pub fn start(programs: &Programs) -> Result<Self, LinkError> {
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
        Ok(Prober { stop, thread: Some(thread), ended, interface: name.to_owned(), _waking: waking })
    }

    /// Says whether the thread still sends.
    ///
    /// # Errors
    /// When the kernel has refused to go on.
    pub fn check(&self) -> Result<(), LinkError> {
        match self.ended.try_recv() {
            Ok(cause) => Err(failed("send probes by XDP", &self.interface, cause, REMEDY)),
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

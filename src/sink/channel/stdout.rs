//! `stdout`: lines on standard output, for whatever has started us: a pipe, a container, systemd's journal.
//!
//! A line that a pipe takes in one piece is whole or not there. One that was cut off, because its reader took no more
//! in time, is ended by a newline before anything else follows, and told again with the same identifier.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::deadline::Deadline;
use super::form::Form;
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::LineFormat;

/// What a pipe takes in one piece, and without waiting where it says that it takes anything (pipe(7)).
const PIECE: usize = 4096;

/// Standard output.
pub struct Stdout {
    out: Box<dyn AsFd + Send>,
    form: Form,
    timeout: Duration,
    /// Whether the last line has been cut off.
    is_torn: bool,
}

impl Stdout {
    /// Standard output.
    pub fn new(timeout: Duration) -> Self {
        Stdout::to(io::stdout(), timeout)
    }

    /// The same in this format.
    #[must_use]
    pub fn told_in(self, format: LineFormat) -> Self {
        Stdout { form: Form::new(format), ..self }
    }

    /// Anything else in its place.
    fn to(out: impl AsFd + Send + 'static, timeout: Duration) -> Self {
        Stdout { out: Box::new(out), form: Form::default(), timeout, is_torn: false }
    }

    /// Past the buffer of the standard library, which would keep what has failed and tell it some time later.
    fn write(&mut self, line: &[u8], deadline: Deadline) -> io::Result<()> {
        if self.is_torn {
            self.write_piece(b"\n", deadline)?;
        }
        let mut rest = line;
        while let Some(piece) = rest.chunks(PIECE).next() {
            let taken = self.write_piece(piece, deadline)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn write_piece(&mut self, piece: &[u8], deadline: Deadline) -> io::Result<usize> {
        wait(self.out.as_fd(), deadline)?;
        match rustix::io::write(self.out.as_fd(), piece) {
            Ok(taken) => {
                self.is_torn =
                    piece.get(..taken).and_then(<[u8]>::last).map_or(self.is_torn, |end| *end != b'\n');
                Ok(taken)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(0),
            Err(cause) => Err(cause.into()),
        }
    }
}

impl Channel for Stdout {
    fn batch(&self) -> usize {
        256
    }

    fn deliver(&mut self, messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        let deadline = Deadline::after(self.timeout);
        let mut became = Vec::with_capacity(messages.len());
        for message in messages {
            let line = match self.form.line(message) {
                Ok(line) => line,
                Err(never) => {
                    became.push(never);
                    continue;
                }
            };
            match self.write(&line, deadline) {
                Ok(()) => became.push(Delivery::Delivered),
                Err(cause) => {
                    became.push(Delivery::not_now(why(&cause)));
                    break;
                }
            }
        }
        became
    }
}

/// Waits until something can be written.
fn wait(out: BorrowedFd<'_>, deadline: Deadline) -> io::Result<()> {
    let left = Timespec::try_from(deadline.left()?).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&left)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        // A signal is no reason to give up; the deadline is, when it comes.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

fn why(cause: &io::Error) -> String {
    let cause = match cause.kind() {
        io::ErrorKind::BrokenPipe => "whatever read it has ended; start it again".to_owned(),
        io::ErrorKind::TimedOut => "whatever reads it took no more in time".to_owned(),
        _ => cause.to_string(),
    };
    format!("failed to write to standard output: {cause}")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read};
    use std::thread;

    use super::*;
    use crate::sink::channel::samples::{firing, long_event, now};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn each_message_is_a_whole_line() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut stdout = Stdout::to(writer, PATIENCE);
        let messages = [firing(1), long_event(2, 20_000), firing(3)];
        let told = thread::spawn(move || {
            let mut told = String::new();
            reader.read_to_string(&mut told).expect("text");
            told
        });
        assert_eq!(stdout.deliver(&messages, now()), vec![Delivery::Delivered; 3]);
        drop(stdout);
        let told = told.join().expect("a reader");
        let ids: Vec<_> = told.lines().map(|line| id_of(line).expect("an object")).collect();
        assert_eq!(ids, messages.iter().map(|message| message.id().to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_has_left_is_waited_for() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let became = Stdout::to(writer, PATIENCE).deliver(&[firing(1), firing(2)], now());
        let [Delivery::Retry { why, .. }] = &became[..] else { panic!("{became:?}") };
        assert!(why.contains("has ended"), "{why}");
    }

    /// A long line fills the pipe, and what there is of it ends before the next one begins.
    #[test]
    fn a_reader_that_hangs_takes_no_longer_than_the_timeout_and_half_a_line_is_ended() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut stdout = Stdout::to(writer, Duration::from_millis(200));
        let became = stdout.deliver(&[long_event(1, 200_000)], now());
        assert!(
            matches!(&became[..], [Delivery::Retry { why, .. }] if why.contains("in time")),
            "{became:?}"
        );
        let lines = thread::spawn(move || lines_of(reader));
        stdout.timeout = PATIENCE;
        assert_eq!(stdout.deliver(&[firing(2)], now()), [Delivery::Delivered]);
        drop(stdout);
        let lines = lines.join().expect("a reader");
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines.iter().filter_map(|line| id_of(line)).collect::<Vec<_>>(),
            [firing(2).id().to_string()]
        );
    }

    #[test]
    fn a_full_device_is_an_error_that_says_so() {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let became = Stdout::to(full, PATIENCE).deliver(&[firing(1)], now());
        assert!(
            matches!(&became[..], [Delivery::Retry { why, .. }] if why.contains("No space")),
            "{became:?}"
        );
    }

    fn lines_of(mut reader: PipeReader) -> Vec<String> {
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("text");
        assert!(told.ends_with('\n'));
        told.lines().map(str::to_owned).collect()
    }

    fn id_of(line: &str) -> Option<String> {
        serde_json::from_str::<serde_json::Value>(line).ok()?["id"].as_str().map(str::to_owned)
    }
}

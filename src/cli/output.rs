//! Outputs: standard output or a file, with colours where somebody can see them.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice, StripStream};
use anstyle::{AnsiColor, Style};

use super::{Failure, Status, sys};
use crate::target::foreign::{Harmless, harmless, is_printable};

/// Where results are to go, looked at before anything is sent and opened when there is something to write.
#[derive(Debug)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file; what an earlier run wrote there goes only when there is something to put in its place.
    File(PathBuf),
    /// A FIFO that somebody reads. It is opened once and kept: its reader takes a writer that leaves for the end.
    Fifo(PathBuf, File),
}

impl Place {
    /// Looks at the place, and leaves it as it is. Waits until somebody reads a FIFO, or until `stop` says so.
    ///
    /// # Errors
    /// When nothing could be written there, or when it is one of the run's own inputs, by whatever name.
    pub fn find(path: Option<&Path>, inputs: &[&Path], stop: &dyn Fn() -> bool) -> Result<Self, Failure> {
        let Some(path) = path else { return stdout().map(|_| Place::Stdout) };
        let kind = path.metadata().map(|found| found.file_type());
        if kind.as_ref().is_ok_and(FileTypeExt::is_fifo) {
            return Ok(Place::Fifo(path.to_path_buf(), open_fifo(path, stop)?));
        }
        if let Some(input) = inputs.iter().find(|input| is_same_file(path, input)) {
            let (path, input) = (shown(path), shown(input));
            return Err(format!("--output {path} is {input} itself; choose another file").into());
        }
        // Devices are told by writing to them: to open one can do something by itself, or take for ever.
        if kind.is_err() || kind.is_ok_and(|kind| kind.is_file() || kind.is_dir()) {
            let opened = File::options().append(true).create(true).open(path);
            opened.map_err(|cause| unwritable(&shown(path), &cause))?;
        }
        Ok(Place::File(path.to_path_buf()))
    }

    /// The file that it is, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Place::File(path) => Some(path),
            Place::Stdout | Place::Fifo(..) => None,
        }
    }

    /// Opens the place for machines: unbuffered, because whole lines are gathered before they get here. Where a file
    /// takes no more, its last line is a whole one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn raw(self) -> Result<Box<dyn Write>, Failure> {
        Ok(match self {
            Place::Stdout => raw_stdout()?,
            Place::File(_) | Place::Fifo(..) => {
                let Named { name, out } = self.open()?;
                Box::new(Named { name, out: WholeLines::new(out) })
            }
        })
    }

    /// Opens the place for people.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn styled(self) -> Result<Box<dyn Write>, Failure> {
        Ok(match self {
            Place::Stdout => styled_stdout()?,
            Place::File(_) | Place::Fifo(..) => {
                // The colours are stripped inside of the name: the stripping stream takes files only.
                let Named { name, out } = self.open()?;
                Box::new(io::BufWriter::new(Named { name, out: StripStream::new(out) }))
            }
        })
    }

    fn open(self) -> Result<Named<File>, Failure> {
        match self {
            Place::Fifo(path, out) => Ok(Named { name: shown(&path), out }),
            Place::File(path) => match File::create(&path) {
                Ok(out) => Ok(Named { name: shown(&path), out }),
                Err(cause) => Err(unwritable(&shown(&path), &cause).into()),
            },
            Place::Stdout => Err("standard output is no file".into()),
        }
    }
}

/// Standard output for machines.
///
/// # Errors
/// When there is none, as for the next.
pub fn raw_stdout() -> Result<Box<dyn Write>, Failure> {
    Ok(Box::new(Named { name: STDOUT.to_owned(), out: stdout()? }))
}

/// Standard output for people.
pub fn styled_stdout() -> Result<Box<dyn Write>, Failure> {
    Ok(Box::new(Named { name: STDOUT.to_owned(), out: AutoStream::auto(stdout()?) }))
}

fn stdout() -> Result<io::Stdout, Failure> {
    if sys::stdout_was_closed() {
        return Err(
            "standard output is closed, and the results would be lost; open it (such as >FILE)".into()
        );
    }
    Ok(io::stdout())
}

/// Whether two paths lead to one file: hard links do, and have nothing else in common.
fn is_same_file(one: &Path, other: &Path) -> bool {
    // A device is not lost by being written to.
    let file = |path: &Path| path.metadata().ok().filter(Metadata::is_file);
    matches!((file(one), file(other)), (Some(a), Some(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Between two looks whether somebody reads a FIFO by now.
const FIFO_NAP: Duration = Duration::from_millis(20);

/// Opens a FIFO for writing. The usual way sleeps in the kernel until a reader comes, and no signal that we handle ends
/// that; so it is opened without waiting, again and again.
fn open_fifo(path: &Path, stop: &dyn Fn() -> bool) -> Result<File, Failure> {
    loop {
        let opened = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        match opened {
            Ok(fifo) => return waiting(fifo).map_err(|cause| unwritable(&shown(path), &cause).into()),
            Err(cause) if cause.raw_os_error() == Some(libc::ENXIO) => {}
            Err(cause) => return Err(unwritable(&shown(path), &cause).into()),
        }
        if stop() {
            let path = shown(path);
            return Err(format!(
                "interrupted before anybody read {path}, a FIFO; nothing was sent. Start its reader first"
            )
            .into());
        }
        thread::sleep(FIFO_NAP);
    }
}

/// The same file, whose writers wait while it is full. The flag is the same for sockets and for all else, and only for
/// sockets has the standard library a name for it.
fn waiting(file: File) -> io::Result<File> {
    let stream = UnixStream::from(OwnedFd::from(file));
    stream.set_nonblocking(false)?;
    Ok(File::from(OwnedFd::from(stream)))
}

/// Standard error, for words about the run that are no results. Where nobody can be told, nobody is: that is no reason
/// to end a sweep.
pub fn aside() -> impl Write {
    Aside(AutoStream::auto(io::stderr()))
}

struct Aside<W>(W);

impl<W: Write> Write for Aside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Whether a person sees standard error.
pub fn aside_is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Whether what goes to standard error may have colours, for what writes there by itself.
pub fn aside_is_coloured() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Whether a person sees standard output.
pub fn is_seen() -> bool {
    io::stdout().is_terminal()
}

/// As [`unless_left`], where it is known what the command comes to, whether anybody reads that or not.
pub fn told(result: Result<(), Failure>, status: Status) -> Result<Status, Failure> {
    unless_left(result.map(|()| status)).map(|_| status)
}

/// What a listing comes to: a reader that leaves, as `head` does, has read enough.
pub fn unless_left(result: Result<Status, Failure>) -> Result<Status, Failure> {
    result.or_else(|failure| match failure.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe) => Ok(Status::Clean),
        _ => Err(failure),
    })
}

/// Says what is wrong with the command line, which may have been put together from anything.
pub fn refuse(error: &clap::Error) {
    let is_fit = |arg: OsString| is_printable(&arg.to_string_lossy());
    if !error.use_stderr() || std::env::args_os().all(is_fit) {
        let _ = error.print();
        return;
    }
    let told = error.render().to_string();
    let _ = told.lines().try_for_each(|line| writeln!(aside(), "{}", Harmless(line)));
}

/// Says what went wrong. If even that cannot be said, the exit status has to do.
pub fn complain(error: &dyn Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // What others wrote has been spelt out where it came in. Should anything have been missed, it ends here.
    let told: Vec<String> = error.to_string().lines().map(|line| harmless(line).into_owned()).collect();
    let _ = writeln!(aside(), "{style}error:{style:#} {}", told.join("\n"));
}

/// Says what is no mistake, and better known.
pub fn note(what: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    let _ = writeln!(aside(), "{style}note:{style:#} {}", harmless(what));
}

/// The name of a file, which whoever made it has chosen.
pub fn shown(path: &Path) -> String {
    harmless(&path.display().to_string()).into_owned()
}

fn unwritable(name: &str, cause: &io::Error) -> String {
    let remedy = match cause.kind() {
        io::ErrorKind::StorageFull => "make room there, or choose another --output file",
        io::ErrorKind::BrokenPipe => "whatever read it ended too early",
        _ => "choose another --output file",
    };
    format!("cannot write to {name}: {cause}; {remedy}")
}

/// What standard output is called in messages.
const STDOUT: &str = "standard output";

/// An output whose errors say which one it is: "no space left" alone helps nobody.
struct Named<W> {
    name: String,
    out: W,
}

impl<W> Named<W> {
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|cause| match cause.kind() {
            // Whoever writes tries again by itself, and must recognise this one.
            io::ErrorKind::Interrupted => cause,
            kind => io::Error::new(kind, unwritable(&self.name, &cause)),
        })
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.told(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.told(result)
    }
}

/// A file that takes lines. When it takes no more, what it has of a line that did not fit goes again: half a line is
/// what no reader of JSON Lines expects.
struct WholeLines {
    file: File,
    /// What has been written, and how much of that are whole lines.
    written: u64,
    whole: u64,
    /// Whether it has failed. Whatever comes later would stand behind a hole.
    is_over: bool,
}

impl WholeLines {
    fn new(file: File) -> Self {
        WholeLines { file, written: 0, whole: 0, is_over: false }
    }

    fn cut(&mut self) {
        self.is_over = true;
        // What is no file of its own, such as a FIFO, keeps what it has got. If the cut fails, the error that led here
        // is told all the same.
        if self.whole < self.written && self.file.metadata().is_ok_and(|found| found.is_file()) {
            let _ = self.file.set_len(self.whole);
        }
    }
}

impl Write for WholeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over {
            return Err(io::Error::other("it has failed before"));
        }
        match self.file.write(bytes) {
            Ok(taken) => {
                let last = bytes[..taken].iter().rposition(|byte| *byte == b'\n');
                self.whole = last.map_or(self.whole, |at| self.written + at as u64 + 1);
                self.written += taken as u64;
                Ok(taken)
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Err(cause),
            Err(cause) => {
                self.cut();
                Err(cause)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

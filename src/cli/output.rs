//! Outputs: standard output or a file, with colours where somebody can see them.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anstream::{AutoStream, StripStream};
use anstyle::{AnsiColor, Style};

use super::Failure;

/// Opens the output for machines: unbuffered, because whole lines are gathered before they get here.
///
/// # Errors
/// When the file cannot be written.
pub fn raw(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(Named { name: STDOUT.to_owned(), out: io::stdout() }),
        Some(path) => Box::new(create(path)?),
    })
}

/// Opens the output for people.
///
/// # Errors
/// When the file cannot be written.
pub fn styled(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(Named { name: STDOUT.to_owned(), out: AutoStream::auto(io::stdout()) }),
        Some(path) => Box::new(styled_file(path)?),
    })
}

/// Refuses an output that could not be written, or that is one of the run's own inputs, and leaves it as it is: what
/// an earlier run wrote there goes only when there is something to put in its place.
///
/// # Errors
/// See above.
pub fn refuse_unfit(path: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    let same =
        |input: &&&Path| matches!((path.canonicalize(), input.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(input) = inputs.iter().find(same) {
        return Err(format!(
            "--output {} is {} itself; choose another file",
            path.display(),
            input.display()
        )
        .into());
    }
    let opened = File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|cause| unwritable(&path.display().to_string(), &cause).into())
}

/// Standard error, for words about the run that are no results.
pub fn aside() -> impl Write {
    AutoStream::auto(io::stderr())
}

/// Whether a person sees standard error.
pub fn aside_is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person sees standard output.
pub fn is_seen() -> bool {
    io::stdout().is_terminal()
}

/// Says what went wrong. If even that cannot be said, the exit status has to do.
pub fn complain(error: &dyn Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(aside(), "{style}error:{style:#} {error}");
}

fn create(path: &Path) -> Result<Named<File>, Failure> {
    let name = path.display().to_string();
    match File::create(path) {
        Ok(out) => Ok(Named { name, out }),
        Err(cause) => Err(unwritable(&name, &cause).into()),
    }
}

/// The colours are stripped inside of the name: the stripping stream takes files only.
fn styled_file(path: &Path) -> Result<io::BufWriter<Named<StripStream<File>>>, Failure> {
    let Named { name, out } = create(path)?;
    Ok(io::BufWriter::new(Named { name, out: StripStream::new(out) }))
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

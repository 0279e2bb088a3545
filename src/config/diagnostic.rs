//! What is wrong with a file, and exactly where.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::inventory::ValueMistake;
use crate::target::foreign::{Harmless, harmless, printable};

/// One mistake in a file: `file:line:column: message; help`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, line, column, message, help } = self;
        let (file, message, help) = (shown(file), Harmless(message), Harmless(help));
        write!(f, "{file}:{line}:{column}: {message}; {help}")
    }
}

/// Why a file is of no use.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read at all.
    #[error("cannot read {}: {cause}; {}", shown(path), advice(cause))]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It has more bytes than any such file should.
    #[error(
        "{} has more than {} MiB; split it, or name networks in place of single addresses",
        shown(path),
        MOST_BYTES >> 20
    )]
    TooLarge {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// Two things were to come from standard input.
    #[error("standard input can be read once only; put the second list into a file, and name it as @FILE")]
    StdinTwice,
    /// It can be read, and has mistakes: all of them, in the order of the file.
    #[error("{}", lines(.0))]
    Invalid(Vec<Diagnostic>),
    /// It is an inventory of which some values are no targets: all of them, in the order of the file.
    #[error("{}", value_lines(path, mistakes))]
    Values {
        /// The file, as it was named.
        path: PathBuf,
        /// What is wrong, and where.
        mistakes: Vec<ValueMistake>,
    },
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "check the path; a relative one begins at the current directory",
        io::ErrorKind::PermissionDenied => "let this user read the file and search its directories",
        io::ErrorKind::IsADirectory => "name the file in that directory",
        _ => "check that it is a file that this user may read",
    }
}

/// The longest file that is read, and the longest standard input.
pub const MOST_BYTES: u64 = 64 << 20;

/// Mistakes that are told; a file with more of them is most likely of another kind altogether.
pub(super) const MOST_MISTAKES: usize = 100;

fn lines(diagnostics: &[Diagnostic]) -> String {
    joined(diagnostics.iter().map(ToString::to_string))
}

fn value_lines(path: &Path, mistakes: &[ValueMistake]) -> String {
    joined(mistakes.iter().map(|mistake| format!("{}: {mistake}", shown(path))))
}

fn joined(told: impl ExactSizeIterator<Item = String>) -> String {
    let more = told.len().saturating_sub(MOST_MISTAKES);
    let mut lines: Vec<String> = told.take(MOST_MISTAKES).collect();
    if more > 0 {
        lines.push(format!("and {more} more mistakes"));
    }
    lines.join("\n")
}

/// The text of a file, and where its lines begin.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// A text that stands, or might stand, in this file.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        // Editors do not count a byte order mark as a column, so the first line begins behind it.
        let begin = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let behind_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(begin).chain(behind_newlines).collect();
        Source { file: file.into(), text, line_starts }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is too long, or is not UTF-8; the last with the place of the first byte that is not.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file =
            File::open(path).map_err(|cause| ConfigError::Unreadable { path: path.to_path_buf(), cause })?;
        Source::read_from(path, file)
    }

    /// Reads what is called `path` to its end.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_from(path: &Path, input: impl Read) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        input
            .take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_path_buf(), cause })?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_path_buf() });
        }
        String::from_utf8(bytes).map(|text| Source::new(path, text)).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let source = Source::new(path, String::from_utf8_lossy(&error.as_bytes()[..valid]));
            let help = "save the file as UTF-8";
            ConfigError::Invalid(vec![source.diagnostic(valid, "this byte is not UTF-8", help)])
        })
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and the column, both from 1, of the character at this byte.
    pub fn position(&self, byte: usize) -> (u32, u32) {
        let line = self.line_starts.partition_point(|start| *start <= byte).max(1);
        let start = self.line_starts[line - 1];
        let before = self.text.get(start..byte.min(self.text.len())).unwrap_or("");
        (saturate(line), saturate(before.chars().count() + 1))
    }

    /// A mistake at this byte.
    pub fn diagnostic(&self, byte: usize, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        let (line, column) = self.position(byte);
        let (message, help) = (cut(&message.into()), cut(&help.into()));
        Diagnostic { file: self.file.clone(), line, column, message, help }
    }
}

/// The longest value that is repeated as it stands: a host name.
const LONGEST_VALUE: usize = 254;

/// A message in which values stand between backticks, without the better part of a value that fills the screen.
fn cut(message: &str) -> String {
    let part = |part: &str| match part.char_indices().nth(LONGEST_VALUE) {
        Some(_) => printable(part).into_owned(),
        None => part.to_owned(),
    };
    message.split('`').map(part).collect::<Vec<_>>().join("`")
}

/// The name of a file, which whoever made it has chosen.
pub(super) fn shown(path: &Path) -> String {
    harmless(&path.display().to_string()).into_owned()
}

const BYTE_ORDER_MARK: char = '\u{feff}';

fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let source = Source::new("a.toml", "ä = 1\nb = 2\n");
        for (byte, position) in
            [(0, (1, 1)), (2, (1, 2)), (6, (1, 6)), (7, (2, 1)), (12, (2, 6)), (13, (3, 1))]
        {
            assert_eq!(source.position(byte), position, "byte {byte}");
        }
        assert_eq!(Source::new("a.toml", "\u{feff}b").position(3), (1, 1), "a byte order mark is no column");
        assert_eq!(Source::new("a.toml", "").position(99), (1, 1), "behind the end is the end");
    }

    #[test]
    fn says_where_a_file_stops_being_utf8() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.toml");
        std::fs::write(&path, b"# \xc3\xa4\nx = \"\xff\"").expect("a file");
        let error = Source::read(&path).expect_err("not UTF-8").to_string();
        assert_eq!(error, format!("{}:2:6: this byte is not UTF-8; save the file as UTF-8", path.display()));
    }

    #[test]
    fn reads_no_more_than_a_file_should_have() {
        let read = |bytes| Source::read_from(Path::new("a.txt"), io::repeat(b' ').take(bytes));
        assert_eq!(read(MOST_BYTES).expect("just fits").text().len() as u64, MOST_BYTES);
        let error = read(MOST_BYTES + 1).expect_err("too long").to_string();
        assert_eq!(
            error,
            "a.txt has more than 64 MiB; split it, or name networks in place of single addresses"
        );
    }

    #[test]
    fn nothing_that_a_file_says_works_on_the_terminal() {
        let source = Source::new("a\x1b[2J.toml", "");
        let told = source.diagnostic(0, "`\x1b]0;x\x07\u{202e}` is odd", "write `\u{2800}`\n").to_string();
        assert_eq!(told, "a\\x1b[2J.toml:1:1: `\\x1b]0;x\\x07\\u{202e}` is odd; write `\\u{2800}`\\n");
        let missing = Source::read(Path::new("none\x1b[2J\n")).expect_err("missing").to_string();
        assert!(missing.starts_with("cannot read none\\x1b[2J\\n: "), "{missing}");
    }

    #[test]
    fn a_long_value_is_cut_and_our_own_words_are_not() {
        let source = Source::new("a.toml", "");
        let told = |value: &str| source.diagnostic(0, format!("`{value}` is odd"), "mend it").message;
        assert_eq!(told(&"x".repeat(254)), format!("`{}` is odd", "x".repeat(254)));
        assert_eq!(told(&"x".repeat(255)), format!("`{}...` is odd", "x".repeat(100)));
    }

    #[test]
    fn a_file_of_nothing_but_mistakes_does_not_flood_the_terminal() {
        let source = Source::new("a.txt", "");
        let told = ConfigError::Invalid(vec![source.diagnostic(0, "odd", "mend it"); 250]).to_string();
        assert_eq!(told.lines().count(), 101);
        assert!(told.ends_with("\nand 150 more mistakes"), "{told}");
    }

    #[test]
    fn says_what_to_do_about_a_file_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("none.toml");
        let error = Source::read(&missing).expect_err("missing").to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", missing.display())), "{error}");
        assert!(
            error.ends_with("; check the path; a relative one begins at the current directory"),
            "{error}"
        );
        let error = Source::read(directory.path()).expect_err("a directory").to_string();
        assert!(error.ends_with("; name the file in that directory"), "{error}");
    }
}

//! Files of targets and files of excludes: one or more a line, with blanks or commas between them.
//!
//! `#` begins a comment wherever it stands. Nothing is passed over in silence: what is no target is a mistake with its
//! line and column, and all mistakes of a file are told at once.

use super::diagnostic::{ConfigError, Diagnostic, MOST_MISTAKES, Source};
use super::options::{ExcludeError, parse_exclude};
use crate::target::address::AddressRange;
use crate::target::foreign::{is_printable, printable};
use crate::target::written::{HostName, Written};

/// What targets come down to before names are looked up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// Addresses, networks and ranges, in the order of the file.
    pub ranges: Vec<AddressRange>,
    /// Hosts, in the order of the file.
    pub names: Vec<HostName>,
}

impl Listed {
    /// Adds one.
    pub fn push(&mut self, written: Written) {
        match written {
            Written::Addresses(range) => self.ranges.push(range),
            Written::Name(name) => self.names.push(name),
        }
    }

    /// How many were listed.
    pub fn len(&self) -> usize {
        self.ranges.len() + self.names.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.names.is_empty()
    }
}

/// Reads a file of targets.
///
/// # Errors
/// When anything in it is no target, or when it names none.
pub fn parse_targets(source: &Source) -> Result<Listed, ConfigError> {
    let mut listed = Listed::default();
    let mut mistakes = read_words(source, |word| word.parse().map(|written| listed.push(written)));
    if listed.is_empty() && mistakes.is_empty() {
        let help = "write targets such as 198.18.0.7, 198.18.0.0/16 or db.example.net, one a line";
        mistakes.push(source.diagnostic(0, "no target is named here", help));
    }
    if mistakes.is_empty() { Ok(listed) } else { Err(ConfigError::Invalid(mistakes)) }
}

/// Reads a file of excludes, which may be empty.
///
/// # Errors
/// When anything in it is no address, network or range. Names are none: one that moves to another address would quietly
/// give the old one up to the sweep.
pub fn parse_excludes(source: &Source) -> Result<Vec<AddressRange>, ConfigError> {
    let mut ranges = Vec::new();
    let mistakes = read_words(source, |word| {
        ranges.push(parse_exclude(word)?);
        Ok::<(), ExcludeError>(())
    });
    if mistakes.is_empty() { Ok(ranges) } else { Err(ConfigError::Invalid(mistakes)) }
}

/// Hands each word to `read`; what it objects to becomes a mistake at the word's place.
fn read_words<E: ToString>(source: &Source, mut read: impl FnMut(&str) -> Result<(), E>) -> Vec<Diagnostic> {
    let text = source.text();
    let mut mistakes = Vec::new();
    let begin = text.len() - text.trim_start_matches('\u{feff}').len();
    for line in text.get(begin..).unwrap_or("").split('\n') {
        let said = line.split('#').next().unwrap_or(line);
        for word in said.split(|letter: char| letter.is_whitespace() || letter == ',') {
            if word.is_empty() {
                continue;
            }
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            let outcome = refuse_unfit(word).and_then(|()| read(word).map_err(|error| error.to_string()));
            if let Err(error) = outcome {
                let (message, help) = error.split_once("; ").unwrap_or((&error, "mend it or take it out"));
                // The rest is counted and not told, so nobody asks where it is; in a file of one line, that takes long.
                let at = if mistakes.len() < MOST_MISTAKES { at } else { begin };
                mistakes.push(source.diagnostic(at, message, help));
                if mistakes.len() == MOST_COUNTED {
                    return mistakes;
                }
            }
        }
    }
    mistakes
}

/// Refuses a word that no target can be, so that no message repeats what a terminal would obey.
pub(super) fn refuse_unfit(word: &str) -> Result<(), String> {
    if word.len() <= LONGEST_WORD && is_printable(word) {
        return Ok(());
    }
    let shown = printable(word);
    Err(format!("`{shown}` is no target; write addresses, networks, ranges or host names"))
}

/// Mistakes after which a file is taken for something else, and read no further.
const MOST_COUNTED: usize = 10_000;

/// Host names are the longest that can be written.
const LONGEST_WORD: usize = 254;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(text: &str) -> Result<Vec<String>, String> {
        let listed = parse_targets(&Source::new("fleet.txt", text)).map_err(|error| error.to_string())?;
        let ranges = listed.ranges.iter().map(ToString::to_string);
        Ok(ranges.chain(listed.names.iter().map(ToString::to_string)).collect())
    }

    fn excludes(text: &str) -> Result<Vec<AddressRange>, String> {
        parse_excludes(&Source::new("out.txt", text)).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_editors_and_spreadsheets_save() {
        let text = "\u{feff}198.18.0.7  \r\n# the fleet\r\n\r\n198.18.1.0/24,198.18.0.10-20\t2001:db8::1 # six\r\n\
                    DB.example.net#no blank\r\n ,, ";
        let expected =
            ["198.18.0.7", "198.18.1.0/24", "198.18.0.10-198.18.0.20", "2001:db8::1", "db.example.net"];
        assert_eq!(targets(text).expect("a file"), expected);
        assert_eq!(targets("198.18.0.7").expect("no newline at the end"), ["198.18.0.7"]);
    }

    #[test]
    fn a_file_of_something_else_in_one_long_line_is_refused_soon() {
        let told = targets(&"{\"a\":1},".repeat(1 << 19)).expect_err("no targets");
        assert_eq!(told.lines().count(), 101);
        assert!(told.ends_with("and 9900 more mistakes"), "{}", &told[told.len() - 40..]);
    }

    #[test]
    fn tells_every_mistake_where_it_is() {
        let told = targets("198.18.0.0/33\n\n\u{e4} x, 198.18.0.300\n198.18.0.8\na\x1b[2Jb 10.0.0.1/8")
            .expect_err("mistakes");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{told}");
        for (line, begins) in lines.iter().zip([
            "fleet.txt:1:1: `198.18.0.0/33` has no prefix length",
            "fleet.txt:3:1: `\u{e4}` is no address and no host name",
            "fleet.txt:3:6: `198.18.0.300` is no address",
            "fleet.txt:5:1: `a\\x1b[2Jb` is no target",
            "fleet.txt:5:8: `10.0.0.1/8` has host bits set",
        ]) {
            assert!(line.starts_with(begins), "{line}");
        }
        let long = targets(&"a".repeat(1 << 20)).expect_err("no name is so long");
        assert!(long.len() < 300, "{}", long.len());
    }

    #[test]
    fn an_empty_file_names_no_target_and_excludes_nothing() {
        for text in ["", "\u{feff}", "# all gone\n", " \r\n,"] {
            let told = targets(text).expect_err("empty");
            assert!(told.starts_with("fleet.txt:1:1: no target is named here; write"), "{told}");
            assert_eq!(excludes(text), Ok(Vec::new()));
        }
    }

    #[test]
    fn nothing_is_excluded_by_name() {
        assert_eq!(excludes("198.18.0.1-2\n198.18.1.0/24").expect("ranges").len(), 2);
        let told = excludes("198.18.0.1\n  db.example.net 198.18.0.0/40").expect_err("a name");
        let (first, second) = told.split_once('\n').expect("two mistakes");
        assert_eq!(
            first,
            "out.txt:2:3: `db.example.net` is no address, network or range, and nothing is excluded by name; write its \
             addresses, because a name can move and would uncover what it was to protect"
        );
        assert!(second.starts_with("out.txt:2:18: `198.18.0.0/40` has no prefix length"), "{second}");
    }

    proptest! {
        /// Every word is either read or told.
        #[test]
        fn nothing_is_passed_over(words in prop::collection::vec("[a-z0-9./:-]{1,12}", 1..12), comma: bool) {
            let text = words.join(if comma { "," } else { "\n" });
            let good = words.iter().filter(|word| word.parse::<Written>().is_ok()).count();
            match parse_targets(&Source::new("fleet.txt", text)) {
                Ok(listed) => prop_assert_eq!(listed.len(), words.len()),
                Err(ConfigError::Invalid(mistakes)) => prop_assert_eq!(mistakes.len(), words.len() - good),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

//! What a daemon keeps: where that is, and the ways to open it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::super::{Failure, output};
use crate::config::file::Config;
use crate::store::error::StoreError;
use crate::store::{Reader, Store};
use crate::target::foreign::harmless;
use crate::watch::standing::Standing;

// Whose database is meant. No doc comment: clap would take it for the command's own.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Kept {
    /// The configuration that the daemon runs with: its database is meant
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The database itself; who is told of what, and maintenance windows, are then not known
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,
}

/// How a command says what it has to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// For machines: one JSON event a line
    Jsonl,
}

// How it is told, by every command. No doc comment: clap would take it for the command's own.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Told {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

impl Told {
    /// Whether machines are to read it.
    pub fn to_machines(self) -> bool {
        self.format == Form::Jsonl
    }
}

/// A place that is known.
#[derive(Debug)]
pub struct Found {
    /// The database.
    pub path: PathBuf,
    /// What the configuration says of alerts, where there is one.
    pub standing: Option<Standing>,
}

impl Kept {
    /// Finds out which database is meant.
    pub fn find(&self) -> Result<Found, Failure> {
        if let Some(path) = &self.database {
            return Ok(Found { path: path.clone(), standing: None });
        }
        let Some(file) = &self.config else { return Err("name --config FILE or --database PATH".into()) };
        let config = Config::load(file)?;
        Ok(Found { path: config.store.path.clone(), standing: Some(Standing::of(&config)) })
    }
}

impl Found {
    /// Opens it for reading.
    pub fn read(&self) -> Result<Reader, Failure> {
        Store::open_reader(&self.path).map_err(|error| self.explained(error))
    }

    /// Opens it for writing. One that is not there is not made, and one with an earlier schema not brought up to date:
    /// both are for the daemon to do.
    pub fn write(&self) -> Result<Store, Failure> {
        let opened = Store::open_reader(&self.path).and_then(|_| Store::open(&self.path));
        opened.map_err(|error| self.explained(error))
    }

    /// What to do, where that depends on how the database was named and on who asks.
    pub fn explained(&self, error: StoreError) -> Failure {
        match error {
            StoreError::Missing { file } if self.standing.is_some() => {
                format!("there is no database {file}; has `portreeve watch` run with this configuration?")
                    .into()
            }
            StoreError::Missing { file } => format!(
                "there is no database {file}; name the one that `portreeve watch` keeps, or use --config FILE"
            )
            .into(),
            StoreError::Denied { .. } | StoreError::ReadOnly { .. } => match foreign_owner(&self.path) {
                Some(owner) => {
                    format!("{error}; it belongs to {owner}, as whom the daemon runs: run this as that user")
                        .into()
                }
                None => error.into(),
            },
            error => error.into(),
        }
    }

    /// The name of the database, for people.
    pub fn shown(&self) -> String {
        output::shown(&self.path)
    }
}

/// Who owns the database, or as much of the way to it as can be seen; `None` where that is who runs this program.
fn foreign_owner(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let owner = path.ancestors().find_map(|path| fs::metadata(path).ok())?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return None;
    }
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_of(owner, &known);
    Some(name.map_or_else(|| format!("user {owner}"), |name| format!("user {}", harmless(&name))))
}

/// What a user is called, by the system's own list of them.
fn name_of(uid: u32, list: &str) -> Option<String> {
    let uid = uid.to_string();
    let mut entries = list.lines().map(|line| line.split(':'));
    entries.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// Who gives an order: as said, or as whoever started this program is called.
pub fn who(said: Option<&str>) -> Result<String, Failure> {
    let called = || {
        let mut names = ["SUDO_USER", "USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
        names.find(|name| !name.trim().is_empty())
    };
    match said.map(str::to_owned).or_else(called) {
        Some(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        _ => Err("nobody says who gives this order; add --who NAME, which is kept with it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_the_names_that_the_system_gives_them() {
        let list =
            "root:x:0:0:root:/root:/bin/sh\n\nbroken\nportreeve:x:998:997::/nonexistent:/usr/sbin/nologin\n";
        for (uid, name) in [(0, Some("root")), (998, Some("portreeve")), (997, None), (9, None)] {
            assert_eq!(name_of(uid, list).as_deref(), name, "{uid}");
        }
    }

    #[test]
    fn whoever_is_named_gives_the_order() {
        assert_eq!(who(Some(" kim ")).expect("a name"), "kim");
        assert!(who(Some(" ")).expect_err("no name").to_string().contains("add --who NAME"));
    }
}

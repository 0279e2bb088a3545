//! Completions and the manual pages, both made from the command line's own grammar; and the schema of the events.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Failure, Status, output};
use crate::sink::event::JSON_SCHEMA;

/// Prints completions.
pub fn completions(shell: Shell) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portreeve", &mut script);
    output::raw_stdout()?.write_all(&script)?;
    Ok(Status::Clean)
}

/// Prints the JSON Schema of the events.
pub fn schema() -> Result<Status, Failure> {
    output::raw_stdout()?.write_all(JSON_SCHEMA.as_bytes())?;
    Ok(Status::Clean)
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory instead
    ///
    /// The directory is made if it is not there. For packages, and for a MANPATH of your own.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The manual: on standard output as one page, or in a directory as a page for each command.
pub fn man(args: &ManArgs) -> Result<Status, Failure> {
    // A page about `help` would say less than `portreeve help` does.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.out {
        Some(directory) => {
            let failed =
                |cause| format!("failed to write manual pages into {}: {cause}", output::shown(directory));
            fs::create_dir_all(directory).and_then(|()| write_pages(&command, directory)).map_err(failed)?;
        }
        None => output::raw_stdout()?.write_all(&whole_manual(&command)?)?,
    }
    Ok(Status::Clean)
}

/// Writes the page of this command, which names those of the commands under it, and theirs.
fn write_pages(command: &Command, directory: &Path) -> std::io::Result<()> {
    titled(command).generate_to(directory)?;
    command.get_subcommands().try_for_each(|nested| write_pages(nested, directory))
}

/// The page of a command, of which every part of the title is said: an empty one would be taken for the next. The same
/// version gives the same page on every day, so the date is a blank.
fn titled(command: &Command) -> Man {
    let source = concat!("portreeve ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).date(" ").source(source).manual("User Commands")
}

/// The program's own page, then one section after the other for its commands.
fn whole_manual(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let whole = titled(command);
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    // Not the section of commands, which names a page for each: all of them are on this one.
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    for first in command.get_subcommands() {
        let name = format!("portreeve {}", first.get_name());
        write_section(&mut page, first, &name)?;
        for second in first.get_subcommands() {
            write_section(&mut page, second, &format!("{name} {}", second.get_name()))?;
        }
    }
    Ok(page)
}

/// What the whole manual says of one command.
fn write_section(page: &mut Vec<u8>, command: &Command, name: &str) -> std::io::Result<()> {
    writeln!(page, ".SH {}", name.to_uppercase())?;
    let part = Man::new(command.clone().bin_name(name));
    part.render_synopsis_section(page)?;
    part.render_description_section(page)?;
    part.render_options_section(page)
}

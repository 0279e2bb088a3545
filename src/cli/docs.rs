//! Completions and the manual page, both made from the command line's own grammar; and the schema of the events.

use std::io::Write;

use clap::CommandFactory;
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

/// Prints the manual page: the program's own, then one section after the other for its commands.
pub fn man() -> Result<Status, Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let whole = Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    // Not the section of commands, which names a page for each: all of them are on this one.
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("portreeve {}", subcommand.get_name());
        writeln!(page, ".SH {}", name.to_uppercase())?;
        let part = Man::new(subcommand.clone().bin_name(name));
        part.render_synopsis_section(&mut page)?;
        part.render_description_section(&mut page)?;
        part.render_options_section(&mut page)?;
        for nested in subcommand.get_subcommands().filter(|nested| nested.get_name() != "help") {
            let name = format!("portreeve {} {}", subcommand.get_name(), nested.get_name());
            writeln!(page, ".SH {}", name.to_uppercase())?;
            let part = Man::new(nested.clone().bin_name(name));
            part.render_synopsis_section(&mut page)?;
            part.render_description_section(&mut page)?;
            part.render_options_section(&mut page)?;
        }
    }
    output::raw_stdout()?.write_all(&page)?;
    Ok(Status::Clean)
}

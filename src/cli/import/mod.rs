//! `portreeve import`: what others saw becomes our observations, and is judged as a sweep is.

mod judged;
mod said;

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use jiff::Timestamp;

use self::judged::{Judged, Told};
use super::output::{self, Place};
use super::sweep::States;
use super::{Failure, Status};
use crate::config::file::{Config, load_allowlist};
use crate::evidence::bundle::{MANIFEST, OBSERVATIONS, WORK};
use crate::evidence::surveyed::survey_of;
use crate::evidence::verify::{Against, verify};
use crate::import::error::{Fault, ImportError, Place as At};
use crate::import::{Format as FileFormat, Wanted, read};
use crate::policy::allowlist::Allowlist;
use crate::policy::evaluate::evaluate;
use crate::policy::findings::Findings;
use crate::sink::csv::List;
use crate::sink::jsonl::JsonLines;
use crate::sink::{imported, masscan, nmap};
use crate::survey::Survey;
use crate::sweep::report::Verdict;
use crate::target::state::State;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of results, or directories of evidence; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What they are, where their content does not tell: nmap, masscan-json, masscan-list, zmap, naabu, portreeve
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<InputFormat>,

    /// The sweep to take of a file that holds several [default: the last that came to its end]
    #[arg(long, value_name = "ULID")]
    sweep: Option<ulid::Ulid>,

    /// Take what can be read of a file that is cut or broken, as an incomplete run
    #[arg(long)]
    partial: bool,

    /// Configuration file, of which [[allow]] and sweep.allowlist hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// File of what may be open
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,

    /// How to print results
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Which states to list in text, jsonl and csv: open, closed, filtered, unreachable, conflict, unknown; or all
    #[arg(long, value_name = "STATES", default_value = "open")]
    states: States,

    /// Write results to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a file is, as it is typed.
#[derive(Clone, Copy, Debug)]
pub struct InputFormat(pub FileFormat);

impl FromStr for InputFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        name.parse().map(InputFormat)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people: findings, a table by host, the ledger
    Text,
    /// For machines: one JSON event a line
    Jsonl,
    /// For spreadsheets: one line a target
    Csv,
    /// As nmap writes it with -oX
    Nmap,
    /// As masscan writes it with -oJ
    Masscan,
}

/// Reads a file, or standard input, or a directory of evidence.
pub fn read_file(path: &Path, wanted: &Wanted) -> Result<Survey, Failure> {
    let name = path.display().to_string();
    if name == "-" {
        return Ok(read("standard input", io::stdin().lock(), wanted)?);
    }
    if path.join(MANIFEST).exists() || path.join(WORK).exists() {
        return read_bundle(path, wanted);
    }
    let unreadable = |cause| {
        let help = "check the path, and that this user may read it";
        let fault = Fault::fatal(At::Nowhere, format!("it cannot be opened: {cause}"), help);
        ImportError::new(&name, fault)
    };
    let file = File::open(path).map_err(unreadable)?;
    Ok(read(&name, BufReader::with_capacity(1 << 16, file), wanted)?)
}

/// Reads the evidence of a control run, in which nothing may be wrong.
fn read_bundle(dir: &Path, wanted: &Wanted) -> Result<Survey, Failure> {
    if wanted.format.is_some() || wanted.sweep.is_some() || wanted.partial {
        let why = "holds the evidence of one run, of which nothing can be chosen or left out";
        return Err(
            format!("{} {why}; leave out --input-format, --sweep and --partial", output::shown(dir)).into()
        );
    }
    let sound = verify(dir, &Against::default()).map_err(|wrong| {
        format!("{}: this is no sound evidence of a control run: {wrong}", output::shown(dir))
    })?;
    let survey = survey_of(dir, &sound.manifest);
    Ok(survey.map_err(|cause| format!("{}: {cause}", output::shown(&dir.join(OBSERVATIONS))))?)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let is_one = matches!(args.format, Format::Csv | Format::Nmap | Format::Masscan);
    if is_one && args.files.len() > 1 {
        return Err("csv, nmap and masscan hold one run each; import one file at a time".into());
    }
    let allowlist = allowlist(args)?;
    let wanted =
        Wanted { format: args.input_format.map(|it| it.0), sweep: args.sweep, partial: args.partial };
    // Every file is read before anything is written: nobody gets half of the results by mistake.
    let surveys: Vec<Survey> =
        args.files.iter().map(|file| read_file(file, &wanted)).collect::<Result<_, _>>()?;
    let mut inputs: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    inputs.extend([args.config.as_deref(), args.allowlist.as_deref()].into_iter().flatten());
    let place = Place::find(args.output.as_deref(), &inputs, &|| false)?;
    let mut sink = match args.format {
        Format::Text => Sink::Text(place.styled()?),
        Format::Jsonl => Sink::Jsonl(JsonLines::new(place.raw()?)),
        Format::Csv => Sink::Csv(place.raw()?),
        Format::Nmap => Sink::Nmap(io::BufWriter::new(place.raw()?)),
        Format::Masscan => Sink::Masscan(io::BufWriter::new(place.raw()?)),
    };
    let mut all = Status::Clean;
    for survey in &surveys {
        let status = sink.tell(survey, &allowlist, args.states)?;
        all = worse(all, status);
    }
    Ok(all)
}

/// A run that was not complete weighs more than what another one found.
fn worse(one: Status, other: Status) -> Status {
    if one as u8 >= other as u8 { one } else { other }
}

fn allowlist(args: &Args) -> Result<Allowlist, Failure> {
    let config = args.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
    let mut allowances = config.allow;
    if let Some(path) = args.allowlist.as_ref().or(config.settings.allowlist.as_ref()) {
        allowances.extend(load_allowlist(path)?);
    }
    Ok(Allowlist::new(allowances))
}

type Out = Box<dyn Write>;

/// Where results go.
enum Sink {
    Text(Out),
    Jsonl(JsonLines<Out>),
    Csv(Out),
    Nmap(io::BufWriter<Out>),
    Masscan(io::BufWriter<Out>),
}

impl Sink {
    /// Judges a run, and tells what came of it. A reader that leaves early changes nothing of that.
    fn tell(&mut self, survey: &Survey, allowlist: &Allowlist, states: States) -> Result<Status, Failure> {
        let now = Timestamp::now();
        let judged = Judged::new(survey, now);
        let complete = judged.report.verdict == Verdict::Complete && judged.scope.is_some();
        let scope = judged.scope_or_any()?;
        let known = judged.verifications.clone();
        let findings = evaluate(&judged.opens, allowlist, known, &scope, complete, now);
        let findings = findings.with_names(judged.run.names());
        let status = match judged.report.verdict == Verdict::Complete {
            false => Status::Incomplete,
            true if findings.has_objections() => Status::Findings,
            true => Status::Clean,
        };
        let told = self.write(survey, &judged, &findings, states, now);
        output::told(told.map_err(Into::into), status)
    }

    fn write(
        &mut self,
        survey: &Survey,
        judged: &Judged<'_>,
        findings: &Findings<'_>,
        states: States,
        now: Timestamp,
    ) -> io::Result<()> {
        let is_listed = |told: &Told| states.0.has(told.seen.state) || told.seen.state == State::Conflict;
        match self {
            Sink::Text(out) => {
                let mut listed = Vec::new();
                judged.each(|told| -> io::Result<()> {
                    listed.extend(is_listed(told).then_some((told.seen.target, told.seen.state)));
                    Ok(())
                })?;
                imported::write_text(out, &judged.summary(findings, &listed), &judged.about)?;
                return out.flush();
            }
            Sink::Jsonl(lines) => {
                let announced = &judged.announcement;
                lines.write(&imported::started(&judged.run, judged.started, announced, &judged.about))?;
                judged.each(|told| match is_listed(told) {
                    true => judged.write_port(lines, told),
                    false => Ok(()),
                })?;
                for finding in findings.iter() {
                    lines.write(&judged.run.finding(now, &finding))?;
                }
                let count = findings.len() as u64;
                lines.write(&judged.run.completed(now, &judged.report, &judged.look, count))?;
                return lines.flush();
            }
            Sink::Csv(out) => {
                let mut list = List::default();
                judged.each(|told| -> io::Result<()> {
                    if is_listed(told) {
                        list.observe(told.time, &told.seen, told.verified);
                    }
                    Ok(())
                })?;
                list.write(out, &judged.run, now, findings)?;
            }
            Sink::Nmap(out) => nmap::write(out, survey)?,
            Sink::Masscan(out) => masscan::write(out, survey)?,
        }
        // These forms cannot say how it went.
        imported::write_aside(&mut output::aside(), &judged.summary(findings, &[]), &judged.about)
    }
}

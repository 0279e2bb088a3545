//! `portreeve sweep --dry-run`: the targets, and nothing sent.

use std::io::{self, Write};

use ulid::Ulid;

use super::console::formats::{Format, Targets};
use super::output::Place;
use super::{Failure, Status, output};
use crate::config::sources::Gathered;
use crate::job::engine::advice;
use crate::sink::csv;
use crate::sink::jsonl::JsonLines;
use crate::sink::text::write_unresolved;
use crate::target::order::Order;

/// Prints the targets in order. Sends no probe, so it needs no authorisation, no privilege and no route.
pub fn run(gathered: &Gathered, format: Format, place: Place) -> Result<Status, Failure> {
    let Some(listing) = format.targets else {
        let word = format.as_str();
        return Err(format!(
            "--format {word} tells what a sweep finds, and a dry run finds nothing; use text, jsonl or csv"
        )
        .into());
    };
    let settings = &gathered.settings;
    let unresolved = gathered.unresolved.iter().map(|failed| failed.name.as_str());
    write_unresolved(&mut output::aside(), unresolved)?;
    let mut scope = settings.scope()?;
    if let Some(shard) = settings.shard {
        scope = scope.shard(shard.number, shard.of)?;
    }
    if !format.streams {
        advice::faster(settings, &scope, None).iter().for_each(|advice| output::note(advice));
    }
    let seed = settings.seed.unwrap_or_else(|| Ulid::generate().random() as u64);
    let order = Order::new(scope.len(), seed);
    let out = place.raw()?;
    let mut targets = (0..order.len()).map(|position| scope.target(order.index_at(position)));
    match listing {
        Targets::Text => {
            let mut text = io::BufWriter::new(out);
            targets.try_for_each(|target| writeln!(text, "{target}"))?;
            text.flush()?;
        }
        Targets::Jsonl => {
            let mut lines = JsonLines::new(out);
            targets.try_for_each(|target| lines.write(&target))?;
            lines.flush()?;
        }
        Targets::Csv => csv::write_targets(out, targets)?,
    }
    Ok(if gathered.unresolved.is_empty() { Status::Clean } else { Status::Incomplete })
}

//! What the page says about the heat map, in words and as a table.

use minijinja::Value;
use serde::Serialize;

use super::heat::{HeatMap, Mark, Row, Tally};
use super::heat_chart::{draw, sample};

/// The map as the page has it.
#[derive(Debug, Serialize)]
pub(super) struct HeatView {
    chart: Value,
    legend: Vec<Legend>,
    grouped: bool,
    rows: Vec<TableRow>,
    shown_rows: usize,
    shown_ports: usize,
    ports_left_out: usize,
    rows_left_out: usize,
    left_out: String,
    hosts: u64,
}

#[derive(Debug, Serialize)]
struct Legend {
    sample: Value,
    word: &'static str,
    meaning: &'static str,
}

/// A row in words.
#[derive(Debug, Serialize)]
struct TableRow {
    label: String,
    name: Option<String>,
    counts: Vec<u64>,
    ports: String,
}

/// The map of a run; nothing where there is nothing to say.
pub(super) fn view(map: &HeatMap) -> Option<HeatView> {
    if map.is_empty() {
        return None;
    }
    let legend = |mark: Mark| Legend {
        sample: Value::from_safe_string(sample(mark)),
        word: mark.word(),
        meaning: mark.meaning(),
    };
    let marks = map.marks();
    Some(HeatView {
        chart: Value::from_safe_string(draw(map)),
        rows: map.rows.iter().map(|row| table_row(row, &map.ports, &marks)).collect(),
        legend: marks.into_iter().map(legend).collect(),
        grouped: map.grouped,
        shown_rows: map.rows.len(),
        shown_ports: map.ports.len(),
        ports_left_out: map.ports_left_out,
        rows_left_out: map.rows_left_out,
        left_out: map.left_out.in_words(),
        hosts: map.hosts,
    })
}

fn table_row(row: &Row, ports: &[u16], marks: &[Mark]) -> TableRow {
    let total = row.total();
    let there = row.cells.iter().zip(ports).filter(|(tally, _)| tally.worst().is_some());
    let mut ports: Vec<String> = there.map(|(_, port)| port.to_string()).collect();
    if row.other != Tally::default() {
        ports.push("others".to_owned());
    }
    TableRow {
        label: row.label.clone(),
        name: row.name.clone(),
        counts: marks.iter().map(|mark| total.of(*mark)).collect(),
        ports: ports.join(", "),
    }
}

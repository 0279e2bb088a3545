//! The heat map as a picture. What a colour says, a sign says too.

use super::heat::{HeatMap, Mark, Row, Tally};
use super::svg::{Anchor, Svg};
use super::words::{number, short};
use crate::target::ports::service;

/// Pixels: of a cell, between the ports and all others, and of the column of these.
const HEIGHT: f64 = 22.0;
const GAP: f64 = 10.0;
const OTHERS: f64 = 58.0;

/// Pixels of a letter, at the most, and how far a label leans to the right and upwards.
const LETTER: f64 = 7.2;
const LEANS: (f64, f64) = (0.5, 0.87);

/// Letters of a label that fit left of a row.
const MOST_LETTERS: usize = 44;

/// What there is room for: left of the rows, above the columns and, where these lean to, right of them.
struct Margins {
    left: f64,
    top: f64,
    right: f64,
}

impl Margins {
    fn of(map: &HeatMap) -> Self {
        let letters = map.rows.iter().map(|row| {
            let name = row.name.as_ref().map_or(0, |name| name.chars().count() + 3);
            (row.label.chars().count() + name).min(MOST_LETTERS)
        });
        let above = map.ports.iter().map(|port| port_label(*port).chars().count()).chain([OTHER_PORTS.len()]);
        let left = letters.max().unwrap_or(0) as f64 * LETTER + 14.0;
        let above = above.max().unwrap_or(0) as f64 * LETTER;
        Margins { left, top: above * LEANS.1 + 14.0, right: above * LEANS.0 }
    }
}

const OTHER_PORTS: &str = "other ports";

fn port_label(port: u16) -> String {
    service(port).map_or_else(|| port.to_string(), |service| format!("{port} {}", service.name))
}

/// Draws it.
pub(super) fn draw(map: &HeatMap) -> String {
    let cell = if map.grouped { 40.0 } else { 24.0 };
    let others = map.rows.iter().any(|row| row.other.worst().is_some());
    let ports = cell * map.ports.len() as f64;
    let Margins { left, top, right } = Margins::of(map);
    let width = left + ports + if others { GAP + OTHERS } else { 0.0 } + right;
    let height = top + HEIGHT * map.rows.len() as f64 + 2.0;
    let mut svg =
        Svg::new("heat-chart", "heat", (width as u32, height as u32), &title(map), &description(map));
    for (port, column) in map.ports.iter().zip(0_u32..) {
        let x = left + cell * f64::from(column) + cell / 2.0 + 3.0;
        svg.upright("label", (x, top - 8.0), &port_label(*port));
    }
    if others {
        svg.upright("label", (left + ports + GAP + OTHERS / 2.0, top - 8.0), OTHER_PORTS);
    }
    for (row, at) in map.rows.iter().zip(0_u32..) {
        let y = top + HEIGHT * f64::from(at);
        label(&mut svg, row, (left, y));
        for ((tally, port), column) in row.cells.iter().zip(&map.ports).zip(0_u32..) {
            let place = (left + cell * f64::from(column), y);
            one(&mut svg, tally, (place, cell), map.grouped, &format!("{} port {port}", row.label));
        }
        if others {
            let place = (left + ports + GAP, y);
            one(&mut svg, &row.other, (place, OTHERS), true, &format!("{} other ports", row.label));
        }
    }
    svg.finish()
}

fn label(svg: &mut Svg, row: &Row, (left, y): (f64, f64)) {
    let y = y + HEIGHT - 7.0;
    let room = MOST_LETTERS.saturating_sub(row.label.chars().count() + 2);
    let name: Option<String> = row.name.as_ref().map(|name| match name.chars().count() > room {
        true => name.chars().take(room.saturating_sub(1)).chain(['\u{2026}']).collect(),
        false => name.clone(),
    });
    match name.filter(|_| room > 3) {
        Some(name) => {
            svg.group(&format!("{} {}", row.label, row.name.as_deref().unwrap_or_default()));
            svg.words("label", (0.0, y), Anchor::Start, &row.label);
            svg.words("name", (left - 10.0, y), Anchor::End, &name);
            svg.end_group();
        }
        None => svg.words("label", (0.0, y), Anchor::Start, &row.label),
    }
}

/// One cell: a pale one where there is nothing to say.
fn one(svg: &mut Svg, tally: &Tally, ((x, y), width): ((f64, f64), f64), counted: bool, what: &str) {
    let size = (width - 2.0, HEIGHT - 2.0);
    let Some(mark) = tally.worst() else {
        svg.rect("none", (x + 1.0, y + 1.0), size);
        return;
    };
    svg.group(&format!("{what}: {}", tally.in_words()));
    svg.rect(mark.class(), (x + 1.0, y + 1.0), size);
    let words = match counted {
        true => format!("{}{}", mark.sign(), short(tally.of(mark))),
        false => mark.sign().to_owned(),
    };
    let middle = (x + width / 2.0, y + HEIGHT - 6.5);
    svg.words(&format!("sign {}-sign", mark.class()), middle, Anchor::Middle, &words);
    svg.end_group();
}

/// One cell by itself, for the legend.
pub(super) fn sample(mark: Mark) -> String {
    let mut svg = Svg::ornament("sample", (22, 20));
    svg.rect(mark.class(), (0.0, 0.0), (22.0, 20.0));
    svg.words(&format!("sign {}-sign", mark.class()), (11.0, 14.5), Anchor::Middle, mark.sign());
    svg.finish()
}

fn title(map: &HeatMap) -> String {
    let rows = if map.grouped { "networks" } else { "hosts" };
    format!("Heat map: {} {rows} by {} ports", map.rows.len(), map.ports.len())
}

fn description(map: &HeatMap) -> String {
    let mut total = Vec::new();
    for mark in map.marks() {
        let count: u64 = map.rows.iter().map(|row| row.total().of(mark)).fold(0, u64::saturating_add);
        total.push(format!("{} {}", number(count), mark.word()));
    }
    format!("In the rows that are shown: {}. The table below it says the same in words.", total.join(", "))
}

//! The heat map as a picture. What a colour says, a sign says too.

use super::heat::{HeatMap, Mark, Row, Tally};
use super::svg::{Anchor, Svg};
use super::words::{number, short};
use crate::target::ports::service;

/// Pixels: of a cell, of what stands left of a row, above a column, and between the ports and all others.
const HEIGHT: f64 = 22.0;
const LEFT: f64 = 226.0;
const TOP: f64 = 92.0;
const GAP: f64 = 10.0;
const OTHERS: f64 = 58.0;

/// Room for the names of the last columns, which lean to the right.
const RIGHT: f64 = 44.0;

/// Letters of a label that fit left of a row, and above a column.
const MOST_LETTERS: usize = 32;

/// Draws it.
pub(super) fn draw(map: &HeatMap) -> String {
    let cell = if map.grouped { 40.0 } else { 24.0 };
    let others = map.rows.iter().any(|row| row.other.worst().is_some());
    let ports = cell * map.ports.len() as f64;
    let width = LEFT + ports + if others { GAP + OTHERS } else { 0.0 } + RIGHT;
    let height = TOP + HEIGHT * map.rows.len() as f64 + 2.0;
    let mut svg = Svg::new("heat-chart", "heat", (width as u32, height as u32), &title(map), &description(map));
    for (port, column) in map.ports.iter().zip(0_u32..) {
        let x = LEFT + cell * f64::from(column) + cell / 2.0 + 3.0;
        let name = service(*port).map_or_else(String::new, |service| format!(" {}", service.name));
        svg.upright("label", (x, TOP - 8.0), &format!("{port}{name}"));
    }
    if others {
        svg.upright("label", (LEFT + ports + GAP + OTHERS / 2.0, TOP - 8.0), "other ports");
    }
    for (row, at) in map.rows.iter().zip(0_u32..) {
        let y = TOP + HEIGHT * f64::from(at);
        label(&mut svg, row, y);
        for ((tally, port), column) in row.cells.iter().zip(&map.ports).zip(0_u32..) {
            let place = (LEFT + cell * f64::from(column), y);
            one(&mut svg, tally, (place, cell), map.grouped, &format!("{} port {port}", row.label));
        }
        if others {
            let place = (LEFT + ports + GAP, y);
            one(&mut svg, &row.other, (place, OTHERS), true, &format!("{} other ports", row.label));
        }
    }
    svg.finish()
}

fn label(svg: &mut Svg, row: &Row, y: f64) {
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
            svg.words("name", (LEFT - 10.0, y), Anchor::End, &name);
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

//! Bars: of states, of severities, and of the time that a run took.

use super::svg::{Anchor, Svg};
use super::words::{duration, moment, number};
use crate::evidence::manifest::Times;
use crate::target::ports::Severity;

/// The length of a bar beside a row.
const BAR: (u32, u32) = (160, 12);

/// The size of the chart of severities, and of that of time.
const STACK: (u32, u32) = (720, 14);
const TIMELINE: (u32, u32) = (720, 58);

/// What is there at all is to be seen.
const LEAST: f64 = 2.0;

/// One bar of a whole. It stands beside its number.
pub(super) fn bar(class: &str, part: u64, whole: u64) -> String {
    let mut svg = Svg::ornament("bar", BAR);
    let (width, height) = (f64::from(BAR.0), f64::from(BAR.1));
    svg.rect("track", (0.0, 0.0), (width, height));
    svg.rect(class, (0.0, 0.0), (length(part, whole, width), height));
    svg.finish()
}

/// The severities side by side, the worst first. The counts stand below it.
pub(super) fn severities(counts: &[(Severity, u64)]) -> String {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut svg = Svg::ornament("stack", STACK);
    let (width, height) = (f64::from(STACK.0), f64::from(STACK.1));
    let lengths: Vec<f64> = counts.iter().map(|(_, count)| length(*count, total, width)).collect();
    // The least lengths may come to more than there is.
    let scale = width / lengths.iter().sum::<f64>().max(width);
    let mut x = 0.0;
    for ((severity, _), length) in counts.iter().zip(lengths) {
        svg.rect(&format!("s-{severity}"), (x, 0.0), (length * scale, height));
        x += length * scale;
    }
    svg.finish()
}

/// When the run was at work and when it rested, from its beginning to its end.
pub(super) fn timeline(times: &Times) -> String {
    let whole = times.completed.duration_since(times.started).as_millis().max(1);
    let whole = u64::try_from(whole).unwrap_or(u64::MAX);
    let desc = format!(
        "From {} to {}, {} in all, with {} pauses.",
        moment(times.started),
        moment(times.completed),
        duration(whole),
        number(times.pauses.len() as u64)
    );
    let mut svg = Svg::new("timeline", "timeline", TIMELINE, "When the run was at work", &desc);
    let width = f64::from(TIMELINE.0);
    svg.rect("work", (0.0, 8.0), (width, 22.0));
    for pause in &times.pauses {
        let at = |time: jiff::Timestamp| {
            let since = time.duration_since(times.started).as_millis().max(0) as f64;
            (since / whole as f64).min(1.0) * width
        };
        let (from, until) = (at(pause.from), at(pause.until));
        svg.group(&format!("{} to {}: {}", moment(pause.from), moment(pause.until), pause.why));
        svg.rect("rest", (from, 8.0), ((until - from).max(LEAST), 22.0));
        svg.end_group();
    }
    svg.words("axis", (0.0, 48.0), Anchor::Start, &moment(times.started));
    svg.words("axis", (width, 48.0), Anchor::End, &moment(times.completed));
    svg.finish()
}

fn length(part: u64, whole: u64, width: f64) -> f64 {
    if part == 0 {
        return 0.0;
    }
    (part as f64 / whole.max(1) as f64 * width).clamp(LEAST, width)
}

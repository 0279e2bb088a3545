//! Charts are made of a few rectangles and words. Their colours are those of the page, by class, so that a chart is
//! light where the page is light.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::shown;

/// A picture that grows.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// Where a word is fastened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// A picture that is read as one: its name is said, and its description to whoever asks.
    pub(super) fn new(id: &str, class: &str, (width, height): (u32, u32), title: &str, desc: &str) -> Self {
        let mut svg = Svg { text: String::new() };
        svg.put(format_args!(
            "<svg class=\"{class}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\"><title id=\"{id}-title\">{}</title>\
             <desc id=\"{id}-desc\">{}</desc>",
            escaped(title),
            escaped(desc)
        ));
        svg
    }

    /// A picture beside words that say the same.
    pub(super) fn ornament(class: &str, (width, height): (u32, u32)) -> Self {
        let mut svg = Svg { text: String::new() };
        svg.put(format_args!(
            "<svg class=\"{class}\" aria-hidden=\"true\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\">"
        ));
        svg
    }

    /// What follows belongs together, and says this when it is pointed at.
    pub(super) fn group(&mut self, title: &str) {
        self.put(format_args!("<g><title>{}</title>", escaped(title)));
    }

    pub(super) fn end_group(&mut self) {
        self.text.push_str("</g>");
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            short(x),
            short(y),
            short(width),
            short(height)
        ));
    }

    pub(super) fn words(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            short(x),
            short(y),
            escaped(words)
        ));
    }

    /// Words that go upwards.
    pub(super) fn upright(&mut self, class: &str, (x, y): (f64, f64), words: &str) {
        let (x, y) = (short(x), short(y));
        self.put(format_args!(
            "<text class=\"{class}\" transform=\"translate({x} {y}) rotate(-60)\">{}</text>",
            escaped(words)
        ));
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a text does not fail.
        let _ = self.text.write_fmt(what);
    }
}

fn escaped(text: &str) -> String {
    HtmlEscape(&shown(text)).to_string()
}

/// A hundredth of a pixel is as good as any.
fn short(length: f64) -> f64 {
    (length * 100.0).round() / 100.0
}

//! `slack`: what Slack's incoming webhooks take, and Mattermost's and Rocket.Chat's too.
//!
//! A text and one attachment, which all three have known for longest. Everything in them is data to each: Slack's own
//! marks (`<`, `>`, `&`) are written as entities, Markdown's links are broken up, and nobody is called by an `@` that
//! somebody else has put into a name or a banner.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use ureq::http::HeaderMap;

use super::http::{Client, each_by, never};
use super::{Channel, Delivery};
use crate::alert::life::Phase;
use crate::alert::notice::{Notice, Transition};
use crate::sink::message::Message;
use crate::sink::options::SlackOptions;
use crate::sink::plain;
use crate::sink::wording::{Line, lines, title};
use crate::target::ports::Severity;

/// The time between two messages that Slack asks for. Faster ones are answered with 429, or dropped.
pub const MIN_SPACE: Duration = Duration::from_secs(1);

/// Between two characters that mean something only together; it takes no space.
const WEDGE: char = '\u{200b}';

/// The channel.
#[derive(Clone, Debug)]
pub struct Slack {
    options: SlackOptions,
    timeout: Duration,
}

impl Slack {
    /// A webhook as it is configured.
    pub fn new(options: SlackOptions, timeout: Duration) -> Self {
        Slack { options, timeout }
    }

    fn post(&self, client: &Client, message: &Message, now: Timestamp) -> Delivery {
        let body = Body::new(message, self.options.channel.as_deref());
        match plain::to_vec(&body) {
            Ok(body) => client.post("application/json", &HeaderMap::new(), &body, now),
            Err(error) => never(error.to_string()),
        }
    }
}

impl Channel for Slack {
    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        let begun = Client::open(&self.options.http, "", self.timeout);
        each_by(begun, messages, self.timeout, |client, message| self.post(client, message, now))
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    text: String,
    /// No words become bold, and none that look like names become links.
    mrkdwn: bool,
    link_names: bool,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    color: &'static str,
    fallback: String,
    text: String,
    mrkdwn_in: [&'static str; 0],
    ts: i64,
}

impl<'a> Body<'a> {
    fn new(message: &Message, channel: Option<&'a str>) -> Self {
        let title = escaped(&title(message));
        let lines: Vec<String> = lines(message).iter().map(in_a_line).collect();
        let attachment = Attachment {
            color: color(message),
            fallback: title.clone(),
            text: lines.join("\n"),
            mrkdwn_in: [],
            ts: message.time().as_second(),
        };
        Body { channel, text: title, mrkdwn: false, link_names: false, attachments: [attachment] }
    }
}

fn in_a_line(line: &Line) -> String {
    format!("{}: {}", escaped(&line.label), escaped(&line.text))
}

/// A text that means nothing but itself.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            // Within a word it is an address of mail, which stays as it is.
            '@' if !before.is_ascii_alphanumeric() => safe.extend(['@', WEDGE]),
            '(' | '[' if before == ']' => safe.extend([WEDGE, letter]),
            _ => safe.push(letter),
        }
        before = letter;
    }
    safe
}

fn color(message: &Message) -> &'static str {
    match message {
        Message::Alert(notice) if is_over(notice) => "#2eb886",
        Message::Alert(notice) => match notice.alert.finding.severity {
            Severity::Critical => "#b00020",
            Severity::High => "#e8590c",
            Severity::Medium => "#f2c744",
            Severity::Low | Severity::Info => "#439fe0",
        },
        Message::Event(_) => "#9e9e9e",
    }
}

fn is_over(notice: &Notice) -> bool {
    notice.alert.state == Phase::Resolved && notice.transition != Transition::FlappingStarted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_works_on_a_chat() {
        for (text, safe) in [
            (
                "db & <!channel> <@U123> <http://x|y>",
                "db &amp; &lt;!channel&gt; &lt;@\u{200b}U123&gt; &lt;http://x|y&gt;",
            ),
            ("@channel", "@\u{200b}channel"),
            ("netops@example.com", "netops@example.com"),
            ("x.@here -@all @@all", "x.@\u{200b}here -@\u{200b}all @\u{200b}@\u{200b}all"),
            ("[click](http://x) ![i](http://y)", "[click]\u{200b}(http://x) ![i]\u{200b}(http://y)"),
            ("[a][b]", "[a]\u{200b}[b]"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }
}

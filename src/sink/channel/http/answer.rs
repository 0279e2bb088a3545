//! What a server's answer means for a message.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use ureq::http::{HeaderMap, HeaderName, StatusCode, Uri, header};

use super::hush::Hush;

/// The longest that a server may ask to be left alone. Beyond that, it is asked once a day.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The most characters of a body that are repeated in a reason.
const LONGEST_EXCERPT: usize = 160;

/// An answer, as far as it matters.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    date: Option<String>,
    location: Option<String>,
    said: String,
}

/// What became of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The server has it.
    Taken,
    /// It may take it later, after this time if it has named one.
    Later(Option<Duration>),
    /// It will never take it.
    Never,
}

impl Answer {
    /// An answer of this status and header, which says this.
    pub fn new(status: StatusCode, headers: &HeaderMap, said: &[u8]) -> Self {
        let of =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Answer {
            status,
            retry_after: of(header::RETRY_AFTER),
            date: of(header::DATE),
            location: of(header::LOCATION),
            said: String::from_utf8_lossy(said).trim().to_owned(),
        }
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// What it means for the message.
    ///
    /// A message that the server takes for malformed (400, 413, 422), or whose address is gone (410), would meet the
    /// same answer tomorrow. Everything else may be better by then: the server's own trouble, and whatever its operator
    /// or ours can repair, such as a wrong path (404), a secret that has expired (401, 403) or a redirect.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        match self.status.as_u16() {
            200..=299 => Verdict::Taken,
            400 | 410 | 413 | 422 => Verdict::Never,
            429 | 503 => {
                let date = self.date.as_deref();
                Verdict::Later(self.retry_after.as_deref().and_then(|after| wait(after, date, now)))
            }
            _ => Verdict::Later(None),
        }
    }

    /// What to say of it.
    pub fn in_words(&self, hush: &Hush) -> String {
        let status = self.status;
        let remedy = match status.as_u16() {
            300..=399 => {
                return format!(
                    "it answered {status}, which leads to {}; redirects are not followed: name the address itself",
                    hush.over(&self.leads_to())
                );
            }
            401 | 403 => "; renew the secret that it knows us by",
            404 | 405 => "; see whether its address is right",
            _ => "",
        };
        // What is secret goes first: a part of it would not be recognised.
        let said = hush.over(&self.said);
        let excerpt: String = said.chars().take(LONGEST_EXCERPT).collect();
        let cut = if excerpt.len() < said.len() { "..." } else { "" };
        if excerpt.is_empty() {
            format!("it answered {status}{remedy}")
        } else {
            format!("it answered {status} and said \"{excerpt}{cut}\"{remedy}")
        }
    }

    /// The host that a redirect names. The rest of its address may be a secret.
    fn leads_to(&self) -> String {
        let Some(location) = &self.location else { return "nowhere".to_owned() };
        let uri = location.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host);
        host.map_or_else(|| "another path".to_owned(), str::to_owned)
    }
}

/// How long a server asks to be left alone (RFC 9110, section 10.2.3): seconds, or a date, which is compared with the
/// server's own clock if the answer tells it.
fn wait(after: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let after = after.trim();
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        // So many digits that they are no number are a long time in any case.
        let seconds = after.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let until = http_date(after)?;
    let since = date.and_then(http_date).unwrap_or(now);
    let left = until.duration_since(since);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO).min(LONGEST_WAIT))
}

fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().expect("a time")
    }

    fn answer(status: u16, headers: &[(HeaderName, &str)], said: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        Answer::new(StatusCode::from_u16(status).expect("a status"), &headers.collect(), said.as_bytes())
    }

    #[test]
    fn each_status_has_its_outcome() {
        let later = Verdict::Later(None);
        for (statuses, verdict) in [
            (&[200, 201, 202, 204, 299][..], Verdict::Taken),
            (&[400, 410, 413, 422], Verdict::Never),
            (&[401, 403, 404, 405, 407, 408, 409, 415, 425, 429, 451, 499], later),
            (&[500, 501, 502, 503, 504, 507, 599], later),
            (&[300, 301, 302, 303, 304, 307, 308, 399], later),
            (&[100, 199, 600, 999], later),
        ] {
            for status in statuses {
                assert_eq!(answer(*status, &[], "").verdict(now()), verdict, "{status}");
            }
        }
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks_and_no_longer_than_a_day() {
        let seconds = |seconds| Verdict::Later(Some(Duration::from_secs(seconds)));
        for (after, date, verdict) in [
            ("7", None, seconds(7)),
            (" 120 ", None, seconds(120)),
            ("0", None, seconds(0)),
            ("86401", None, seconds(86_400)),
            ("99999999999999999999999999", None, seconds(86_400)),
            ("Mon, 01 Jun 2026 12:00:30 GMT", None, seconds(30)),
            ("Mon, 01 Jun 2026 11:00:00 GMT", None, seconds(0)),
            ("Tue, 01 Jun 2027 12:00:00 GMT", None, seconds(86_400)),
            // The server's clock is an hour behind ours, and it means a minute.
            ("Mon, 01 Jun 2026 11:01:00 GMT", Some("Mon, 01 Jun 2026 11:00:00 GMT"), seconds(60)),
            ("Mon, 01 Jun 2026 12:00:30 GMT", Some("yesterday"), seconds(30)),
            ("-5", None, Verdict::Later(None)),
            ("soon", None, Verdict::Later(None)),
            ("1.5", None, Verdict::Later(None)),
            ("", None, Verdict::Later(None)),
        ] {
            let mut headers = vec![(header::RETRY_AFTER, after)];
            headers.extend(date.map(|date| (header::DATE, date)));
            for status in [429, 503] {
                assert_eq!(answer(status, &headers, "").verdict(now()), verdict, "{after} {date:?}");
            }
            assert_eq!(answer(500, &headers, "").verdict(now()), Verdict::Later(None), "{after}");
            assert_eq!(answer(200, &headers, "").verdict(now()), Verdict::Taken, "{after}");
        }
    }

    #[test]
    fn what_is_said_of_an_answer_names_hosts_and_no_secrets() {
        let mut hush = Hush::default();
        hush.add("s3cr3t-path");
        let to = |location| answer(302, &[(header::LOCATION, location)], "").in_words(&hush);
        for (location, host) in [
            ("https://joe:pw@elsewhere.example:99/s3cr3t-path", "elsewhere.example;"),
            ("/s3cr3t-path", "another path;"),
            ("https://s3cr3t-path/", "[secret];"),
        ] {
            let words = to(location);
            assert!(words.contains("302 Found") && words.contains(host), "{words}");
            assert!(words.contains("redirects are not followed"), "{words}");
            assert!(!words.contains("pw") && !words.contains("s3cr3t"), "{words}");
        }
        let long = format!("{}s3cr3t-path{}", "x".repeat(LONGEST_EXCERPT - 5), "y".repeat(9000));
        let words = answer(500, &[], &long).in_words(&hush);
        assert!(words.contains("500 Internal Server Error") && words.contains("x[secr...\""), "{words}");
        assert!(!words.contains("s3c"), "{words}");
    }
}

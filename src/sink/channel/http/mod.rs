//! The client that all sinks share which speak HTTP.
//!
//! One POST at a time, by HTTP/1.1, to an address that the configuration names, and nowhere else: no redirect is
//! followed, no proxy of the environment is asked, and no connection is made to an address that was not checked. The
//! channel's timeout is one for everything, from the look-up of the name to the last byte of the answer, however slowly
//! that drips in; and no more of an answer is read than [`LONGEST_ANSWER`].
//!
//! A client lives for one call of a channel. So it uses secrets and certificates as they are at that time, keeps its
//! connection for a batch, and forgets both afterwards.

mod answer;
mod dial;
mod hush;

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Uri, header};
use ureq::{Agent, Error};

use self::answer::{Answer, Verdict};
use self::dial::{Dial, Resolve};
use self::hush::Hush;
use super::{Delivery, tls};
use crate::sink::message::Message;
use crate::sink::options::{HttpOptions, Url};
use crate::sink::secret::SecretPlace;

/// The most bytes of an answer that are read: half of it for its header, the rest for its body.
pub const LONGEST_ANSWER: usize = 64 << 10;

/// How much is read at a time. A header must fit into it.
const BUFFER: usize = 16 << 10;

/// What we call ourselves.
const USER_AGENT: &str = concat!("portreeve/", env!("CARGO_PKG_VERSION"));

/// A client of one web server.
pub struct Client {
    agent: Agent,
    uri: Uri,
    /// The server's name and port, which are never a secret.
    host: String,
    hush: Hush,
    timeout: Duration,
}

impl Client {
    /// A client of the server that the options name; what is posted goes to their address and this path below it.
    ///
    /// # Errors
    /// When the address, or whom to trust, cannot be had. That may be repaired, so it is a [`Delivery::Retry`].
    pub fn open(options: &HttpOptions, below: &str, timeout: Duration) -> Result<Self, Delivery> {
        let mut hush = Hush::default();
        let uri = match &options.url {
            Url::Written(text) => {
                let uri = parse(text).ok_or_else(|| later("its address is none of http or https"))?;
                hush.add_confidants(&uri);
                uri
            }
            Url::Secret(place) => {
                let text = read(place)?;
                let uri = parse(text.expose_secret())
                    .ok_or_else(|| later(format!("{place} holds no address of http or https")))?;
                hush.add_all_of(&uri);
                uri
            }
        };
        let host = shown_host(&uri);
        let uri = descend(uri, below).ok_or_else(|| later("its address is none of http or https"))?;
        let trust = match uri.scheme_str() {
            Some("https") => {
                Some(tls::client_config(&options.tls).map_err(|error| later(error.to_string()))?)
            }
            _ => None,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(timeout))
            .user_agent(USER_AGENT)
            .input_buffer_size(BUFFER)
            .max_response_header_size(BUFFER - 1)
            .build();
        let resolve = Resolve::within(options.networks.clone());
        let agent = Agent::with_parts(config, Dial::trusting(trust), resolve);
        Ok(Client { agent, uri, host, hush, timeout })
    }

    /// Reads a secret that goes into the request, and keeps it out of whatever is said about the answer.
    ///
    /// # Errors
    /// When it cannot be read: a [`Delivery::Retry`].
    pub fn secret(&mut self, place: &SecretPlace) -> Result<SecretString, Delivery> {
        let secret = read(place)?;
        self.hush.add(secret.expose_secret());
        Ok(secret)
    }

    /// Reads a secret that is a header's value.
    ///
    /// # Errors
    /// When it cannot be read, or has characters that no header may have: a [`Delivery::Retry`].
    pub fn secret_header(&mut self, place: &SecretPlace) -> Result<HeaderValue, Delivery> {
        let secret = self.secret(place)?;
        let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| unfit_for_header(place))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// What stands in the header `Authorization`, by this scheme: a secret, read as by [`Client::secret`].
    ///
    /// # Errors
    /// As [`Client::secret_header`].
    pub fn authorization(&mut self, scheme: &str, place: &SecretPlace) -> Result<HeaderValue, Delivery> {
        let secret = self.secret(place)?;
        let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.expose_secret()))
            .map_err(|_| unfit_for_header(place))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The same for a user and the password that is kept there (RFC 7617).
    ///
    /// # Errors
    /// As [`Client::secret`].
    pub fn basic(&mut self, user: &str, place: &SecretPlace) -> Result<HeaderValue, Delivery> {
        let password = self.secret(place)?;
        let both = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        self.hush.add(&both);
        let mut value =
            HeaderValue::from_str(&format!("Basic {both}")).map_err(|_| unfit_for_header(place))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Posts a body, and says what became of it.
    pub fn post(&self, content_type: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Delivery {
        match self.ask("", content_type, headers, body, LONGEST_ANSWER - 2 * BUFFER, self.timeout) {
            Ok(reply) => self.judge(&reply, now),
            Err(delivery) => delivery,
        }
    }

    /// Posts a body to a path below the address, and gives what was answered within this time, of whatever status; no
    /// more of it than this many bytes.
    ///
    /// # Errors
    /// When there is no answer: a [`Delivery::Retry`].
    pub fn ask(
        &self,
        below: &str,
        content_type: &str,
        headers: &HeaderMap,
        body: &[u8],
        most: usize,
        within: Duration,
    ) -> Result<Reply, Delivery> {
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| later("its content_type cannot stand in a header"))?;
        let uri =
            descend(self.uri.clone(), below).ok_or_else(|| later("its address is none of http or https"))?;
        let mut request = http::Request::post(uri);
        if let Some(all) = request.headers_mut() {
            all.extend(headers.clone());
            all.insert(header::CONTENT_TYPE, content_type);
        }
        let answer = request.body(body).map_err(Error::Http).and_then(|request| {
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(within)).build())
        });
        let mut answer = answer.map_err(|error| self.failed(&dial::in_words(&error, within)))?;
        let mut body = Vec::new();
        // Whatever has come is as good as all of it: who reads more than the status sees whether it is whole.
        let _ = answer.body_mut().as_reader().take(most as u64).read_to_end(&mut body);
        let answer = Answer::new(answer.status(), answer.headers(), &body);
        Ok(Reply { answer, body })
    }

    /// What an answer means by its status.
    pub fn judge(&self, reply: &Reply, now: Timestamp) -> Delivery {
        let why = || self.why(&reply.answer.in_words(&self.hush));
        match reply.answer.verdict(now) {
            Verdict::Taken => Delivery::Delivered,
            Verdict::Later(after) => Delivery::Retry { why: why(), after },
            Verdict::Never => Delivery::Refused { why: why() },
        }
    }

    /// A reason that a server has given, as it may be shown.
    pub fn reason(&self, said: &str) -> String {
        self.why(&self.hush.over(said))
    }

    fn failed(&self, why: &str) -> Delivery {
        Delivery::Retry { why: self.why(&self.hush.over(why)), after: None }
    }

    fn why(&self, what: &str) -> String {
        hush::fit(&format!("failed to post to {}: {what}", self.host))
    }
}

/// What a server has answered.
#[derive(Clone, Debug)]
pub struct Reply {
    answer: Answer,
    /// Its body, as much of it as was to be read.
    pub body: Vec<u8>,
}

impl Reply {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.answer.status()
    }
}

/// Delivers messages one by one: up to one that must wait, or until the time of the first is over, so that a slow
/// server does not hold a whole batch up for as many times as long.
pub fn each(
    messages: &[Message],
    timeout: Duration,
    mut deliver: impl FnMut(&Message) -> Delivery,
) -> Vec<Delivery> {
    let alarm = crossbeam::channel::after(timeout);
    let mut deliveries = Vec::with_capacity(messages.len());
    for message in messages {
        let delivery = deliver(message);
        let must_wait = matches!(delivery, Delivery::Retry { .. });
        deliveries.push(delivery);
        if must_wait || alarm.try_recv().is_ok() {
            break;
        }
    }
    deliveries
}

/// As [`each`], with what comes before the first message: if that fails, it is what became of the first.
pub fn each_by<T>(
    begun: Result<T, Delivery>,
    messages: &[Message],
    timeout: Duration,
    mut deliver: impl FnMut(&T, &Message) -> Delivery,
) -> Vec<Delivery> {
    match begun {
        Ok(begun) => each(messages, timeout, |message| deliver(&begun, message)),
        Err(delivery) => messages.first().map(|_| delivery).into_iter().collect(),
    }
}

/// What somebody can repair: it is tried again.
pub fn later(why: impl AsRef<str>) -> Delivery {
    Delivery::Retry { why: hush::fit(why.as_ref()), after: None }
}

/// What nobody can repair.
pub fn never(why: impl AsRef<str>) -> Delivery {
    Delivery::Refused { why: hush::fit(why.as_ref()) }
}

/// A header's name and value out of a configuration.
///
/// # Errors
/// When it cannot be one: a [`Delivery::Retry`].
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Delivery> {
    let unfit = || later(format!("the header `{name}` is none; mend its name or its value"));
    Ok((name.parse().map_err(|_| unfit())?, value.parse().map_err(|_| unfit())?))
}

fn unfit_for_header(place: &SecretPlace) -> Delivery {
    later(format!("what {place} holds cannot stand in a header; write one line of plain characters"))
}

fn read(place: &SecretPlace) -> Result<SecretString, Delivery> {
    place.read().map_err(|error| later(error.to_string()))
}

/// An address of a web server. What stands where a port does must be one: the library would take the usual one instead.
fn parse(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let (host, authority) = (uri.host()?, uri.authority()?.as_str());
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let has_port = server.strip_prefix(host).is_some_and(|port| port.is_empty() || is_port(port));
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_web && !host.is_empty() && has_port).then_some(uri)
}

fn shown_host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address of something below another.
fn descend(uri: Uri, below: &str) -> Option<Uri> {
    if below.is_empty() {
        return Some(uri);
    }
    let mark = if below.contains('?') { '&' } else { '?' };
    let query = uri.query().map(|query| format!("{mark}{query}")).unwrap_or_default();
    let path = format!("{}{below}{query}", uri.path().trim_end_matches('/'));
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_web_servers_are_told_from_others() {
        for (text, host) in [
            ("http://h.example", Some("h.example")),
            ("https://h.example:8443/a/b?c=d", Some("h.example:8443")),
            ("https://joe:pw@h.example/", Some("h.example")),
            ("http://[2001:db8::1]:9093/x", Some("[2001:db8::1]:9093")),
            ("HTTPS://h.example/", Some("h.example")),
            ("ftp://h.example/", None),
            ("h.example/path", None),
            ("/path", None),
            ("http://h.example:99999/", None),
            ("http://h.example:/", None),
            ("http://h.example:8o/", None),
            ("http:///path", None),
            ("http://h .example/", None),
            ("", None),
        ] {
            assert_eq!(parse(text).as_ref().map(shown_host).as_deref(), host, "{text}");
        }
    }

    #[test]
    fn a_path_goes_below_whatever_the_address_has() {
        for (base, whole) in [
            ("http://h.example", "http://h.example/api/v2/alerts"),
            ("http://h.example/", "http://h.example/api/v2/alerts"),
            ("http://h.example/am/?k=v", "http://h.example/am/api/v2/alerts?k=v"),
        ] {
            let uri = descend(parse(base).expect(base), "/api/v2/alerts").expect(base);
            assert_eq!(uri.to_string(), whole);
        }
        let uri = descend(parse("http://h.example/es?k=v").expect("an address"), "/_bulk?filter_path=items");
        assert_eq!(uri.expect("an address").to_string(), "http://h.example/es/_bulk?filter_path=items&k=v");
    }
}

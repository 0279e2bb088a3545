//! `webhook`: an HTTP POST of each event, signed after the Standard Webhooks specification.
//!
//! # Wire format
//! The body is the event as JSON, or what the operator's template makes of it. `webhook-id` is the message's
//! identifier, the same however often it is sent; `webhook-timestamp` is the time of this attempt, in seconds since
//! 1970; `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`. The key is what follows
//! `whsec_`, decoded from base64, or whatever else the secret is, as it is.

mod template;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};

pub use self::template::check_template;
use super::form::Form;
use super::http::{Client, each_by, header as header_of, later, never};
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::{LineFormat, WebhookOptions};

/// How many messages go by one connection.
const BATCH: usize = 64;

/// What a key in base64 begins with.
const KEY_PREFIX: &str = "whsec_";

/// The channel.
#[derive(Clone, Debug)]
pub struct Webhook {
    options: WebhookOptions,
    form: Form,
    timeout: Duration,
}

impl Webhook {
    /// A webhook as it is configured.
    pub fn new(options: WebhookOptions, timeout: Duration) -> Self {
        Webhook { options, form: Form::default(), timeout }
    }

    /// The same with bodies in this format, where no template makes them.
    #[must_use]
    pub fn told_in(self, format: LineFormat) -> Self {
        Webhook { form: Form::new(format), ..self }
    }

    fn begin(&self) -> Result<Begun, Delivery> {
        let mut client = Client::open(&self.options.http, "", self.timeout)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.options.headers {
            let (name, value) = header_of(name, value)?;
            headers.insert(name, value);
        }
        if let Some(place) = &self.options.authorization {
            headers.insert(header::AUTHORIZATION, client.secret_header(place)?);
        }
        let key = match &self.options.signing_key {
            Some(place) => {
                let unfit = || {
                    later(format!(
                        "what follows {KEY_PREFIX} in {place} is no base64; write the whole key there"
                    ))
                };
                Some(key_of(&client.secret(place)?).ok_or_else(unfit)?)
            }
            None => None,
        };
        Ok(Begun { client, headers, key })
    }

    fn post(&self, begun: &Begun, message: &Message, now: Timestamp) -> Delivery {
        let body = match self.body(message) {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        // The format has no form for it.
        if body.is_empty() {
            return Delivery::Delivered;
        }
        let mut headers = begun.headers.clone();
        let (id, time) = (message.id().to_string(), now.as_second().to_string());
        let signature = begun.key.as_ref().and_then(|key| sign(key, &id, &time, &body));
        for (name, value) in
            [("webhook-id", Some(id)), ("webhook-timestamp", Some(time)), (SIGNATURE, signature)]
        {
            let value = value.and_then(|value| HeaderValue::try_from(value).ok());
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        begun.client.post(&self.options.content_type, &headers, &body, now)
    }

    fn body(&self, message: &Message) -> Result<Vec<u8>, Delivery> {
        match &self.options.template {
            Some(template) => {
                template::render(template, &self.options.content_type, &message.event()).map_err(never)
            }
            None => self.form.payload(message),
        }
    }
}

impl Channel for Webhook {
    fn batch(&self) -> usize {
        BATCH
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        each_by(self.begin(), messages, self.timeout, |begun, message| self.post(begun, message, now))
    }
}

/// What a call needs for each of its messages.
struct Begun {
    client: Client,
    headers: HeaderMap,
    key: Option<Hmac<Sha256>>,
}

const SIGNATURE: &str = "webhook-signature";

/// The key that a secret is; `None` for one that says that it is base64, and is not.
fn key_of(secret: &SecretString) -> Option<Hmac<Sha256>> {
    let secret = secret.expose_secret();
    let bytes = match secret.strip_prefix(KEY_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    Hmac::new_from_slice(&bytes).ok()
}

fn sign(key: &Hmac<Sha256>, id: &str, time: &str, body: &[u8]) -> Option<String> {
    let mut mac = key.clone();
    for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
        mac.update(part);
    }
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signs_as_the_specification_has_it() {
        let key = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let key = key_of(&key).expect("a key");
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = sign(&key, id, "1614265330", body).expect("a signature");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_is_base64_only_where_it_says_so() {
        for (secret, is_one) in
            [("whsec_AAAA", true), ("AAAA", true), ("no base64!", true), ("whsec_!", false)]
        {
            assert_eq!(key_of(&SecretString::from(secret)).is_some(), is_one, "{secret}");
        }
    }
}

//! What may not be said: secrets are taken out of whatever a server answers, before anybody keeps or reads it.

use std::cmp::Reverse;

use secrecy::{ExposeSecret, SecretString};
use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::target::foreign::harmless;

/// What stands where a secret was.
const GONE: &str = "[secret]";

/// The fewest characters of something that is taken for a secret of its own. What is shorter would be found everywhere.
const SHORTEST: usize = 4;

/// The most characters of a reason.
const LONGEST: usize = 400;

/// Secrets, and their parts that are secret as well.
#[derive(Default)]
pub struct Hush(Vec<SecretString>);

impl Hush {
    /// Keeps quiet about a secret, about the words that it consists of, and about both as they look in an address.
    pub fn add(&mut self, secret: &str) {
        let words = secret.split([' ', ':']);
        for text in std::iter::once(secret).chain(words) {
            self.push(text);
            self.push(&decoded(text));
        }
    }

    /// Keeps quiet about what is secret in an address that is none by itself: who uses it, and what it asks for.
    pub fn add_confidants(&mut self, uri: &Uri) {
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@') {
            self.add(user);
        }
        if let Some(query) = uri.query() {
            self.add(query);
            for part in query.split('&') {
                self.add(part.split_once('=').map_or(part, |(_, value)| value));
            }
        }
    }

    /// Keeps quiet about everything in an address but its host.
    pub fn add_all_of(&mut self, uri: &Uri) {
        self.add_confidants(uri);
        self.add(&uri.to_string());
        self.add(uri.path());
        uri.path().split('/').for_each(|part| self.add(part));
    }

    /// The text without them.
    pub fn over(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), GONE);
            }
        }
        text
    }

    fn push(&mut self, text: &str) {
        if text.chars().count() >= SHORTEST {
            self.0.push(text.into());
            // The longest first: it may consist of others.
            self.0.sort_by_key(|secret| Reverse(secret.expose_secret().len()));
        }
    }
}

/// A reason as it may be shown: short, and of plain visible characters.
pub fn fit(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => harmless(text).into_owned(),
        Some((end, _)) => format!("{}...", harmless(&text[..end])),
    }
}

/// A text without the percent signs of an address.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_secret_address_is_repeated_however_it_is_spelt() {
        let mut hush = Hush::default();
        let uri = "https://joe:sesame@hooks.example.com/services/T0AAA/B0BBB/x%2By%2Bz?token=abcd1234&n=1";
        hush.add_all_of(&uri.parse().expect("an address"));
        for (said, shown) in [
            (uri, "[secret]"),
            ("no /services/T0AAA/B0BBB/x%2By%2Bz?token=abcd1234&n=1", "no [secret]?[secret]"),
            (r"no \/services\/T0AAA\/B0BBB", r"no \/[secret]\/[secret]\/[secret]"),
            ("no team T0AAA", "no team [secret]"),
            ("hook x+y+z is gone", "hook [secret] is gone"),
            ("bad token abcd1234!", "bad token [secret]!"),
            ("user joe:sesame, password sesame", "user [secret], password [secret]"),
            ("host hooks.example.com says no_team", "host hooks.example.com says no_team"),
        ] {
            assert_eq!(hush.over(said), shown, "{said}");
        }
    }

    #[test]
    fn of_an_address_that_is_no_secret_only_its_users_and_questions_are() {
        let mut hush = Hush::default();
        hush.add_confidants(&"http://joe:sesame@h.example/hook/soc?key=k3y5".parse().expect("an address"));
        assert_eq!(hush.over("/hook/soc: sesame? k3y5"), "/hook/soc: [secret]? [secret]");
    }

    #[test]
    fn the_words_of_an_authorization_are_secret_one_by_one() {
        let mut hush = Hush::default();
        hush.add("Bearer s3same-0pen");
        assert_eq!(hush.over("token s3same-0pen is unknown"), "token [secret] is unknown");
    }

    #[test]
    fn reasons_are_short_and_of_visible_characters() {
        assert_eq!(fit("a\x1b[2J\n\u{202e}b"), r"a\x1b[2J\n\u{202e}b");
        assert_eq!(fit(&"x".repeat(5000)).len(), LONGEST + 3);
    }
}

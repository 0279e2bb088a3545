//! JSON in which no key is lost: the usual reader keeps the last of two that are the same, and says nothing.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::target::foreign::Harmless;

/// A document, and where in it a key stands a second time in one object.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The document; of two values behind one key the first.
    pub value: Value,
    /// The paths of the others, such as `.a[0].ip`.
    pub repeated: Vec<String>,
}

/// Reads one document.
///
/// # Errors
/// When it is no JSON.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
    let account = RefCell::new(Account::default());
    let value = Reader { account: &account }.deserialize(deserializer)?;
    Ok(Document { value, repeated: account.into_inner().repeated })
}

/// The way to where the reader is, and the ways to what stood there before.
#[derive(Debug, Default)]
struct Account {
    steps: Vec<String>,
    repeated: Vec<String>,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    account: &'a RefCell<Account>,
}

impl Reader<'_> {
    fn step(self, step: String) {
        self.account.borrow_mut().steps.push(step);
    }

    fn back(self) {
        self.account.borrow_mut().steps.pop();
    }

    fn repeats(self) {
        let mut account = self.account.borrow_mut();
        let place = account.steps.concat();
        account.repeated.push(place);
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        self.step("[0]".to_owned());
        while let Some(entry) = entries.next_element_seed(self)? {
            array.push(entry);
            self.back();
            self.step(format!("[{}]", array.len()));
        }
        self.back();
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.step(format!(".{}", Harmless(&key)));
            let value = entries.next_value_seed(self)?;
            if object.contains_key(&key) {
                self.repeats();
            } else {
                object.insert(key, value);
            }
            self.back();
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str) -> serde_json::Result<Document> {
        read(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn says_where_a_key_stands_again() {
        let text = r#"{"a": [{"ip": 1}, {"ip": 2, "ip": 3, "\u001b": {}, "\u001b": 4}], "a": [5, {"b": 1, "b": 2}]}"#;
        let document = read_text(text).expect("JSON");
        assert_eq!(document.repeated, [".a[1].ip", ".a[1].\\x1b", ".a[1].b", ".a"]);
        assert_eq!(document.value, serde_json::json!({"a": [{"ip": 1}, {"ip": 2, "\u{1b}": {}}]}));
    }

    proptest! {
        #[test]
        fn reads_what_the_usual_reader_reads(text in "[\\[\\]{}\",:a-c0-9.e ntrulfase-]{0,40}") {
            let usual = serde_json::from_str::<Value>(&text);
            match (read_text(&text), usual) {
                (Ok(document), Ok(value)) if document.repeated.is_empty() => {
                    prop_assert_eq!(document.value, value);
                }
                // The usual one wants nothing behind the document.
                (Ok(_), _) => {}
                (Err(_), usual) => prop_assert!(usual.is_err(), "{}", text),
            }
        }
    }
}

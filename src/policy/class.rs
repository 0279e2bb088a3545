//! Classes of findings: which people each is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The class of a finding. A route binds it to sinks. Three are built in, and a configuration can name more.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Class(String);

/// The most characters of a class's name.
const LONGEST: usize = 32;

impl Class {
    /// What must not be reachable, and is: for those who guard the networks.
    pub fn security() -> Self {
        Class("security".to_owned())
    }

    /// What must be reachable, and is not: for those who run the services.
    pub fn health() -> Self {
        Class("health".to_owned())
    }

    /// What keeps this program from its work: for those who run it. Where no route names it, it goes where health goes.
    pub fn own() -> Self {
        Class("own".to_owned())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Class {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        Class::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Class {
    type Error = ClassError;

    fn try_from(text: String) -> Result<Self, ClassError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let is_named = text.starts_with(|c: char| c.is_ascii_lowercase());
        if is_named && text.len() <= LONGEST && text.chars().all(fits) {
            Ok(Class(text))
        } else {
            Err(ClassError { text })
        }
    }
}

impl From<Class> for String {
    fn from(class: Class) -> String {
        class.0
    }
}

/// A text that names no class.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "`{text}` is no class of findings; write security, health, own, or a name of your own: up to {LONGEST} lower-case \
     letters, digits, - and _, the first of them a letter"
)]
pub struct ClassError {
    text: String,
}

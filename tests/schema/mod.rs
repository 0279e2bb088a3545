//! As much of JSON Schema, draft 2020-12, as the schema of the events uses. A keyword that is not known here is a
//! panic, so that no part of the schema goes unchecked.

use serde_json::{Map, Value};

/// A schema, and the definitions that it refers to.
pub struct Schema(Value);

impl Schema {
    /// Reads a schema.
    pub fn parse(text: &str) -> Self {
        Schema(serde_json::from_str(text).expect("a schema is JSON"))
    }

    /// Says what is wrong with a value, and where.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.fits(&self.0, value, "")
    }

    fn fits(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let object = schema.as_object().expect("a schema is an object");
        object.iter().try_for_each(|(keyword, wanted)| self.keyword(object, keyword, wanted, value, place))
    }

    fn keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        wanted: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let require = |fits: bool| {
            if fits { Ok(()) } else { Err(format!("{place}: {value} does not fit {keyword}: {wanted}")) }
        };
        match keyword {
            "$schema" | "$defs" | "title" | "description" => Ok(()),
            "$ref" => self.fits(self.definition(wanted), value, place),
            "oneOf" => self.one_of(wanted, value, place),
            "const" => require(value == wanted),
            "enum" => require(wanted.as_array().expect("a list").contains(value)),
            "type" => require(match wanted {
                Value::Array(types) => types.iter().any(|name| is(name, value)),
                name => is(name, value),
            }),
            "minimum" => require(number(value).is_none_or(|n| n >= number(wanted).expect("a number"))),
            "maximum" => require(number(value).is_none_or(|n| n <= number(wanted).expect("a number"))),
            "minLength" => require(length(value).is_none_or(|n| Some(n) >= number(wanted))),
            "maxLength" => require(length(value).is_none_or(|n| Some(n) <= number(wanted))),
            "format" => {
                assert_eq!(wanted, "date-time");
                require(value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.into_iter().try_for_each(|(at, item)| self.fits(wanted, item, &format!("{place}/{at}")))
            }
            "required" => {
                let has = |name: &Value| value.get(name.as_str().expect("a name")).is_some();
                require(!value.is_object() || wanted.as_array().expect("a list").iter().all(has))
            }
            "properties" => wanted.as_object().expect("properties").iter().try_for_each(|(name, schema)| {
                let place = format!("{place}/{name}");
                value.get(name).map_or(Ok(()), |value| self.fits(schema, value, &place))
            }),
            "additionalProperties" => {
                assert_eq!(wanted, false);
                let known = schema["properties"].as_object().expect("properties");
                let unknown =
                    value.as_object().and_then(|o| o.keys().find(|name| !known.contains_key(*name)));
                unknown.map_or(Ok(()), |name| Err(format!("{place}: `{name}` is not in the schema")))
            }
            other => panic!("this test does not know the keyword {other}"),
        }
    }

    fn definition(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not defined"))
    }

    fn one_of(&self, schemas: &Value, value: &Value, place: &str) -> Result<(), String> {
        let results: Vec<_> = schemas
            .as_array()
            .expect("a list")
            .iter()
            .map(|schema| self.fits(schema, value, place))
            .collect();
        match results.iter().filter(|result| result.is_ok()).count() {
            1 => Ok(()),
            fitting => Err(format!("{place}: {fitting} schemas fit: {results:?}")),
        }
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("this test does not know the type {other}"),
    }
}

fn number(value: &Value) -> Option<i128> {
    value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from))
}

fn length(value: &Value) -> Option<i128> {
    value.as_str().map(|text| text.chars().count() as i128)
}

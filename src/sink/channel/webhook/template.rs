//! Bodies that the operator has written: templates, with the event as their variables.
//!
//! Where the body is JSON, whatever a template inserts becomes a JSON value, quotes and all. So no name and no banner
//! can break out of the place that it was given, and a template that puts quotes around it is found out when it is
//! read.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

const NAME: &str = "template";

/// An alert with everything that one can have, and one with nothing but what each has.
const FULL: &str = include_str!("full.json");
const BARE: &str = include_str!("bare.json");

/// Whether a template can be used for bodies of this type.
///
/// # Errors
/// Its mistake, with the line of it: it is no template, it asks for what no alert has or for what not every alert has,
/// or it makes no JSON where it should.
pub fn check_template(template: &str, content_type: &str) -> Result<(), String> {
    let samples = [
        (FULL, ""),
        (BARE, "; this is an alert about no address: ask `is defined` first, or add `| default(\"\")`"),
    ];
    for (sample, remedy) in samples {
        let sample: serde_json::Value = serde_json::from_str(sample).map_err(|error| error.to_string())?;
        render(template, content_type, &sample).map_err(|why| format!("{why}{remedy}"))?;
    }
    Ok(())
}

/// The body that a template makes of an event.
///
/// # Errors
/// Why it makes none, with the line.
pub fn render(template: &str, content_type: &str, event: &impl Serialize) -> Result<Vec<u8>, String> {
    let is_json = is_json(content_type);
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(move |_| if is_json { AutoEscape::Json } else { AutoEscape::None });
    let compiled = environment.template_from_named_str(NAME, template);
    let body =
        compiled.and_then(|compiled| compiled.render(Serde(event))).map_err(|error| in_words(&error))?;
    if is_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&body) {
        return Err(format!(
            "the template makes no JSON: {error} of what it makes; values bring their own quotes, so write \
             {{{{ message }}}} and not \"{{{{ message }}}}\""
        ));
    }
    Ok(body.into_bytes())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

fn in_words(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line} of the template: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{line}{}{detail}", error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";

    #[test]
    fn mistakes_are_found_when_a_template_is_read() {
        for (template, kind, mistake) in [
            ("{\"text\": {{ message }},\n \"at\": {{ time }}}", JSON, None),
            ("{\"text\": {{ message | tojson }}}", JSON, None),
            ("{\"ip\": {{ ip | default(\"\") }}}", JSON, None),
            ("{\"ip\": {% if ip is defined %}{{ ip }}{% else %}null{% endif %}}", JSON, None),
            ("{\"port\": {{ port | default(0) }}, \"all\": {{ names | default([]) }}}", JSON, None),
            ("[{{ severity }}] {{ message }}", "text/plain; charset=utf-8", None),
            ("x\n\n{{ message", JSON, Some("line 3")),
            ("x\n{{ mesage }}", "text/plain", Some("line 2 of the template: undefined value")),
            ("x\n{{ ip }}", "text/plain", Some("is defined")),
            ("{\"text\": \"{{ message }}\"}", JSON, Some("bring their own quotes")),
            ("{\"text\": {{ message }}", "application/cloudevents+json", Some("makes no JSON")),
            ("{% include \"/etc/passwd\" %}", "text/plain", Some("line 1")),
            ("{{ message | nofilter }}", "text/plain", Some("nofilter")),
        ] {
            match (check_template(template, kind), mistake) {
                (Ok(()), None) => {}
                (Err(why), Some(mistake)) => assert!(why.contains(mistake), "{template}: {why}"),
                (found, _) => panic!("{template}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_others_wrote_stays_within_its_value() {
        let event = serde_json::json!({"message": "\"}, \"x\": \"\n\u{1b}[2J \\ud800 <!channel>"});
        for template in ["{\"text\": {{ message }}}", "{\"text\": {{ message | tojson }}}"] {
            let body = render(template, JSON, &event).expect("a body");
            assert!(!body.iter().any(u8::is_ascii_control), "{body:?}");
            let back: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(back["text"], event["message"]);
            assert_eq!(back.as_object().map(serde_json::Map::len), Some(1));
        }
    }
}

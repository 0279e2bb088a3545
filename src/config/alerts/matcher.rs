//! Which alerts are meant, by a maintenance window or by a route.

use super::{Classes, KINDS, OWNERS, read_kind, read_severity};
use crate::alert::silence::Matcher;
use crate::config::allow::{PORTS, read_hosts};
use crate::config::document::Section;
use crate::config::value::{Key, Placed, Value, values};
use crate::policy::class::Class;

static CLASSES: Key = Key { name: "classes", example: "[\"security\"]" };

/// Reads the conditions of a table: all that are said must hold.
pub(super) fn read_matcher(section: &mut Section<'_>, classes: &mut Classes) -> Matcher {
    let hosts = read_hosts(section).unwrap_or_default();
    let ports = section.take(&PORTS).and_then(Value::ports);
    let kinds = values(section.list_some(&KINDS, "kind", read_kind));
    let asked: Vec<Placed<Class>> = section.list_some(&CLASSES, "class", Value::parsed).unwrap_or_default();
    let owners = values(section.list_some(&OWNERS, "owner", Value::text));
    let severity = read_severity(section);
    classes.asked.extend(asked.iter().cloned());
    let asked = values(Some(asked));
    Matcher { fingerprint: None, hosts, ports, kinds, classes: asked, owners, severity }
}

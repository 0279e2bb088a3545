//! The allowlist as a bundle keeps it: as the file that was used, and as statements about each exception.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::manifest::Exception;
use crate::policy::allowlist::{Allowance, Allowlist};
use crate::sweep::report::Observation;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, merge, subtract};

/// The exceptions that name anything of this scope, with the open targets that make use of each.
pub fn exceptions(
    allowlist: &Allowlist,
    opens: &[Observation],
    scope: &Scope,
    now: Timestamp,
) -> Vec<Exception> {
    let mut used = vec![0; allowlist.allowances().len()];
    for seen in opens {
        allowlist.visit(&seen.target, |at| used[at] += 1);
    }
    let named = allowlist.allowances().iter().zip(used);
    named
        .filter(|(allowance, _)| concerns(allowance, scope))
        .map(|(allowance, used_by)| Exception {
            id: allowance.approval.id.clone(),
            hosts: allowance.hosts.clone(),
            ports: allowance.ports.clone(),
            reason: allowance.reason.clone(),
            owner: allowance.owner.clone(),
            approver: allowance.approval.approver.clone(),
            compensating: allowance.approval.compensating.clone(),
            expires: allowance.expires,
            expired: allowance.is_expired(now),
            used_by,
        })
        .collect()
}

/// Whether an allowance names any target of the scope.
fn concerns(allowance: &Allowance, scope: &Scope) -> bool {
    let hosts = merge(&allowance.hosts);
    allowance.ports.iter().any(|port| scope.ports().slot_of(port).is_some())
        && subtract(&hosts, scope.ranges()) != hosts
}

/// The allowlist without the lines in which it stands: the same exceptions stand elsewhere in the evidence than they
/// did in the configuration.
pub fn without_lines(allowances: &[Allowance]) -> Allowlist {
    let allowances = allowances.iter().cloned();
    Allowlist::new(allowances.map(|allowance| Allowance { line: None, ..allowance }).collect())
}

/// The allowlist as a file of `[[allow]]` tables, in the order in which it was read; whoever reads it has the same
/// allowlist again.
pub fn as_toml(allowances: &[Allowance]) -> String {
    let mut text = String::from("# What was allowed to be open when this run was concluded.\n");
    for allowance in allowances {
        let table = Table {
            id: allowance.approval.id.as_deref(),
            hosts: &allowance.hosts,
            ports: &allowance.ports,
            reason: &allowance.reason,
            owner: &allowance.owner,
            approver: allowance.approval.approver.as_deref(),
            compensating: allowance.approval.compensating.as_deref(),
            warn_before: format!("{}s", allowance.warn_before.as_secs()),
        };
        // Texts, lists of texts and numbers always make TOML.
        let table = toml::to_string(&table).unwrap_or_default();
        let _ = write!(text, "\n[[allow]]\n{table}");
        if let Some(expires) = allowance.expires {
            let _ = writeln!(text, "expires = {expires}");
        }
    }
    text
}

#[derive(Serialize)]
struct Table<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    hosts: &'a [AddressRange],
    ports: &'a PortSet,
    reason: &'a str,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compensating: Option<&'a str>,
    warn_before: String,
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::config::diagnostic::Source;
    use crate::config::file::parse_allowlist;

    fn read(text: &str) -> Vec<Allowance> {
        let allowances = parse_allowlist(&Source::new("allow.toml", text)).expect(text);
        allowances.into_iter().map(|allowance| Allowance { line: None, ..allowance }).collect()
    }

    #[test]
    fn comes_back_from_its_file() {
        let text = "
            [[allow]]
            hosts = [\"198.18.0.10\", \"2001:db8::/64\"]
            ports = [22, \"8000-8100\"]
            reason = \"quotes \\\" and \\u0007 bells\"
            owner = \"netops\"
            id = \"NET-1\"
            approver = \"ciso\"
            compensating = \"bastion\"
            expires = 2027-03-31
            warn_before = \"30d\"

            [[allow]]
            hosts = [\"198.18.0.11-198.18.0.19\"]
            ports = [5432]
            reason = \"orders\"
            owner = \"dba\"
            expires = 2027-03-31T12:00:00Z
        ";
        let allowances = read(text);
        assert_eq!(read(&as_toml(&allowances)), allowances);
    }
}

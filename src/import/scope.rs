//! The scope of a sweep, made again of what `sweep.started` says of it.

use std::net::IpAddr;

use serde::Deserialize;

use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, Shard, merge, subtract};

/// `scope` of `sweep.started`.
#[derive(Deserialize)]
pub(super) struct ScopeLine {
    networks: Vec<String>,
    #[serde(default)]
    sources: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    left_out: Vec<LeftOutLine>,
    ports: Vec<String>,
    declared: u64,
}

#[derive(Deserialize)]
struct LeftOutLine {
    ip: IpAddr,
}

impl ScopeLine {
    /// The ports, as a list.
    pub(super) fn ports(&self) -> String {
        self.ports.join(",")
    }

    /// What may have been typed for it.
    pub(super) fn as_command(&self) -> String {
        let exclude: String = self.exclude.iter().map(|network| format!(" --exclude {network}")).collect();
        let networks = self.networks.join(" ");
        format!("portreeve sweep {networks}{exclude} --ports {}", self.ports())
    }
}

/// The scope, where its networks are addresses: what names and files stood for is not in there. The count of its
/// targets has to be what the sweep itself has declared.
pub(super) fn scope_of(line: &ScopeLine, shard: Option<Shard>) -> Option<Scope> {
    if !line.sources.is_empty() {
        return None;
    }
    let ranges = |texts: &[String]| -> Option<Vec<AddressRange>> {
        texts.iter().map(|text| text.parse().ok()).collect()
    };
    let ports: PortSet = line.ports().parse().ok()?;
    let whole = Scope::new(&ranges(&line.networks)?, &ranges(&line.exclude)?, ports).ok()?;
    let part = match shard {
        Some(Shard { number, of }) if (1..=of).contains(&number) => whole.shard(number, of).ok()?,
        Some(_) => return None,
        None => whole,
    };
    let left_out: Vec<AddressRange> =
        line.left_out.iter().map(|left| AddressRange::single(left.ip)).collect();
    let ranges = subtract(part.ranges(), &merge(&left_out));
    let scope = Scope::new(&ranges, &[], part.ports().clone()).ok()?;
    (scope.len() == line.declared).then_some(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(networks: &str, exclude: &str, declared: u64) -> ScopeLine {
        let json = format!(
            r#"{{"networks":[{networks}],"exclude":[{exclude}],"left_out":[{{"ip":"198.18.0.1","why":"x"}}],
                "ports":["22","80-81"],"declared":{declared}}}"#
        );
        serde_json::from_str(&json).expect("a scope")
    }

    #[test]
    fn a_scope_of_addresses_is_made_again() {
        let scope = scope_of(&line("\"198.18.0.0/28\"", "\"198.18.0.8/29\"", 21), None).expect("a scope");
        assert_eq!(scope.len(), 21);
        assert!(scope.index_of([198, 18, 0, 7].into(), 80).is_some());
        assert!(scope.index_of([198, 18, 0, 1].into(), 80).is_none(), "it was left out");
        let half = Shard { number: 2, of: 2 };
        assert_eq!(scope_of(&line("\"198.18.0.0/28\"", "", 24), Some(half)).expect("a half").hosts(), 8);
    }

    #[test]
    fn what_does_not_add_up_is_no_scope() {
        assert!(scope_of(&line("\"198.18.0.0/28\"", "", 44), None).is_none());
        assert!(scope_of(&line("\"db.example.net\"", "", 45), None).is_none());
        assert!(scope_of(&line("\"198.18.0.0/28\"", "", 45), Some(Shard { number: 9, of: 2 })).is_none());
    }
}

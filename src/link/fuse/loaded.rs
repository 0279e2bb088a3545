//! The fuse that is loaded, as `nft` tells of it.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{COUNTER, Fuse, FuseError, JUDGE, TABLE, exit_chain};

/// What is loaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// Frames that it has caught.
    pub caught: u64,
    /// The scope that it is of, see [`Fuse::identity`].
    pub identity: String,
    /// The chains that see what leaves.
    pub exits: Vec<String>,
}

impl Loaded {
    /// Reads it, by a child process.
    ///
    /// # Errors
    /// When there is none, or when it cannot be read.
    pub fn read() -> Result<Self, FuseError> {
        // Terse: without the elements of the sets, which may be many.
        let listing = ["--json", "--terse", "list", "table", "netdev", TABLE];
        let output = Command::new("nft").args(listing).env("LC_ALL", "C").stdin(Stdio::null()).output();
        let output = output.map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => FuseError::NoNft,
            _ => FuseError::Unreadable { said: cause.to_string() },
        })?;
        if output.status.success() {
            Self::parse(&output.stdout)
        } else {
            Err(refusal(&String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Understands what nft says.
    fn parse(json: &[u8]) -> Result<Self, FuseError> {
        let unreadable = |said: String| FuseError::Unreadable { said };
        let Listing { nftables } = serde_json::from_slice(json).map_err(|error| {
            unreadable(format!("its listing makes no sense ({error}); nft 1.0 or newer is needed"))
        })?;
        let mut loaded = Loaded::default();
        let mut caught = None;
        for Item { counter, chain } in nftables {
            caught =
                caught.or(counter.filter(|counter| counter.name == COUNTER).map(|counter| counter.packets));
            let Some(chain) = chain else { continue };
            if let Some(identity) = chain.name.strip_prefix(JUDGE) {
                loaded.identity = identity.to_owned();
            }
            if chain.hook.as_deref() == Some("egress") {
                loaded.exits.push(chain.name);
            }
        }
        loaded.caught = caught.ok_or(FuseError::Foreign)?;
        Ok(loaded)
    }

    /// Lets it pass if it is this fuse, in the way of every frame.
    ///
    /// # Errors
    /// When it is of something else, or leaves an interface open.
    pub fn check(&self, fuse: &Fuse) -> Result<(), FuseError> {
        if self.identity != fuse.identity() {
            return Err(FuseError::Foreign);
        }
        match fuse.devices().iter().find(|device| !self.exits.contains(&exit_chain(device))) {
            Some(device) => Err(FuseError::Uncovered { device: device.clone() }),
            None => Ok(()),
        }
    }
}

/// What nft means by a failure.
fn refusal(said: &str) -> FuseError {
    if said.contains("Operation not permitted") || said.contains("Permission denied") {
        FuseError::NotPermitted
    } else if said.contains("No such file or directory") {
        FuseError::NotLoaded
    } else {
        FuseError::Unreadable { said: said.lines().next().unwrap_or("it did not say why").to_owned() }
    }
}

/// As much of the listing as matters here.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    counter: Option<Counter>,
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Counter {
    name: String,
    packets: u64,
}

#[derive(Deserialize)]
struct Chain {
    name: String,
    hook: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::link::route::RoutePlan;

    /// What nft 1.0.6 says of a fuse, in parts.
    fn listing(judge: &str, exit: &str) -> String {
        let of_table = json!({"family": "netdev", "table": TABLE});
        let with = |more: serde_json::Value| {
            let mut whole = of_table.clone();
            whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            whole
        };
        json!({"nftables": [
            {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
            {"table": {"family": "netdev", "name": TABLE, "handle": 3}},
            {"counter": with(json!({"name": "other", "handle": 3, "packets": 1, "bytes": 60}))},
            {"counter": with(json!({"name": "caught", "handle": 4, "packets": 7, "bytes": 420}))},
            {"set": with(json!({"name": "scope4", "type": "ipv4_addr", "handle": 5, "flags": ["interval"]}))},
            {"chain": with(json!({"name": judge, "handle": 1}))},
            {"chain": with(json!({"name": exit, "handle": 2, "type": "filter", "hook": "egress", "prio": 1000,
                "policy": "accept"}))},
            {"chain": with(json!({"name": "egress_lan1", "handle": 9, "type": "filter", "hook": "ingress",
                "dev": "lan1", "prio": 0, "policy": "accept"}))},
            {"rule": with(json!({"chain": judge, "handle": 8, "expr": [{"counter": "caught"}, {"drop": null}]}))},
        ]})
        .to_string()
    }

    fn fuse(source_ports: (u16, u16), device: &str) -> Fuse {
        let ranges = [([198, 18, 0, 0].into(), [198, 18, 0, 255].into())];
        let mut fuse = Fuse::new(ranges, [22], source_ports, RoutePlan::default().hops());
        fuse.devices = vec![device.to_owned()];
        fuse
    }

    #[test]
    fn reads_what_nft_says() {
        let loaded = Loaded::parse(listing("scope_ab12", "egress_lan0").as_bytes()).expect("a fuse");
        let exits = vec!["egress_lan0".to_owned()];
        assert_eq!(loaded, Loaded { caught: 7, identity: "ab12".to_owned(), exits });
    }

    #[test]
    fn tells_this_fuse_from_others() {
        let own = fuse((16_384, 32_767), "lan0");
        let judge = format!("scope_{}", own.identity());
        let check = |judge: &str, fuse: &Fuse| {
            Loaded::parse(listing(judge, "egress_lan0").as_bytes()).and_then(|loaded| loaded.check(fuse))
        };
        assert_eq!(check(&judge, &own), Ok(()));
        assert_eq!(check("scope_ab12", &own), Err(FuseError::Foreign));
        assert_eq!(check("judge", &own), Err(FuseError::Foreign));
        assert_eq!(check(&judge, &fuse((40_000, 56_383), "lan0")), Err(FuseError::Foreign));
        // Coming in by an interface is not leaving by it.
        let uncovered = FuseError::Uncovered { device: "lan1".to_owned() };
        assert_eq!(check(&judge, &fuse((16_384, 32_767), "lan1")), Err(uncovered));
    }

    #[test]
    fn what_is_no_fuse_is_an_error() {
        let empty = r#"{"nftables": [{"table": {"family": "netdev", "name": "portreeve", "handle": 3}}]}"#;
        assert_eq!(Loaded::parse(empty.as_bytes()), Err(FuseError::Foreign));
        for text in ["", "{}", "table netdev portreeve {}", r#"{"nftables": 1}"#] {
            let refused = Loaded::parse(text.as_bytes());
            assert!(matches!(refused, Err(FuseError::Unreadable { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn knows_what_nft_means() {
        let denied = "Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed: \
                      Operation not permitted\n";
        assert_eq!(refusal(denied), FuseError::NotPermitted);
        assert_eq!(refusal("Error: No such file or directory\nlist table\n"), FuseError::NotLoaded);
        assert_eq!(refusal("Error: odd\nmore"), FuseError::Unreadable { said: "Error: odd".to_owned() });
    }
}

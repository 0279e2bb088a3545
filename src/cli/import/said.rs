//! What is said of an import before its targets, and of its file.

use super::judged::{Odd, ports};
use crate::sink::event::{Announcement, ScopeText};
use crate::sink::imported::About;
use crate::survey::{Coverage, Ending, Survey};
use crate::sweep::report::Vantage;
use crate::target::scope::Scope;

/// Where it was looked from, which is not known.
pub(super) fn vantage(survey: &Survey) -> Vantage {
    let file = survey.source.file.as_deref().unwrap_or("a file");
    Vantage {
        host: "unknown".to_owned(),
        engine: ENGINE.to_owned(),
        engine_reason: format!("read from {file}, which {} wrote", survey.source.tool),
        interface: None,
        source: None,
        next_hop: None,
    }
}

/// What stands where a sweep names what sends.
const ENGINE: &str = "import";

/// What is said before the targets.
pub(super) fn announcement(
    survey: &Survey,
    scope: Option<&Scope>,
    vantage: Vantage,
    declared: u64,
) -> Announcement {
    let ports = ports(survey).to_string();
    let ports = ports.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let networks = scope.map(Scope::ranges).unwrap_or_default();
    Announcement {
        scope: ScopeText {
            networks: networks.iter().map(ToString::to_string).collect(),
            sources: Vec::new(),
            unresolved: Vec::new(),
            exclude: Vec::new(),
            left_out: Vec::new(),
            ports,
            canaries: Vec::new(),
            canary_ports: Vec::new(),
            declared,
        },
        engine: ENGINE.to_owned(),
        vantage,
        shard: None,
        tries: 0,
        governed: false,
        rate_max_pps: None,
        host_rate_max_pps: None,
        network_rate_max_pps: None,
        seed: String::new(),
        version: env!("CARGO_PKG_VERSION"),
        owner: None,
    }
}

/// What an import says of its file.
pub(super) fn about(survey: &Survey, odd: &Odd) -> About {
    let source = &survey.source;
    let mut notes = survey.notes.clone();
    let mut left_out = |count: u64, what: &str| {
        if count > 0 {
            notes.push(format!("left out: {count} {what}"));
        }
    };
    left_out(odd.other_protocols, "targets of other protocols than TCP");
    left_out(odd.unsaid, "targets of which it is not said whether they are open");
    left_out(odd.no_port, "targets of port 0");
    if let Ending::Incomplete(why) = &survey.ending {
        notes.push(format!("incomplete: {why}"));
    }
    About {
        file: source.file.clone(),
        tool: source.tool.clone(),
        tool_version: source.version.clone(),
        args: source.args.clone(),
        coverage: match &survey.coverage {
            Coverage::Unknown => "unknown",
            Coverage::Listed => "listed",
            Coverage::Declared(_) => "declared",
        },
        ended: match &survey.ending {
            Ending::Complete => "complete",
            Ending::Incomplete(_) => "incomplete",
            Ending::Unsaid => "unsaid",
        },
        notes,
    }
}

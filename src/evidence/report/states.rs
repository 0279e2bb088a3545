//! States and reasons in words.

use minijinja::Value;
use serde::Serialize;

use super::charts::bar;
use super::words::share;
use crate::evidence::manifest::Completeness;
use crate::sweep::report::UnknownReason;
use crate::target::state::State;

/// A state, and how many targets have it.
#[derive(Debug, Serialize)]
pub(super) struct StateRow {
    state: &'static str,
    meaning: &'static str,
    count: u64,
    share: String,
    bar: Value,
}

/// Why targets are unknown, and how many.
#[derive(Debug, Serialize)]
pub(super) struct UnknownRow {
    reason: &'static str,
    meaning: &'static str,
    count: u64,
    share: String,
}

/// Every state, those too that no target has.
pub(super) fn states(completeness: &Completeness) -> Vec<StateRow> {
    let ledger = &completeness.ledger;
    let row = |state: State| {
        let count = match state {
            State::Open => ledger.open,
            State::Closed => ledger.closed,
            State::Filtered => ledger.filtered,
            State::Unreachable => ledger.unreachable,
            State::Conflict => ledger.conflict,
            State::Unknown => ledger.unknown,
        };
        StateRow {
            state: state.as_str(),
            meaning: meaning(state),
            count,
            share: share(count, ledger.declared),
            bar: Value::from_safe_string(bar(&format!("b-{state}"), count, ledger.declared)),
        }
    };
    State::ALL.into_iter().map(row).collect()
}

/// The reasons that there were.
pub(super) fn unknown(completeness: &Completeness) -> Vec<UnknownRow> {
    let reasons = completeness.unknown_reasons.iter();
    let row = |(reason, count): (&UnknownReason, &u64)| UnknownRow {
        reason: reason.as_str(),
        meaning: why(*reason),
        count: *count,
        share: share(*count, completeness.ledger.declared),
    };
    reasons.map(row).collect()
}

fn meaning(state: State) -> &'static str {
    match state {
        State::Open => "Somebody listens: it accepted the beginning of a handshake.",
        State::Closed => "It refused: nobody listens there.",
        State::Filtered => "Silence that would have been heard, or a device that forbids it.",
        State::Unreachable => "The network says that there is no such host.",
        State::Conflict => "It answered as open and as closed.",
        State::Unknown => "Nothing is known of it: the failing of this run, not of the target.",
    }
}

fn why(reason: UnknownReason) -> &'static str {
    match reason {
        UnknownReason::Interrupted => "The sweep was stopped.",
        UnknownReason::ReceiverDropped => "The receiver lost packets while the answer was due.",
        UnknownReason::SendRefused => "The network device took no more probes.",
        UnknownReason::LinkFailed => "The link broke.",
        UnknownReason::LinkDown => "The interface was down.",
        UnknownReason::SourceGone => "The address that probes came from was taken away.",
        UnknownReason::NextHopSilent => "The router did not answer.",
        UnknownReason::NextHopMoved => "The router got another hardware address.",
        UnknownReason::CanariesSilent => "Targets that had answered before fell silent together.",
        UnknownReason::CanariesChanged => "Targets that had answered before gave other answers together.",
        UnknownReason::PathLossy => "So much was lost that silence proves nothing.",
        UnknownReason::NothingHeard => "Nobody answered by this path at all.",
        UnknownReason::TriesSpent => "Too few probes were sent of which an answer would have been heard.",
    }
}

//! Runs that never were: manifests and observations with everything on the page in them.

use std::fmt::Write as _;
use std::net::SocketAddr;

use portreeve::evidence::manifest::Manifest;
use portreeve::evidence::observation::TargetLine;
use portreeve::evidence::recount::Recount;
use portreeve::sweep::report::Observation;
use portreeve::sweep::verified::{Confirmation, Verification};
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use serde_json::{Value, json};

const DIGEST: &str = "56a5c98ff51359ff72527fac3e354b7656a5c98ff51359ff72527fac3e354b76";

/// A run in which everything was found, and `text` stands wherever anybody's words can.
pub fn run(text: &str) -> (Manifest, Recount) {
    let manifest = manifest(text, &[("198.18.0.18", 3306), ("198.18.0.20", 6379), ("2001:db8::5", 22)]);
    (from(manifest), recount(&[("198.18.0.18", 3306), ("198.18.0.20", 6379), ("2001:db8::5", 22)]))
}

/// A run that found this many things.
pub fn large(count: u32) -> (Manifest, Recount) {
    let addresses: Vec<(String, u16)> = (0..count)
        .map(|number| {
            let host = number / 3;
            let ip = format!("198.18.{}.{}", host / 250 % 256, host % 250 + 1);
            (ip, [22, 3306, 6379, 8080, 9200][(number * 7 % 5) as usize])
        })
        .collect();
    let targets: Vec<(&str, u16)> = addresses.iter().map(|(ip, port)| (ip.as_str(), *port)).collect();
    (from(manifest("payments", &targets)), recount(&targets))
}

pub fn from(manifest: Value) -> Manifest {
    serde_json::from_value(manifest).expect("a manifest")
}

pub fn recount(targets: &[(&str, u16)]) -> Recount {
    let mut recount = Recount::default();
    for (ip, port) in targets {
        let target = Target { ip: ip.parse().expect(ip), port: *port, transport: Transport::Tcp };
        let observation = Observation {
            target,
            state: State::Open,
            reason: Some(Reason::SynAck),
            unknown: None,
            tries: 1,
            rtt_us: Some(812),
            ttl: None,
            corrects: false,
        };
        recount.hosts_with_open_ports.insert(target.ip);
        recount.opens.push(observation);
        recount.verifications.targets.insert(target, Confirmation::default());
        recount.lines.push(TargetLine {
            tile: 1,
            time: "2026-11-26T07:54:12.5Z".parse().expect("a time"),
            names: Vec::new(),
            observation,
            verification: Verification::Verified,
            conduct: None,
            banner: None,
        });
    }
    recount
}

fn finding(text: &str, ip: &str, port: u16, number: usize) -> Value {
    let severity = ["critical", "high", "medium", "low"][number % 4];
    let mut fingerprint = String::new();
    let _ = write!(fingerprint, "{number:032x}");
    let target = SocketAddr::new(ip.parse().expect(ip), port);
    json!({
        "kind": "exposure", "fingerprint": fingerprint, "severity": severity, "ip": ip, "names": [text, "db"],
        "port": port, "transport": "tcp", "service": "mysql", "rule": "default-closed", "verified": true,
        "verification": "verified", "conduct": null, "owner": text,
        "banner": {"protocol": "mysql", "text": text},
        "first_seen": "2026-11-26T07:54:33.060Z", "last_seen": "2026-11-26T07:54:33.060Z",
        "message": format!("{target}/tcp (mysql) is open, not allowed: {text}")
    })
}

/// Everything that a manifest can have, but for the digests of files.
pub fn manifest(text: &str, targets: &[(&str, u16)]) -> Value {
    let findings: Vec<Value> =
        targets.iter().enumerate().map(|(number, (ip, port))| finding(text, ip, *port, number)).collect();
    let open = targets.len() as u64;
    let ledger = json!({"declared": 768_000, "open": open, "closed": 671_000 - open, "filtered": 96_000,
        "unreachable": 0, "conflict": 0, "unknown": 1000});
    let clock = json!({"synchronised": false, "max_error_us": 1500, "estimated_error_us": null});
    let performer = json!({"host": text, "version": "0.1.0", "program": DIGEST, "clock": clock});
    let reference = json!({"run": "01M8BDHW0QFJ4RD9F8T8T8259Y", "manifest": DIGEST});
    let change = |ip: &str| {
        let fingerprint = "00000000000000000000000000000001";
        json!({"fingerprint": fingerprint, "ip": ip, "port": 22, "message": text})
    };
    let exception = |id: &str, expires: Option<&str>, expired: bool| {
        json!({"id": id, "hosts": ["198.18.0.10", "2001:db8::/64"], "ports": "22,8000-8100", "reason": text,
            "owner": text, "approver": text, "compensating": text, "expires": expires, "expired": expired,
            "used_by": 3})
    };
    json!({
        "schema": "portreeve-evidence/1",
        "plan": {
            "schema": "portreeve-evidence/1", "run": "01M8BDHW0QFJ4RD9F8T8T8259Z",
            "planned": "2026-11-26T07:54:05.718Z",
            "control": {"id": text, "title": text, "frameworks": [text, "ISO/IEC 27001 A.8.20"],
                "frequency": text, "owner": text, "performer": text, "reviewer": text},
            "authorization": text,
            "scope": {
                "written": ["198.18.0.0/26", text], "sources": [{"file": text, "sha256": DIGEST}],
                "excluded": [{"network": "198.18.0.64/26", "reason": text}, {"network": "198.18.1.1"}],
                "unresolved": [text], "networks": ["198.18.0.0/26", "2001:db8::/122"], "ports": "1-6000",
                "hosts": 128, "declared": 768_000
            },
            "watched_ports": "22,3306,5432,6379,9200,27017", "grid": {"host_blocks": 1, "port_blocks": 1},
            "method": {
                "version": "0.1.0", "config": DIGEST, "engine": "auto", "rate_max_pps": 50_000,
                "host_rate_max_pps": 100, "network_rate_max_pps": null, "tries": 3, "attempts": 3,
                "verified": true, "banner": true, "host_discovery": false
            },
            "hours": ["22:00-05:00"], "timezone": "UTC", "key_commitment": DIGEST,
            "previous": reference, "rescan_of": reference
        },
        "conclusion": {"verdict": "fail", "assessments": [
            {"name": "coverage-complete", "met": false, "statement": text},
            {"name": "no-exposure-without-exception", "met": false, "statement": text},
            {"name": "no-expired-exception", "met": true, "statement": text}
        ]},
        "time": {
            "started": "2026-11-26T05:54:05.738Z", "completed": "2026-11-26T07:54:33.060Z", "active_ms": 3_626_657,
            "performers": [performer],
            "pauses": [{"from": "2026-11-26T06:00:00Z", "until": "2026-11-26T07:00:00Z", "why": text}],
            "clock_at_end": clock
        },
        "vantages": [{"host": text, "engine": "packet", "engine_reason": text, "interface": text,
            "source": "192.0.2.2", "next_hop": "192.0.2.1"}],
        "completeness": {
            "ledger": ledger, "unknown_reasons": {"canaries-silent": 1000},
            "tiles": [{"tile": 1, "attempts": 3, "ledger": ledger, "lines": 7, "sha256": DIGEST, "bytes": 338}],
            "packets": {"sent": 864_000, "canaries": 26_463, "received": 746_463, "foreign": 0, "dropped": 3,
                "refused": 1},
            "canaries": {"asked": 26_441, "lost": 12}, "hosts_without_open_ports": 125
        },
        "findings": findings,
        "exceptions": [exception("NET-1", Some("2026-10-31"), true), exception("NET-2", Some("2026-12-31"), false),
            exception("NET-3", None, false), exception(text, Some("2028-01-01"), false)],
        "comparison": {"with": reference, "new": [change("198.18.0.1")], "fixed": [change("198.18.0.2")],
            "excepted": [change("198.18.0.5")], "persisting": [change("198.18.0.3")], "not_seen": [change("198.18.0.4")]},
        "unwatched_ports": [{"port": 8080, "service": text, "hosts": 3}],
        "integrity": {"files": [], "merkle_root": DIGEST, "lines": 35, "journal_head": DIGEST,
            "key": "af60272d828f7889", "signer": text}
    })
}

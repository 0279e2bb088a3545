//! Importing what others saw, and comparing two runs: exit statuses, and events that fit their schema.

use std::path::Path;

use tempfile::TempDir;

use crate::{Answer, run_fed, run_in, schema};

/// A directory with the samples of `tests/data/import`, and what a test writes beside them.
fn samples() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    for entry in std::fs::read_dir(from).expect("the samples") {
        let path = entry.expect("a sample").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, directory.path().join(name)).expect("a copy");
    }
    directory
}

fn write(directory: &TempDir, name: &str, text: &str) {
    std::fs::write(directory.path().join(name), text).expect("a file");
}

fn read(directory: &TempDir, name: &str) -> String {
    std::fs::read_to_string(directory.path().join(name)).expect(name)
}

/// Every event of an answer, each of which fits the schema.
fn checked(answer: &Answer) -> Vec<serde_json::Value> {
    let schema = schema::Schema::parse(portreeve::sink::event::JSON_SCHEMA);
    let events = answer.events();
    for event in &events {
        schema.check(event).unwrap_or_else(|error| panic!("{error}\n{event}"));
    }
    events
}

#[test]
fn exit_statuses_are_those_of_a_sweep() {
    let directory = samples();
    let allow_all = r#"[[allow]]
hosts = ["198.18.0.0/16"]
ports = ["1-65535"]
reason = "lab"
owner = "lab"
"#;
    write(&directory, "allow.toml", allow_all);
    write(&directory, "clean.json", "[]\n");
    write(&directory, "broken.json", "[{\n");
    for (args, status) in [
        (&["portreeve.jsonl"][..], 1),
        (&["portreeve.jsonl", "--allowlist", "allow.toml"], 0),
        (&["nmap.extra.xml"], 0),
        (&["nmap.sv.xml"], 1),
        (&["nmap.down.xml"], 3),
        (&["masscan.json"], 3),
        (&["clean.json"], 3),
        (&["nmap.extra.xml", "masscan.json"], 3),
        (&["nmap.extra.xml", "nmap.sv.xml"], 1),
        (&["broken.json"], 2),
        (&["broken.json", "--partial"], 3),
        (&["nmap.aborted.xml"], 2),
        (&["nmap.aborted.xml", "--partial"], 3),
        (&["nowhere.xml"], 2),
        (&["."], 2),
    ] {
        let answer = run_in(directory.path(), &[&["import"], args].concat());
        assert_eq!(answer.status, Some(status), "{args:?}\n{}{}", answer.stdout, answer.stderr);
    }
    let answer = run_in(directory.path(), &["import", "."]);
    assert_eq!(answer.stderr, "error: .: it is a directory, not a file; name a file of results in it\n");
}

#[test]
fn events_of_an_import_fit_the_schema_and_say_what_is_proved() {
    let directory = samples();
    for (file, verdict, coverage, findings) in [
        ("portreeve.jsonl", "complete", "listed", 12),
        ("nmap.udp.xml", "complete", "listed", 2),
        ("nmap.down.xml", "degraded", "unknown", 1),
        ("masscan.closed.json", "degraded", "unknown", 11),
        ("masscan.nd", "degraded", "unknown", 12),
        ("zmap.csv", "degraded", "unknown", 1),
        ("naabu.jsonl", "degraded", "unknown", 3),
    ] {
        let args = ["import", file, "--format", "jsonl", "--states", "all"];
        let events = checked(&run_in(directory.path(), &args));
        let (first, last) = (&events[0], events.last().expect("an end"));
        assert_eq!((&first["event"], &first["engine"]), (&"sweep.started".into(), &"import".into()));
        assert_eq!(first["import"]["coverage"], coverage, "{file}");
        assert_eq!(
            (&last["event"], &last["verdict"]),
            (&"sweep.completed".into(), &verdict.into()),
            "{file}"
        );
        let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
        assert_eq!(of("finding"), findings, "{file}");
        assert_eq!(last["ledger"]["declared"], of("port"), "{file}");
    }
    let notes = run_in(directory.path(), &["import", "nmap.udp.xml", "--format", "jsonl"]);
    let notes = notes.events()[0]["import"]["notes"].to_string();
    assert!(notes.contains("left out: 1 targets of other protocols than TCP"), "{notes}");
}

#[test]
fn nothing_is_written_when_one_file_is_broken() {
    let directory = samples();
    write(&directory, "out", "precious\n");
    let args = ["import", "masscan.json", "nmap.aborted.xml", "--format", "jsonl", "--output", "out"];
    let answer = run_in(directory.path(), &args);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""));
    assert_eq!(read(&directory, "out"), "precious\n");
    let onto_itself = run_in(directory.path(), &["import", "masscan.json", "--output", "masscan.json"]);
    assert!(onto_itself.stderr.contains("choose another file"), "{}", onto_itself.stderr);
    let two = run_in(directory.path(), &["import", "masscan.json", "nmap.sv.xml", "--format", "nmap"]);
    assert!(two.stderr.contains("import one file at a time"), "{}", two.stderr);
}

#[test]
fn other_forms_come_out() {
    let directory = samples();
    let of =
        |format: &str| run_in(directory.path(), &["import", "portreeve.jsonl", "--format", format]).stdout;
    assert_eq!(of("csv").lines().count(), 13);
    assert!(
        of("nmap").starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>\n<nmaprun ")
    );
    let masscan: serde_json::Value = serde_json::from_str(&of("masscan")).expect("an array");
    assert_eq!(masscan.as_array().expect("an array").len(), 60);
    let fed = run_fed(directory.path(), &["import", "-"], &read(&directory, "masscan.list"));
    assert!(fed.stdout.contains("standard input: masscan\n"), "{}", fed.stdout);
}

#[test]
fn a_difference_is_told_and_what_was_not_seen_is_not_called_closed() {
    let directory = samples();
    let text = read(&directory, "portreeve.jsonl");
    let opens: String = text
        .lines()
        .filter(|line| !line.contains("\"state\":\"closed\"") && !line.contains("\"state\":\"filtered\""))
        .map(|line| format!("{line}\n"))
        .collect();
    write(&directory, "opens.jsonl", &opens);
    let missing_one: String = opens
        .lines()
        .filter(|line| !(line.contains("\"198.18.0.2\"") && line.contains(":3306")))
        .map(|line| format!("{line}\n"))
        .collect();
    let fewer = missing_one.replace("\"open\":12,\"closed\":48", "\"open\":11,\"closed\":49");
    write(&directory, "fewer.jsonl", &fewer);
    write(&directory, "none.json", "[]\n");
    for (old, new, status, says) in [
        ("portreeve.jsonl", "portreeve.jsonl", 0, "nothing differs"),
        ("portreeve.jsonl", "opens.jsonl", 0, "nothing differs"),
        ("opens.jsonl", "fewer.jsonl", 1, "198.18.0.2:3306/tcp mysql  open (syn-ack) -> not open"),
        ("fewer.jsonl", "opens.jsonl", 1, "198.18.0.2:3306/tcp mysql  not open -> open (syn-ack)"),
        ("portreeve.jsonl", "fewer.jsonl", 1, "closed: 1"),
        ("masscan.json", "masscan.list", 0, "nothing differs"),
        ("masscan.json", "none.json", 3, "not seen: 12"),
        ("opens.jsonl", "masscan.json", 3, "and 68 that are not listed one by one"),
        ("portreeve.jsonl", "none.json", 3, "nothing differs: 0 opened, 0 closed, 0 changed, 80 not seen"),
        ("none.json", "masscan.json", 1, "not seen -> open (syn-ack)"),
    ] {
        let answer = run_in(directory.path(), &["diff", old, new]);
        assert_eq!(answer.status, Some(status), "{old} {new}\n{}{}", answer.stdout, answer.stderr);
        assert!(answer.stdout.contains(says), "{old} {new}\n{}", answer.stdout);
        let args = ["diff", old, new, "--format", "jsonl"];
        let events = checked(&run_in(directory.path(), &args));
        let without_time = |answer: &Answer| -> Vec<serde_json::Value> {
            let mut events = answer.events();
            events.iter_mut().for_each(|event| event["time"] = 0.into());
            events
        };
        let (once, again) = (run_in(directory.path(), &args), run_in(directory.path(), &args));
        assert_eq!(without_time(&once), without_time(&again));
        assert_eq!(events.last().expect("an end")["event"], "diff.completed");
    }
}

#[test]
fn a_file_that_cannot_be_compared_is_an_error() {
    let directory = samples();
    for (args, says) in [
        (&["nmap.aborted.xml", "nmap.sv.xml"][..], "nmap.aborted.xml:byte 537: the document has no end"),
        (&["nmap.sv.xml", "."], ".: it is a directory, not a file"),
        (&["-", "-"], "standard input can be read once only"),
        (&["nmap.sv.xml", "portreeve.jsonl", "--sweep", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], "no sweep in it is"),
        (&["nmap.sv.xml", "zmap.csv", "--input-format", "nmap"], "zmap.csv:byte "),
    ] {
        let answer = run_in(directory.path(), &[&["diff"], args].concat());
        assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(answer.stderr.contains(says), "{args:?}\n{}", answer.stderr);
    }
    let partial = run_in(directory.path(), &["diff", "nmap.sv.xml", "nmap.aborted.xml", "--partial"]);
    assert_eq!(partial.status, Some(3), "{}", partial.stdout);
    assert!(partial.stdout.contains("incomplete: it was read up to byte 537"), "{}", partial.stdout);
}

//! The formats for those who gather events, of real sweeps: each says what was found and what that is worth.

use std::fs;

use serde_json::Value;

use crate::{Service, portreeve, run};

/// The words of formats, and what one line of each has when something is exposed.
const STREAMED: [(&str, &str); 4] = [
    ("ecs", "\"action\":\"exposure-found\""),
    ("ocsf", "\"class_uid\":2004"),
    ("hec", "\"sourcetype\":\"portreeve:exposure\""),
    ("cef", "|exposure.found|Port open that is not allowed|"),
];

#[test]
fn a_sweep_is_told_in_each_format_from_its_beginning_to_its_end() {
    let service = Service::open("127.77.3.1");
    for (word, found) in STREAMED {
        let answer = run(&["sweep", "127.77.3.1", "--ports", &service.port(), "--format", word]);
        assert_eq!(answer.status, Some(1), "{answer:?}");
        assert_eq!(answer.stderr, "", "{word}");
        let lines: Vec<&str> = answer.stdout.lines().collect();
        assert!(answer.stdout.ends_with('\n') && lines.len() >= 4, "{answer:?}");
        assert!(lines[0].contains("sweep.started") && lines[lines.len() - 1].contains("sweep.completed"));
        assert_eq!(lines.iter().filter(|line| line.contains(found)).count(), 1, "{}", answer.stdout);
        if word != "cef" {
            assert!(
                lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()),
                "{}",
                answer.stdout
            );
        }
    }
}

#[test]
fn a_document_takes_the_place_of_the_last_one_when_the_sweep_is_over() {
    let service = Service::open("127.77.3.2");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("document");
    for (word, has) in [
        ("defectdojo", "\"unique_id_from_tool\""),
        ("prometheus", "portreeve_sweep_verdict{verdict=\"complete\"} 1"),
    ] {
        fs::write(&path, "the last one").expect("a file");
        let mut command = portreeve(directory.path());
        command.args(["sweep", "127.77.3.2", "--ports", &service.port(), "--format", word]);
        let output = command.args(["--output", "document"]).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // What becomes of it is said beside it.
        assert!(String::from_utf8_lossy(&output.stderr).contains("complete: 1 exposed"), "{output:?}");
        let text = fs::read_to_string(&path).expect("a document");
        assert!(text.contains(has) && !text.contains("the last one"), "{text}");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }
}

#[test]
fn a_run_that_sends_nothing_has_nothing_to_tell_in_them() {
    for word in ["ecs", "ocsf", "hec", "cef", "defectdojo", "prometheus"] {
        let answer = run(&["sweep", "127.0.0.1", "--dry-run", "--format", word]);
        assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
        assert!(answer.stderr.contains("use text, jsonl or csv"), "{answer:?}");
    }
}

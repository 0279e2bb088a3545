//! What is said where there is no database, or none that can be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Bench;

/// Every command that opens a database, without saying which.
const COMMANDS: [&[&str]; 10] = [
    &["alerts"],
    &["alerts", "--deliveries"],
    &["ack", "c7f9d4be"],
    &["silence", "add", "--until", "2h", "--reason", "x", "--everything"],
    &["silence", "list"],
    &["silence", "end", "1"],
    &["history"],
    &["db", "check"],
    &["db", "backup", "copy.db"],
    &["db", "retry", "soc"],
];

/// What every command says that is told of this database, and that it does nothing else.
fn refused(bench: &Bench, says: &[&str]) {
    for line in COMMANDS {
        for answer in [bench.run(line), bench.run_configured(line)] {
            assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{line:?}: {answer:?}");
            assert!(says.iter().any(|says| answer.stderr.contains(says)), "{line:?}: {}", answer.stderr);
            assert!(!bench.directory.path().join("copy.db").exists(), "{line:?}");
        }
    }
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let bench = Bench::new();
    fs::remove_file(bench.path()).expect("a file");
    refused(
        &bench,
        &[
            "portreeve.db; has `portreeve watch` run with this configuration?",
            "portreeve.db; name the one that `portreeve watch` keeps, or use --config FILE",
        ],
    );
    assert!(!bench.path().exists());
}

#[test]
fn what_is_no_database_of_ours_is_left_as_it_is() {
    let bench = Bench::new();
    fs::write(bench.path(), "not a database\n".repeat(100)).expect("a file");
    refused(&bench, &["is no SQLite database; nothing was touched: name another file"]);
    assert_eq!(fs::read(bench.path()).expect("a file").len(), 1500);
}

#[test]
fn a_newer_schema_is_left_as_it_is() {
    let bench = Bench::new();
    // The version of the schema is a number in the header of the file.
    let mut bytes = fs::read(bench.path()).expect("a file");
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(bench.path(), &bytes).expect("a file");
    refused(
        &bench,
        &["has schema 99, and this version of portreeve knows none after 1; nothing was touched"],
    );
    assert_eq!(fs::read(bench.path()).expect("a file"), bytes);
}

#[test]
fn which_database_is_meant_must_be_said_once() {
    let bench = Bench::new();
    for line in COMMANDS {
        let answer = bench.answer(line);
        assert_eq!(answer.status, Some(2), "{line:?}");
        assert!(answer.stderr.contains("<--config <FILE>|--database <PATH>>"), "{line:?}: {}", answer.stderr);
        let both =
            bench.answer(&[line, &["--config", "portreeve.toml", "--database", "portreeve.db"]].concat());
        assert_eq!(both.status, Some(2), "{line:?}");
        assert!(both.stderr.contains("cannot be used with"), "{line:?}: {}", both.stderr);
    }
    let none = bench.answer(&["alerts", "--config", "none.toml"]);
    assert!(none.status == Some(2) && none.stderr.contains("none.toml"), "{none:?}");
}

/// Whether this process may do what it was forbidden: then nothing can be shown of that.
fn is_omnipotent(path: &Path) -> bool {
    fs::read(path).is_ok()
}

#[test]
fn where_the_user_may_not_the_owner_is_named() {
    let bench = Bench::new();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o000)).expect("permissions");
    if is_omnipotent(&bench.path()) {
        // Root is refused nothing; but somebody else can be asked to try.
        return somebody_else_is_sent_to_the_owner(&bench);
    }
    refused(&bench, &["cannot open it: Permission denied"]);
}

/// As the user `nobody`, where `setpriv` is there to become that.
fn somebody_else_is_sent_to_the_owner(bench: &Bench) {
    let path = bench.directory.path();
    for (place, mode) in [(path, 0o755), (&bench.path(), 0o600)] {
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    let program = path.join("portreeve");
    fs::copy(env!("CARGO_BIN_EXE_portreeve"), &program).expect("a copy");
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["alerts", "--database", "portreeve.db"])
        .current_dir(path)
        .output();
    let Ok(output) = output else { return };
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let says = "it belongs to user root, as whom the daemon runs: run this as that user";
    assert!(told.contains("cannot open it") && told.contains(says), "{told}");
}

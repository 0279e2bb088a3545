//! `portreeve db`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use portreeve::store::Store;
use serde_json::json;

use super::{Bench, checked};

#[test]
fn a_sound_database_is_called_sound_and_its_books_are_shown() {
    let bench = Bench::new();
    bench.say(1, -60, json!({}));
    for answer in [bench.run(&["db", "check"]), bench.run_configured(&["db", "check"])] {
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
        let books = "soc: 1 raised = 0 delivered + 1 pending + 0 dead\n";
        assert!(
            answer.stdout.ends_with(&format!("portreeve.db: sound; schema 1\n{books}")),
            "{}",
            answer.stdout
        );
    }
    let events = bench.events(&["db", "check"]);
    assert_eq!((&events[0]["sound"], &events[0]["problems"]), (&json!(true), &json!([])));
}

#[test]
fn a_damaged_one_is_not() {
    let bench = Bench::new();
    for n in 0..200 {
        bench.say(n, -60, json!({"fingerprint": format!("{n:032x}")}));
    }
    let path = bench.path();
    let mut bytes = fs::read(&path).expect("a file");
    let half = bytes.len() / 2;
    bytes[half..half + 8192].fill(0xa5);
    fs::write(&path, bytes).expect("a file");
    let answer = bench.run(&["db", "check"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(2), ""));
    assert!(answer.stdout.contains("portreeve.db: "), "{}", answer.stdout);
    assert!(answer.stdout.ends_with("restore the latest backup\n"), "{}", answer.stdout);
    let told = bench.run(&["db", "check", "--format", "jsonl"]);
    assert_eq!((told.status, &checked(&told)[0]["sound"]), (Some(2), &json!(false)));
}

#[test]
fn a_backup_is_whole_and_overwrites_nothing() {
    let bench = Bench::new();
    let answer = bench.run(&["db", "backup", "copy.db"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    assert!(
        answer.stdout.starts_with("portreeve.db is copied to copy.db, whole and checked: "),
        "{}",
        answer.stdout
    );
    let copy = bench.directory.path().join("copy.db");
    assert_eq!(fs::metadata(&copy).expect("a file").permissions().mode() & 0o777, 0o600);
    let alerts = |path| Store::open_reader(path).expect("a database").records().expect("records");
    assert_eq!(alerts(&copy), alerts(&bench.path()));
    let listed = bench.answer(&["alerts", "--database", "copy.db"]);
    assert_eq!((listed.status, listed.stdout), (Some(1), bench.run(&["alerts"]).stdout));
    let again = bench.run(&["db", "backup", "copy.db"]);
    assert_eq!(again.status, Some(2));
    assert!(
        again.stderr.contains("copy.db exists, and a backup overwrites nothing; name a new file"),
        "{again:?}"
    );
    let events = bench.events(&["db", "backup", "other.db"]);
    assert_eq!(
        events[0]["bytes"],
        fs::metadata(bench.directory.path().join("other.db")).expect("a file").len()
    );
}

#[test]
fn dead_letters_are_tried_again_where_that_is_no_yesterdays_news() {
    let bench = Bench::new();
    let same = json!({"fingerprint": "00000000000000000000000000000001"});
    bench.say(1, -60, same.clone());
    bench.say(2, -50, same);
    bench.say(3, -40, json!({"fingerprint": "00000000000000000000000000000002"}));
    let rows: Vec<_> =
        bench.store().due("soc", bench.now, 9).expect("due").iter().map(|due| due.row).collect();
    bench.write(|tx| {
        tx.dead(rows[0], "HTTP 410", bench.now)?;
        tx.delivered(&[rows[1]], bench.now)?;
        tx.dead(rows[2], "HTTP 410", bench.now)
    });
    let nobody = bench.run(&["db", "retry", "sco"]);
    assert_eq!(nobody.status, Some(2));
    assert!(
        nobody.stderr.contains("nothing was ever raised for a sink `sco`; those that are known: soc"),
        "{nobody:?}"
    );
    let answer = bench.run(&["db", "retry", "soc"]);
    let rest = "1 stay given up, because later ones have arrived or they are forgotten";
    assert_eq!((answer.status, answer.stdout), (Some(0), format!("soc: 1 message is tried again; {rest}\n")));
    assert_eq!(bench.store().due("soc", bench.at(60), 9).expect("due").len(), 1);
    assert_eq!(
        bench.run(&["db", "retry", "soc"]).stdout,
        format!("soc: nothing can be tried again; {rest}\n")
    );
    assert_eq!(bench.events(&["db", "retry", "soc"])[0]["letters"], 0);
}

//! Opening: what is made, what is refused and left alone, and who has it at the same time.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use portreeve::store::Store;
use portreeve::store::backup::backup;
use portreeve::store::check::check;
use portreeve::store::error::StoreError;
use portreeve::store::lock::Lock;
use rusqlite::Connection;

use super::*;

/// Every file of a directory, with what is in it.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

fn pragma(path: &Path, name: &str) -> String {
    let connection = Connection::open(path).expect("a database");
    connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).map_or_else(
        |error| error.to_string(),
        |value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        },
    )
}

#[test]
fn a_new_database_is_for_nobody_else_and_has_a_log_and_gives_space_back() {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| tx.put("a", "b"));
    for file in ["portreeve.db", "portreeve.db-wal", "portreeve.db-shm"] {
        let mode = fs::metadata(path.with_file_name(file)).expect(file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    drop(store);
    assert_eq!(pragma(&path, "journal_mode"), "wal");
    assert_eq!(pragma(&path, "auto_vacuum"), "2", "incremental");
    assert_eq!(pragma(&path, "application_id"), 0x7072_7472.to_string());
    assert_eq!(pragma(&path, "user_version"), "1");
    assert_eq!(open(&path).get("a").expect("a value").as_deref(), Some("b"));
}

#[test]
fn a_newer_schema_is_refused_and_no_byte_touched() {
    let (directory, path) = place();
    drop(open(&path));
    Connection::open(&path).expect("a database").pragma_update(None, "user_version", 2).expect("a version");
    let before = contents(directory.path());
    assert_eq!(before.len(), 1, "nothing beside it: {:?}", before.keys());
    for error in [
        Store::open(&path).expect_err("newer"),
        Store::open_reader(&path).expect_err("newer"),
        check(&path).expect_err("newer"),
        backup(&path, &directory.path().join("copy")).expect_err("newer"),
    ] {
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("nothing was touched"), "{error}");
    }
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn a_newer_schema_that_is_only_in_the_log_is_refused_too() {
    let (_directory, path) = place();
    drop(open(&path));
    let newer = Connection::open(&path).expect("a database");
    newer.pragma_update(None, "user_version", 2).expect("a version");
    // As after a crash: the log has not been copied.
    let (directory, crashed) = place();
    for file in ["portreeve.db", "portreeve.db-wal"] {
        fs::copy(path.with_file_name(file), crashed.with_file_name(file)).expect(file);
    }
    let before = contents(directory.path());
    for error in [Store::open(&crashed).expect_err("newer"), Store::open_reader(&crashed).expect_err("newer")]
    {
        assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");
    }
    let mut after = contents(directory.path());
    after.remove(&crashed.with_file_name("portreeve.db-shm"));
    assert_eq!(after, before);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let other = |sql: &str| {
        let (directory, path) = place();
        Connection::open(&path).expect("a database").execute_batch(sql).expect(sql);
        (directory, path)
    };
    let text = |bytes: &[u8]| {
        let (directory, path) = place();
        fs::write(&path, bytes).expect("a file");
        (directory, path)
    };
    let mut page = b"SQLite format 4\0".to_vec();
    page.resize(4096, 7);
    for ((directory, path), says) in [
        (text(b"x"), "is no SQLite database"),
        (text(&[b'x'; 5000]), "is no SQLite database"),
        (text(&page), "is no SQLite database"),
        (text(b"SQLite format 3\0"), "is no SQLite database"),
        (other("CREATE TABLE t (a)"), "another program"),
        (other("PRAGMA journal_mode = wal; CREATE TABLE t (a)"), "another program"),
        (other("PRAGMA application_id = 77"), "another program"),
        (other("PRAGMA user_version = 1"), "another program"),
    ] {
        let before = contents(directory.path());
        for error in [Store::open(&path).expect_err(says), Store::open_reader(&path).expect_err(says)] {
            assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(says) && error.contains(&*path.to_string_lossy()), "{error}");
        }
        assert_eq!(contents(directory.path()), before, "{says}");
    }
    let (directory, _) = place();
    let error = Store::open(directory.path()).expect_err("a directory");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn what_was_left_by_a_beginning_that_did_not_end_is_taken_up() {
    for sql in ["", "PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal"] {
        let (_directory, path) = place();
        fs::write(&path, b"").expect("a file");
        Connection::open(&path).expect("a database").execute_batch(sql).expect(sql);
        let mut store = open(&path);
        write(&mut store, |tx| tx.put("a", "b"));
        drop(store);
        assert_eq!(pragma(&path, "auto_vacuum"), "2", "{sql}");
    }
}

#[test]
fn reading_makes_nothing_and_migrates_nothing() {
    let (directory, path) = place();
    let error = Store::open_reader(&path).expect_err("none");
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(contents(directory.path()).is_empty());
    drop(open(&path));
    Connection::open(&path).expect("a database").pragma_update(None, "user_version", 0).expect("a version");
    let error = Store::open_reader(&path).expect_err("older");
    assert!(matches!(error, StoreError::Older { found: 0, known: 1, .. }), "{error}");
}

#[test]
fn a_damaged_database_says_so_and_what_to_do() {
    let (_directory, path) = place();
    let mut store = open(&path);
    for n in 0..200 {
        write(&mut store, |tx| tx.save(&record(alert(n, 1, Phase::Firing, at(0)))));
    }
    drop(store);
    assert_eq!(check(&path).expect("a check").problems, Vec::<String>::new());
    let mut bytes = fs::read(&path).expect("a file");
    let length = bytes.len();
    bytes[length / 2..].fill(0xa5);
    fs::write(&path, &bytes).expect("a file");
    let error = Store::open(&path).and_then(|store| store.records()).expect_err("damage");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let says = error.to_string();
    assert!(says.contains("`portreeve db check`") && says.contains("restore the latest backup"), "{says}");
    let problems = check(&path).expect("a check").problems;
    assert!(!problems.is_empty(), "{problems:?}");
}

/// Each of these is what a fault of ours would look like.
#[test]
fn a_check_finds_what_does_not_add_up() {
    for (sql, says) in [
        ("UPDATE sinks SET raised = raised + 1", "the books of the sink siem do not close: 4 raised"),
        ("UPDATE outbox SET head = 1", "1 messages in the outbox have the wrong place"),
        (
            "PRAGMA foreign_keys = off; UPDATE history SET episode = 99",
            "a row of history refers to a row of episodes",
        ),
        ("UPDATE alerts SET body = '{}'", "1 alerts cannot be read"),
        ("UPDATE outbox SET body = '{}' WHERE head = 1", "2 messages cannot be read"),
    ] {
        let (_directory, path) = place();
        let mut store = open(&path);
        write(&mut store, |tx| {
            let alert = alert(1, 1, Phase::Firing, at(0));
            tx.save(&record(alert.clone()))?;
            tx.note(&notice(9, Transition::Firing, alert, at(0)))?;
            for (n, key) in [(1, "a"), (2, "a"), (3, "b")] {
                tx.enqueue(&event(n, key, at(0)), &["siem"])?;
            }
            Ok(())
        });
        drop(store);
        let found = check(&path).expect("a check");
        assert_eq!((found.schema, found.problems), (1, Vec::new()));
        Connection::open(&path).expect("a database").execute_batch(sql).expect(sql);
        let problems = check(&path).expect("a check").problems;
        assert!(problems.len() == 1 && problems[0].starts_with(says), "{problems:?}");
    }
}

#[test]
fn one_daemon_has_a_database_and_says_which_it_is() {
    let (_directory, path) = place();
    let lock = Lock::take(&path).expect("a lock");
    let error = Lock::take(&path).expect_err("taken");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    // Whoever has no lock may still read and write.
    write(&mut open(&path), |tx| tx.put("a", "b"));
    drop(lock);
    drop(taken_soon(&path));
    let mut holder = child("opening::holds_the_lock", "lock", &path).spawn().expect("a child");
    let wait = Instant::now();
    // Until then the file may be empty, or have the number of the one before.
    let named = format!("(process {})", holder.id());
    while !matches!(Lock::take(&path), Err(error) if error.to_string().contains(&named)) {
        assert!(wait.elapsed() < Duration::from_secs(20), "the child never has it");
        std::thread::sleep(Duration::from_millis(20));
    }
    holder.kill().expect("killed");
    holder.wait().expect("dead");
    drop(taken_soon(&path));
}

/// A lock that nobody has. A process that another test is just starting may hold it for a moment, until it has become
/// its own program; and whoever looks whether it is taken has taken it for a moment.
fn taken_soon(path: &Path) -> Lock {
    let wait = Instant::now();
    loop {
        match Lock::take(path) {
            Ok(lock) => return lock,
            Err(error) => assert!(wait.elapsed() < Duration::from_secs(10), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn holds_the_lock() {
    let Some(path) = role("lock") else { return };
    let _lock = taken_soon(&path);
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn many_may_make_it_at_once() {
    for _ in 0..20 {
        let (_directory, path) = place();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || write(&mut open(path), |tx| tx.put(&format!("{n}"), "here")));
            }
        });
        let store = open(&path);
        assert!((0..8).all(|n| store.get(&n.to_string()).expect("a value").is_some()));
        drop(store);
        assert_eq!(pragma(&path, "auto_vacuum"), "2");
    }
}

#[test]
fn processes_write_in_turn_and_nothing_is_lost() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let roles = ["even", "odd"];
    let mut children =
        roles.map(|role| child("opening::writes_in_turn", role, &path).spawn().expect("a child"));
    for n in 0..100 {
        write(&mut store, |tx| tx.enqueue(&event(n, "mine", at(0)), &["siem"]));
    }
    for child in &mut children {
        assert!(child.wait().expect("an end").success());
    }
    let books = books(&store, "siem");
    assert_eq!((books.raised, books.pending), (300, 300));
    let due = store.due("siem", at(0), 1000).expect("due");
    assert_eq!(due.len(), 300);
}

#[test]
fn writes_in_turn() {
    for (base, name) in [(1000, "even"), (2000, "odd")] {
        let Some(path) = role(name) else { continue };
        let mut store = open(&path);
        for n in 0..100 {
            write(&mut store, |tx| tx.enqueue(&event(base + n, name, at(0)), &["siem"]));
        }
    }
}

#[test]
fn whoever_writes_for_too_long_is_waited_for_and_then_named() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    let began = Instant::now();
    let error = store.write(|tx| tx.put("a", "b")).expect_err("busy");
    assert!(matches!(error, StoreError::Busy { .. }) && error.may_pass(), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    let waiting = std::thread::spawn(move || write(&mut store, |tx| tx.put("a", "b")));
    std::thread::sleep(Duration::from_millis(300));
    other.execute_batch("COMMIT").expect("a commit");
    waiting.join().expect("it waited");
}

/// A process that closes a descriptor of the file loses SQLite's locks on it. SQLite itself looks twice before it takes
/// a log away, so that nothing would be seen until both fail; the lock is looked at instead.
#[test]
fn looking_at_a_file_loses_no_lock_on_it() {
    let (_directory, path) = place();
    let store = open(&path);
    assert!(is_locked(&path), "while it is open");
    drop(Store::open_reader(&path).expect("a reader"));
    drop(open(&path));
    check(&path).expect("a check");
    backup(&path, &path.with_file_name("copy")).expect("a backup");
    assert!(is_locked(&path), "as long as it is open");
    drop(store);
    assert!(!is_locked(&path), "and no longer");
}

/// Whether this process holds the lock of whoever has a database open: a shared one, on the bytes that SQLite keeps for
/// it (`SHARED_FIRST` in its source).
fn is_locked(path: &Path) -> bool {
    let (pid, inode) =
        (std::process::id().to_string(), fs::metadata(path).expect("a file").ino().to_string());
    let locks = fs::read_to_string("/proc/locks").expect("the locks of the kernel");
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 8
            && (words[1], words[3], words[4]) == ("POSIX", "READ", pid.as_str())
            && words[5].rsplit(':').next() == Some(&inode)
            && words[6] == "1073741826"
    })
}

/// Root may write everywhere, so that reading is left to somebody who may not.
#[test]
fn can_be_read_where_nothing_may_be_written() {
    let (directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| tx.put("a", "1"));
    let share = |mode: u32| {
        for file in fs::read_dir(directory.path()).expect("a directory") {
            let file = file.expect("a file").path();
            fs::set_permissions(file, Permissions::from_mode(mode)).expect("permissions");
        }
        fs::set_permissions(directory.path(), Permissions::from_mode(0o555)).expect("permissions");
    };
    let read = || {
        let mut reads = child("opening::reads", "reads", &path);
        if fs::metadata("/proc/self").expect("this process").uid() == 0 {
            reads.uid(65534).gid(65534);
        }
        assert!(reads.status().expect("a child").success());
    };
    share(0o444);
    read();
    drop(store);
    share(0o444);
    assert_eq!(contents(directory.path()).len(), 1, "the log is gone with the last writer");
    read();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn reads() {
    let Some(path) = role("reads") else { return };
    let reader = Store::open_reader(&path).expect("a reader");
    assert_eq!(reader.get("a").expect("a value").as_deref(), Some("1"));
    // Nor can it be opened for writing by mistake.
    let error = Store::open(&path).expect_err("read-only");
    assert!(matches!(error, StoreError::ReadOnly { .. } | StoreError::Denied { .. }), "{error}");
}

#[test]
fn a_backup_is_whole_while_others_write_and_overwrites_nothing() {
    let (directory, path) = place();
    let copy = directory.path().join("copy.db");
    let mut store = open(&path);
    for n in 0..200 {
        write(&mut store, |tx| tx.enqueue(&event(n, "k", at(0)), &["siem"]));
    }
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in 200..400 {
                write(&mut store, |tx| tx.enqueue(&event(n, "k", at(0)), &["siem"]));
            }
        });
        backup(&path, &copy).expect("a backup");
        writing.join().expect("written");
    });
    let error = backup(&path, &copy).expect_err("it exists");
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    assert_eq!(fs::metadata(&copy).expect("a copy").permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = contents(directory.path()).into_keys().collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("partial")), "{names:?}");
    assert_eq!(check(&copy).expect("a check").problems, Vec::<String>::new());
    let copied = books(&open(&copy), "siem");
    assert!(copied.are_closed() && (200..=400).contains(&copied.raised), "{copied:?}");
    assert_eq!(books(&store, "siem").raised, 400);
}

/// Damage that is not in the way of copying.
#[test]
fn no_backup_is_made_of_what_is_damaged() {
    let (directory, path) = place();
    let mut store = open(&path);
    for n in 0..200 {
        write(&mut store, |tx| tx.save(&record(alert(n, 1, Phase::Firing, at(0)))));
    }
    drop(store);
    let copy = directory.path().join("copy.db");
    backup(&path, &copy).expect("a backup");
    fs::remove_file(&copy).expect("a copy");
    let mut bytes = fs::read(&path).expect("a file");
    let last = bytes.len() - 4096;
    bytes[last..last + 8].fill(0xa5);
    fs::write(&path, &bytes).expect("a file");
    let error = backup(&path, &copy).expect_err("damage");
    assert!(matches!(error, StoreError::Corrupt { tried: "back it up", .. }), "{error}");
    assert!(!contents(directory.path()).keys().any(|name| name.to_string_lossy().contains("copy")));
}

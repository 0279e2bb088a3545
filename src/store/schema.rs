//! The tables, and the steps that lead to them.
//!
//! A step is a text of SQL that is never changed once it has been released. Each runs in a transaction of its own,
//! together with the number of the schema that it leads to, so that a step either has been made or has not.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::codec::Sql;

/// What says that a database is ours: "prtr" in the header of the file.
pub(super) const APPLICATION_ID: i64 = 0x7072_7472;

/// The steps: the first makes schema 1 out of nothing, and so on.
pub(super) const STEPS: &[&str] = &[VERSION_1];

/// The latest schema.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// Brings a database to the last of these steps; several processes may try at once.
pub(super) fn migrate(connection: &Connection, steps: &[&str]) -> Sql<()> {
    for (step, to) in steps.iter().zip(1i64..) {
        if version(connection)? >= to {
            continue;
        }
        let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // Somebody else may have made the step while we waited.
        if version(&tx)? + 1 == to {
            tx.execute_batch(step)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", to)?;
        }
        tx.commit()?;
    }
    Ok(())
}

/// The schema that a database has.
pub(super) fn version(connection: &Connection) -> Sql<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

const VERSION_1: &str = "
-- Times are milliseconds since 1970, UTC. Identifiers are the 16 bytes of ULIDs.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE watches (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_complete INTEGER,         -- when its last complete sweep ended
    last_complete_sweep BLOB,      -- which one that was
    complete_before INTEGER        -- when the complete one before ended
) STRICT;

CREATE TABLE sweeps (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    watch INTEGER NOT NULL REFERENCES watches,
    started INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    engine TEXT NOT NULL,
    findings INTEGER NOT NULL,
    declared INTEGER NOT NULL,
    open INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    unreachable INTEGER NOT NULL,
    conflict INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    unknown_reasons TEXT,          -- JSON, where there are any
    packets_sent INTEGER NOT NULL,
    packets_canaries INTEGER NOT NULL,
    packets_received INTEGER NOT NULL,
    packets_foreign INTEGER NOT NULL,
    packets_dropped INTEGER NOT NULL,
    packets_refused INTEGER NOT NULL,
    CHECK (declared = open + closed + filtered + unreachable + conflict + unknown)
) STRICT;
CREATE INDEX sweeps_watch ON sweeps (watch);

-- A row is the time that a target was open, or answered as open and as closed, without a break.
CREATE TABLE observations (
    row INTEGER PRIMARY KEY,
    watch INTEGER NOT NULL REFERENCES watches,
    ip BLOB NOT NULL,              -- 4 bytes or 16
    port INTEGER NOT NULL,
    transport INTEGER NOT NULL,    -- 6 TCP
    state INTEGER NOT NULL,        -- 0 open, 1 closed, 2 filtered, 3 unreachable, 4 conflict, 5 unknown
    reason INTEGER,                -- its number in the program: 0 no-response, 1 syn-ack, 2 rst, 3 contradiction, ...
    first_seen INTEGER NOT NULL,
    last_seen INTEGER,             -- null while it goes on: then it is last_complete of its watch
    ended INTEGER,                 -- null while it goes on
    ended_state INTEGER,           -- what it was from then on
    ended_reason INTEGER
) STRICT;
CREATE UNIQUE INDEX observations_open ON observations (watch, ip, port, transport) WHERE ended IS NULL;
CREATE INDEX observations_ended ON observations (ended) WHERE ended IS NOT NULL;
CREATE INDEX observations_ip ON observations (ip);

CREATE TABLE alerts (
    fingerprint BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    needed INTEGER NOT NULL CHECK (needed IN (0, 1)),  -- 0: resolved, and nothing is left to remember
    body TEXT NOT NULL             -- JSON
) STRICT;
CREATE INDEX alerts_needed ON alerts (fingerprint) WHERE needed = 1;
CREATE INDEX alerts_over ON alerts (since) WHERE needed = 0;

-- The first word about each firing of an alert; a row of history says what was different then.
CREATE TABLE episodes (
    row INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    episode BLOB NOT NULL,
    ip BLOB,
    body TEXT NOT NULL             -- JSON
) STRICT;
CREATE UNIQUE INDEX episodes_fingerprint ON episodes (fingerprint, episode);
CREATE INDEX episodes_ip ON episodes (ip) WHERE ip IS NOT NULL;

CREATE TABLE history (
    row INTEGER PRIMARY KEY,
    episode INTEGER NOT NULL REFERENCES episodes,
    id BLOB NOT NULL,
    time INTEGER NOT NULL,
    transition TEXT NOT NULL,
    sweep BLOB,
    watch INTEGER REFERENCES watches,
    changes TEXT                   -- JSON: members that are not as in the episode; null for one that is not there
) STRICT;
CREATE INDEX history_time ON history (time);
CREATE INDEX history_episode ON history (episode);

CREATE TABLE silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matcher TEXT NOT NULL,         -- JSON
    starts INTEGER NOT NULL,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    ended_by TEXT                  -- who ended it before its time
) STRICT;

-- The books: raised = delivered + dead + its rows in outbox, always.
CREATE TABLE sinks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    raised INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE outbox (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    sink INTEGER NOT NULL REFERENCES sinks,
    key TEXT NOT NULL,             -- messages of one key arrive in the order of rows
    id BLOB NOT NULL,
    head INTEGER NOT NULL CHECK (head IN (0, 1)),  -- 1: the first of its sink and key
    enqueued INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    why TEXT,                      -- why the last attempt failed
    body TEXT NOT NULL             -- JSON
) STRICT;
CREATE UNIQUE INDEX outbox_id ON outbox (id, sink);
CREATE INDEX outbox_key ON outbox (sink, key);
CREATE INDEX outbox_heads ON outbox (sink, due) WHERE head = 1;

CREATE TABLE deliveries (
    id BLOB NOT NULL,
    sink INTEGER NOT NULL REFERENCES sinks,
    dead INTEGER NOT NULL CHECK (dead IN (0, 1)),  -- 0: delivered; 1: given up
    attempts INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    why TEXT,                      -- why it was given up, or why the last attempt but one failed
    row INTEGER,                   -- what it had in outbox: these three while a dead letter can be tried again
    key TEXT,
    body TEXT,
    PRIMARY KEY (id, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_dead ON deliveries (finished) WHERE dead = 1;
CREATE INDEX deliveries_letters ON deliveries (sink, key) WHERE body IS NOT NULL;
";

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM pragma_table_info('t')").expect("a statement");
        let names = statement.query_map([], |row| row.get(0)).expect("names");
        names.map(|name| name.expect("a name")).collect()
    }

    #[test]
    fn every_earlier_schema_becomes_the_last() {
        let fake =
            ["CREATE TABLE t (a ANY) STRICT", "ALTER TABLE t ADD COLUMN b ANY", "ALTER TABLE t ADD c ANY"];
        for from in 0..=fake.len() {
            let connection = Connection::open_in_memory().expect("a database");
            migrate(&connection, &fake[..from]).expect("an earlier schema");
            if from > 0 {
                connection.execute("INSERT INTO t (a) VALUES ('kept')", []).expect("a row");
            }
            migrate(&connection, &fake).expect("the last schema");
            migrate(&connection, &fake).expect("the same once more");
            assert_eq!(version(&connection).expect("a version"), 3);
            assert_eq!(columns(&connection), ["a", "b", "c"]);
            let rows: i64 = connection
                .query_row("SELECT count(*) FROM t WHERE a = 'kept'", [], |row| row.get(0))
                .expect("rows");
            assert_eq!(rows, i64::from(from > 0));
        }
    }

    #[test]
    fn a_step_that_fails_has_not_been_made() {
        let connection = Connection::open_in_memory().expect("a database");
        let broken = [
            "CREATE TABLE t (a ANY) STRICT",
            "ALTER TABLE t ADD COLUMN b ANY; INSERT INTO t VALUES (1, 2); INSERT INTO missing VALUES (1)",
        ];
        migrate(&connection, &broken).expect_err("a broken step");
        assert_eq!((version(&connection).expect("a version"), columns(&connection).len()), (1, 1));
        assert!(connection.is_autocommit(), "and nothing is left open");
        let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("rows");
        assert_eq!(rows, 0);
    }

    #[test]
    fn a_step_that_somebody_else_is_making_is_not_made_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Connection::open(directory.path().join("db")).expect("a database");
        let (first, second) = (open(), open());
        first.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("a log");
        let step = "CREATE TABLE t (a ANY) STRICT";
        first.execute_batch(&format!("BEGIN IMMEDIATE; {step}; PRAGMA user_version = 1")).expect("a step");
        let waiting = std::thread::spawn(move || migrate(&second, &[step]));
        std::thread::sleep(std::time::Duration::from_millis(200));
        first.execute_batch("COMMIT").expect("committed");
        waiting.join().expect("an end").expect("nothing is left to make");
    }
}

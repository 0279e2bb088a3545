//! What the fuzzers have found stays found: every file of their corpora goes through its target's body once more.
//!
//! `PORTREEVE_SEEDS=write cargo test --test corpus` writes the seeds that the corpora begin with; `scripts/fuzz.sh`
//! goes on from there.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "fuzz/bodies.rs"]
mod bodies;
#[path = "fuzz/seeds.rs"]
mod seeds;

/// The corpora stay small enough to be looked through and to be replayed at every build.
const MAX_FILES: usize = 2_000;
const MAX_BYTES: usize = 1 << 20;

/// Inputs that each corpus has at least: where files get lost, the rest would pass for the whole. The options of TCP
/// change nothing, so that a few of them cover all that there is.
const LEAST: &[(&str, usize)] = &[
    ("frame", 150),
    ("icmp_quote", 40),
    ("tcp_options", 6),
    ("neighbour", 100),
    ("config", 250),
    ("target_spec", 150),
    ("targets", 60),
    ("inventory", 150),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_seed_is_there() {
    for (target, name, bytes) in seeds::seeds() {
        let path = corpus().join(target).join(format!("seed-{name}"));
        if std::env::var_os("PORTREEVE_SEEDS").is_some_and(|what| what == "write") {
            fs::create_dir_all(corpus().join(target)).expect("a directory");
            fs::write(&path, &bytes).expect("a file");
        }
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == bytes, "{} is old; write the seeds anew", path.display());
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut targets: Vec<_> = bodies::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names(&corpus()), targets);
    let programs: Vec<_> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&corpus().with_file_name("targets")), programs);
}

#[test]
fn every_input_passes() {
    let mut failures = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    for (target, body) in bodies::TARGETS {
        let inputs = names(&corpus().join(target));
        let least = LEAST.iter().find(|(name, _)| name == target).map(|(_, least)| *least);
        let least = least.unwrap_or_else(|| panic!("say in LEAST how many inputs {target} has at least"));
        assert!(inputs.len() >= least, "{target} has {} inputs and had {least}", inputs.len());
        for name in inputs {
            let input = fs::read(corpus().join(target).join(&name)).expect("a file");
            files += 1;
            bytes += input.len();
            if catch_unwind(|| body(&input)).is_err() {
                failures.push(format!("tests/fuzz/corpus/{target}/{name}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} inputs fail:\n{}", failures.len(), failures.join("\n"));
    assert!(files <= MAX_FILES && bytes <= MAX_BYTES, "{files} files, {bytes} bytes; minimise the corpora");
}

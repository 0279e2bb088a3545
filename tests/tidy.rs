//! The house rules that a compiler does not know: who may import whom, where unsafe code, atomics and clocks may be,
//! how long things may get. All that is broken is printed at once, each with its place and what to do.
//!
//! Every rule is tried on a small offender too, so that none of them passes because it looks at nothing.

use std::path::Path;

#[path = "tidy/source.rs"]
mod source;

use source::Source;

/// The layers, low to high, and what each may import of this crate: a module, or one module of a module.
const LAYERS: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("wire", &[]),
    ("link", &["wire", "sync"]),
    ("target", &["sync"]),
    ("sweep", &["sync", "wire", "link", "target"]),
    ("survey", &["target", "sweep::report", "sweep::ledger"]),
    ("import", &["survey", "target", "sweep::report", "sweep::ledger"]),
    ("diff", &["survey", "target", "sweep::ledger"]),
    ("policy", &["target", "sweep::report", "sweep::verified", "sweep::banner"]),
    ("alert", &["policy", "target", "sweep::report"]),
    ("store", &["alert", "policy", "target", "sweep::report", "sweep::ledger", "sink::message"]),
    (
        "sink",
        &[
            "sweep::report",
            "sweep::ledger",
            "sweep::run",
            "sweep::banner",
            "sweep::verified",
            "survey",
            "diff",
            "policy",
            "alert",
            "target",
        ],
    ),
    ("config", &["target", "sweep", "policy", "alert", "sink::options", "sink::secret"]),
    ("job", &["sync", "link", "target", "sweep", "policy", "sink::event", "sink::doubt", "config"]),
    (
        "evidence",
        &[
            "target",
            "sweep::report",
            "sweep::ledger",
            "sweep::verified",
            "sweep::banner",
            "survey",
            "policy",
            "sink::csv",
            "sink::nmap",
            "sink::secret",
            "config::diagnostic",
            "config::file",
        ],
    ),
    ("control", &["sync", "target", "sweep", "policy", "sink::nmap", "config", "job", "evidence"]),
    ("watch", &["sync", "link", "target", "sweep", "policy", "alert", "store", "sink", "config", "job"]),
    (
        "cli",
        &[
            "control", "evidence", "watch", "alert", "store", "job", "sync", "wire", "link", "target",
            "sweep", "survey", "import", "diff", "policy", "sink", "config",
        ],
    ),
];

/// What may be used of pnet, and by whom.
const PNET: &[(&str, &[&str])] = &[
    ("wire", &["packet", "util::MacAddr"]),
    // The networks of an interface come in pnet's own copy of ipnetwork.
    ("link", &["datalink", "ipnetwork::IpNetwork"]),
];

const UNSAFE_FILES: &[&str] = &[
    "src/link/xdp/sys.rs",
    "src/cli/clock.rs",
    "src/cli/sys.rs",
    "src/link/packet/sys.rs",
    "src/link/ring.rs",
    "src/link/connect/sys.rs",
    "src/link/raw/sys.rs",
];

/// The drivers: only they know what time it is.
/// And how long an attempt at a delivery may take, which is nothing that anything else depends on.
const CLOCK_FILES: &[&str] = &[
    "src/link/clock.rs",
    "src/sweep/run.rs",
    "src/sink/channel/deadline.rs",
    "src/watch/time.rs",
    "src/job/",
    "src/cli/",
];

const MAX_LINE: usize = 120;
const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

/// Files and functions (`path` or `path::function`) that are longer, and how long. These lists only ever shrink.
const LONG_FILES: &[(&str, usize)] = &[];
const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// A broken rule: where, and what to do.
type Violation = (usize, String);
type Rule = fn(&Source) -> Vec<Violation>;

/// Rules for the crate itself.
const CRATE_RULES: &[Rule] = &[
    layers,
    pnet_parts,
    root_exports,
    atomics_in_sync,
    unsafe_in_named_files,
    unsafe_is_explained,
    nothing_prints,
    only_drivers_read_clocks,
    file_length,
    function_length,
];

/// Rules for tests, benches and scripts as well.
const RULES: &[Rule] = &[header, line_length, nothing_unfinished];

// --- rules -----------------------------------------------------------------------------------------------------

fn layers(source: &Source) -> Vec<Violation> {
    let Some(own) = layer_of(source) else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == own) else {
        return vec![(1, format!("layer `{own}` is unknown; add its row to LAYERS in tests/tidy.rs"))];
    };
    let mut violations = Vec::new();
    for (at, path) in source.crate_paths() {
        let named = path.join("::");
        if path[0] == own || allowed.iter().any(|part| is_part(&named, part)) {
            continue;
        }
        let advice = if LAYERS.iter().any(|(layer, _)| *layer == path[0]) {
            format!("`{own}` may only import {allowed:?}; move what it needs down, or hand it in as a value")
        } else {
            "the crate's root holds layers only; name the layer that the item is in".to_owned()
        };
        violations.push((source.line_of(at), format!("imports `crate::{named}`: {advice}")));
    }
    violations
}

fn pnet_parts(source: &Source) -> Vec<Violation> {
    let own = layer_of(source).unwrap_or_default();
    let allowed = PNET.iter().find(|(layer, _)| *layer == own).map_or(&[][..], |(_, parts)| parts);
    source
        .outside_paths("pnet")
        .into_iter()
        .filter(|(_, path)| !allowed.iter().any(|part| is_part(&path.join("::"), part)))
        .map(|(at, path)| (source.line_of(at), format!("pnet::{} is not for this layer", path.join("::"))))
        .collect()
}

fn root_exports(source: &Source) -> Vec<Violation> {
    if source.path != "src/lib.rs" {
        return Vec::new();
    }
    found(
        source,
        &["pub use"],
        "re-exported from the root: it would hide who imports whom; name the layer instead",
    )
}

fn atomics_in_sync(source: &Source) -> Vec<Violation> {
    if source.path == "src/sync.rs" {
        return Vec::new();
    }
    let foreign = ["sync::atomic", "crossbeam::atomic", "crossbeam::utils", "loom::"];
    let mut violations = found(source, &foreign, "take it from crate::sync, where loom can take it over");
    for (at, path) in source.outside_paths("std") {
        if path.starts_with(&["sync".to_owned(), "atomic".to_owned()]) {
            violations
                .push((source.line_of(at), "take atomics from crate::sync, where loom can take over".into()));
        }
    }
    violations.sort();
    violations.dedup_by_key(|(line, _)| *line);
    violations
}

fn unsafe_in_named_files(source: &Source) -> Vec<Violation> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    found(
        source,
        &["unsafe"],
        "unsafe code has no place here; it belongs into a sys file, behind a safe function",
    )
}

fn unsafe_is_explained(source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = source.raw.lines().map(str::trim).collect();
    let mut violations = Vec::new();
    for at in source.words("unsafe") {
        let what = source.code[at + "unsafe".len()..].trim_start();
        if !(what.starts_with('{') || what.starts_with("impl")) {
            continue;
        }
        // Up to the beginning of the statement, then up through the comment before it.
        let line = source.line_of(at);
        let above = lines[..line - 1].iter().rev();
        let comment: Vec<_> = above
            .skip_while(|text| {
                !text.starts_with("//") && !text.is_empty() && !text.ends_with([';', '{', '}'])
            })
            .take_while(|text| text.starts_with("//"))
            .collect();
        if !comment.iter().any(|text| text.starts_with("// SAFETY:")) {
            violations
                .push((line, "unsafe without a `// SAFETY:` comment before it; say why it is sound".into()));
        }
    }
    violations
}

fn nothing_prints(source: &Source) -> Vec<Violation> {
    let macros = ["println!", "eprintln!", "print!", "eprint!"];
    found(source, &macros, "write to the output that was handed in: printing panics when a reader goes away")
}

fn only_drivers_read_clocks(source: &Source) -> Vec<Violation> {
    if CLOCK_FILES.iter().any(|file| source.path.starts_with(file)) {
        return Vec::new();
    }
    let clocks = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];
    found(source, &clocks, "only drivers read clocks; take `now` as a parameter")
}

fn file_length(source: &Source) -> Vec<Violation> {
    let lines = source.untested().lines().count();
    let limit = limit(LONG_FILES, &source.path, MAX_FILE_LINES);
    too_long(1, "file", lines, limit, MAX_FILE_LINES)
}

fn function_length(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, name, lines) in source.functions() {
        let limit = limit(LONG_FUNCTIONS, &format!("{}::{name}", source.path), MAX_FUNCTION_LINES);
        violations.extend(too_long(source.line_of(at), &name, lines, limit, MAX_FUNCTION_LINES));
    }
    violations
}

fn header(source: &Source) -> Vec<Violation> {
    if source.raw.starts_with("//! ") {
        return Vec::new();
    }
    vec![(1, "no `//!` header; say in a sentence what the file is for".into())]
}

fn line_length(source: &Source) -> Vec<Violation> {
    let lines = source.raw.lines().enumerate();
    lines
        // A message stays on one line, so that whoever reads it can search for it.
        .filter(|(_, line)| line.chars().count() > MAX_LINE && !line.trim_start().starts_with('"'))
        .map(|(n, line)| {
            (n + 1, format!("{} characters in a line; {MAX_LINE} at most", line.chars().count()))
        })
        .collect()
}

fn nothing_unfinished(source: &Source) -> Vec<Violation> {
    let mut violations =
        found(source, &["todo!", "dbg!", "unimplemented!"], "unfinished; finish it or take it out");
    for marker in [concat!("FIX", "ME"), concat!("TO", "DO:"), concat!("XX", "X:")] {
        let marked = source.raw.lines().enumerate().filter(|(_, line)| line.contains(marker));
        violations
            .extend(marked.map(|(n, _)| (n + 1, format!("{marker} left behind; do it or open an issue"))));
    }
    violations
}

// --- what rules share ------------------------------------------------------------------------------------------

fn found(source: &Source, patterns: &[&str], advice: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for pattern in patterns {
        // A pattern that ends in a sign is whole already; the word rule would ask for a sign after it.
        let bytes = source.code.as_bytes();
        let is_letter = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        for (at, _) in source.code.match_indices(pattern) {
            let joined_before = at > 0 && is_letter(bytes[at - 1]);
            let joined_after = pattern.bytes().last().is_some_and(is_letter)
                && bytes.get(at + pattern.len()).copied().is_some_and(is_letter);
            if !joined_before && !joined_after {
                violations.push((source.line_of(at), format!("`{pattern}`: {advice}")));
            }
        }
    }
    violations
}

fn layer_of(source: &Source) -> Option<String> {
    let inside = source.path.strip_prefix("src/")?.trim_end_matches(".rs");
    let layer = inside.split('/').next()?;
    (layer != "lib" && layer != "main").then(|| layer.to_owned())
}

/// Whether a path is this module or inside it.
fn is_part(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn limit(exceptions: &[(&str, usize)], name: &str, usual: usize) -> usize {
    exceptions.iter().find(|(exception, _)| *exception == name).map_or(usual, |(_, lines)| *lines)
}

/// An exception holds for the length that it names and no other, so that it shrinks with what it excuses.
fn too_long(line: usize, what: &str, lines: usize, limit: usize, usual: usize) -> Vec<Violation> {
    if lines > limit {
        return vec![(line, format!("{what} has {lines} lines, {limit} at most; split it by what it does"))];
    }
    if limit > usual && lines < limit {
        return vec![(
            line,
            format!("{what} has only {lines} lines now; shrink its exception in tests/tidy.rs"),
        )];
    }
    Vec::new()
}

// --- the package -----------------------------------------------------------------------------------------------

fn read_sources(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<_> = match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.expect("a directory entry").path()).collect(),
        Err(_) => return,
    };
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_sources(&path, root, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let raw = std::fs::read_to_string(&path).expect("a readable file");
            let name = path.strip_prefix(root).expect("a file of the package").to_string_lossy();
            sources.push(Source::new(&name, &raw));
        }
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for directory in ["src", "tests", "benches", "scripts"] {
        read_sources(&root.join(directory), root, &mut sources);
    }
    assert!(sources.len() > 50, "only {} files found", sources.len());
    let mut violations = Vec::new();
    for source in &sources {
        let own = if source.path.starts_with("src/") { CRATE_RULES } else { &[] };
        for rule in own.iter().chain(RULES) {
            violations.extend(
                rule(source).into_iter().map(|(line, what)| format!("{}:{line}: {what}", source.path)),
            );
        }
    }
    for (name, _) in LONG_FILES.iter().chain(LONG_FUNCTIONS) {
        let path = name.split("::").next().unwrap_or(name);
        if !sources.iter().any(|source| source.path == path) {
            violations.push(format!("tests/tidy.rs: the exception for {name} excuses nothing; take it out"));
        }
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

// --- each rule finds its offender ------------------------------------------------------------------------------

/// The lines that a rule complains of.
fn lines(rule: Rule, path: &str, raw: &str) -> Vec<usize> {
    let mut lines: Vec<usize> = rule(&Source::new(path, raw)).into_iter().map(|(line, _)| line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn layers_are_seen_through_braces_super_and_inline_paths() {
    let raw = "use crate::{link::clock, sweep::{run, plan}};\n\
               use super::super::cli::x;\n\
               fn f() { crate::sink::text(); crate::target::table(); }\n\
               // use crate::cli;\n\
               use crate::Thing;\n\
               mod tests {\n    use super::super::super::policy;\n    use super::super::state;\n}\n";
    assert_eq!(lines(layers, "src/target/table.rs", raw), [1, 1, 1, 2, 3, 5, 7]);
    assert_eq!(lines(layers, "src/cli/mod.rs", "use crate::{config, sink};"), []);
    assert_eq!(
        lines(layers, "src/policy/x.rs", "use crate::sweep::report::R;\nuse crate::sweep::reporter;"),
        [2]
    );
    assert_eq!(lines(layers, "src/newcomer.rs", ""), [1]);
}

#[test]
fn parts_of_pnet_are_told_apart() {
    let raw = "use pnet::packet::tcp;\nuse pnet::{util::MacAddr, transport};\nuse pnet::datalink;";
    assert_eq!(lines(pnet_parts, "src/wire/x.rs", raw), [2, 3]);
    assert_eq!(lines(pnet_parts, "src/sweep/x.rs", raw), [1, 2, 2, 3]);
}

#[test]
fn exports_atomics_printing_and_clocks_are_found() {
    assert_eq!(lines(root_exports, "src/lib.rs", "pub mod a;\npub use a::B;"), [2]);
    let atomics = "use std::sync::atomic::AtomicU8;\nuse std::{sync::{atomic::AtomicU8, Arc}};\nuse loom::x;";
    assert_eq!(lines(atomics_in_sync, "src/sweep/x.rs", atomics), [1, 2, 3]);
    assert_eq!(lines(atomics_in_sync, "src/sync.rs", atomics), []);
    assert_eq!(
        lines(nothing_prints, "src/cli/x.rs", "// println!\nprintln!();\neprintln!(\"println!\")"),
        [2, 3]
    );
    let clocks = "let a = Instant::now();\nlet b = std::time::SystemTime::now;";
    assert_eq!(lines(only_drivers_read_clocks, "src/sweep/sender.rs", clocks), [1, 2]);
    assert_eq!(lines(only_drivers_read_clocks, "src/sweep/run.rs", clocks), []);
}

#[test]
fn unsafe_needs_its_place_and_its_reason() {
    let raw = "// SAFETY: fine.\nlet a =\n    unsafe { f() };\nlet b = unsafe { g() };\nunsafe_code();\nunsafe fn h();";
    assert_eq!(lines(unsafe_in_named_files, "src/sweep/x.rs", raw), [3, 4, 6]);
    assert_eq!(lines(unsafe_in_named_files, UNSAFE_FILES[0], raw), []);
    assert_eq!(lines(unsafe_is_explained, UNSAFE_FILES[0], raw), [4]);
}

#[test]
fn lengths_are_measured_without_unit_tests() {
    let body = "    x();\n".repeat(MAX_FUNCTION_LINES - 1);
    assert_eq!(lines(function_length, "src/x/y.rs", &format!("\nfn f() {{\n{body}}}\n")), [2]);
    assert_eq!(lines(function_length, "src/x/y.rs", &format!("fn f() {{\n{}}}\n", &body[9..])), []);
    let code = "x();\n".repeat(MAX_FILE_LINES);
    assert_eq!(
        lines(file_length, "src/x/y.rs", &format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n")),
        []
    );
    assert_eq!(lines(file_length, "src/x/y.rs", &format!("{code}x();\n")), [1]);
    assert_eq!(too_long(1, "f", 80, 90, 70).len(), 1, "an exception that is larger than it need be");
    assert_eq!(lines(line_length, "src/x/y.rs", &format!("\n{}", "ü".repeat(MAX_LINE + 1))), [2]);
    assert_eq!(lines(line_length, "src/x/y.rs", &"ü".repeat(MAX_LINE)), []);
}

#[test]
fn headers_and_leftovers_are_found() {
    assert_eq!(lines(header, "src/x.rs", "use a;"), [1]);
    assert_eq!(lines(header, "src/x.rs", "//! What it is for."), []);
    let raw = format!("todo!()\ndbg!(x)\n// {}: later\n\"todo!\"", concat!("FIX", "ME"));
    assert_eq!(lines(nothing_unfinished, "src/x.rs", &raw), [1, 2, 3]);
}

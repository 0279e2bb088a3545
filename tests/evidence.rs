//! Evidence: what is changed afterwards is found, whatever it is, and named; and what OpenSSH says of it.
//!
//! The bundles are made by the program itself, of runs whose tiles were written here, so that not one packet is sent.

#[path = "evidence/made.rs"]
mod made;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use made::{Made, Options};
use portreeve::diff::{Kind, compare};
use portreeve::evidence::bundle::{CONTENTS, MANIFEST, SIGNATURE, SUMS};
use portreeve::evidence::manifest::{Manifest, Verdict};
use portreeve::evidence::sign::allowed_signers;
use portreeve::evidence::surveyed::survey_of;
use portreeve::evidence::verify::{Against, Wrong, verify};
use portreeve::import::{Wanted, read};

/// A generator of numbers that are the same in every run (Steele, Lea and Flood, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn all_files() -> Vec<&'static str> {
    CONTENTS.into_iter().chain([MANIFEST, SIGNATURE, SUMS]).collect()
}

fn holds(dir: &Path, against: &Against) -> Result<(), Wrong> {
    verify(dir, against).map(|_| ())
}

/// One change of one file; what it is now, and what was done.
fn mutate(random: &mut SplitMix, text: &[u8], other_run: &[u8], older: &[u8]) -> (Vec<u8>, &'static str) {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut changed = text.to_vec();
    let at = random.below(text.len());
    match random.below(10) {
        0..=2 => {
            changed[at] ^= 1 << random.below(8);
            (changed, "a bit was flipped")
        }
        3 => {
            changed.remove(at);
            (changed, "a byte was taken out")
        }
        4 => {
            changed.insert(at, b"0 \n{"[random.below(4)]);
            (changed, "a byte was put in")
        }
        5 => (text[..at].to_vec(), "it was truncated"),
        6 => {
            let line = random.below(lines.len());
            ([&lines[..line], &lines[line + 1..]].concat().concat(), "a line was dropped")
        }
        7 => {
            let mut lines = lines.clone();
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            lines.swap(one, other);
            (lines.concat(), "two lines changed places")
        }
        8 => (other_run.to_vec(), "it was swapped with another run's"),
        _ => (older.to_vec(), "it was rolled back to an older run's"),
    }
}

/// Every one of ten thousand changes is found, and the file that was changed is named. The signature is over the
/// manifest, so of those two either may be.
#[test]
fn ten_thousand_changes_are_found_and_named() {
    let older = Made::new(&Options::default());
    let run = Made::new(&Options { previous: Some(older.dir().to_owned()), opens: 5, ..Options::default() });
    let other =
        Made::new(&Options { previous: Some(older.dir().to_owned()), opens: 7, ..Options::default() });
    let signers = Some(allowed_signers(&run.signers()).expect("signers"));
    let against = Against { signers, previous: Some(older.dir().to_owned()), ..Against::default() };
    assert_eq!(holds(run.dir(), &against), Ok(()));
    assert_eq!(holds(other.dir(), &against), Ok(()));
    let mut random = SplitMix(7);
    let mut told = BTreeSet::new();
    let mut made = 0;
    while made < 10_000 {
        let files = all_files();
        let name = files[random.below(files.len())];
        let path = run.dir().join(name);
        let text = fs::read(&path).expect("a file");
        let read = |made: &Made| fs::read(made.dir().join(name)).expect("a file");
        let (changed, how) = mutate(&mut random, &text, &read(&other), &read(&older));
        if changed == text {
            continue;
        }
        made += 1;
        fs::write(&path, &changed).expect("room");
        let found = holds(run.dir(), &against);
        fs::write(&path, &text).expect("room");
        let wrong = found.expect_err(&format!("change {made}: {how} in {name}"));
        let is_named = wrong.file == name || (name == MANIFEST && wrong.file == SIGNATURE);
        assert!(is_named, "change {made}: {how} in {name}, and the blame is on {wrong}");
        told.insert((name, how));
    }
    assert!(told.len() > all_files().len() * 5, "{told:?}");
    assert_eq!(holds(run.dir(), &against), Ok(()));
}

/// Who takes files away, or puts some there, is found as well.
#[test]
fn files_that_are_gone_or_strange_are_named() {
    let run = Made::new(&Options::default());
    for name in all_files() {
        let path = run.dir().join(name);
        let text = fs::read(&path).expect("a file");
        fs::remove_file(&path).expect("it can go");
        assert_eq!(holds(run.dir(), &Against::default()).expect_err(name).file, name);
        let elsewhere = run.aside("elsewhere");
        fs::write(&elsewhere, &text).expect("room");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("a link");
        assert_eq!(holds(run.dir(), &Against::default()).expect_err(name).file, name);
        fs::remove_file(&path).expect("it can go");
        fs::write(&path, &text).expect("room");
    }
    fs::write(run.dir().join("notes.txt"), "mine").expect("room");
    assert_eq!(holds(run.dir(), &Against::default()).expect_err("a stranger").file, "notes.txt");
}

/// A whole bundle of an older run in the place of the newer one is sound by itself. What tells them apart is what was
/// noted elsewhere: the digest, or the bundle before it.
#[test]
fn a_whole_bundle_that_is_rolled_back_is_found_from_outside() {
    let first = Made::new(&Options::default());
    let second = Made::new(&Options { previous: Some(first.dir().to_owned()), ..Options::default() });
    let third = Made::new(&Options { previous: Some(second.dir().to_owned()), ..Options::default() });
    let noted = |made: &Made| Against { manifest: Some(made.digest()), ..Against::default() };
    assert_eq!(holds(third.dir(), &noted(&third)), Ok(()));
    assert_eq!(holds(second.dir(), &noted(&third)).expect_err("rolled back").file, MANIFEST);
    let follows = |made: &Made| Against { previous: Some(made.dir().to_owned()), ..Against::default() };
    assert_eq!(holds(third.dir(), &follows(&second)), Ok(()));
    assert_eq!(holds(second.dir(), &follows(&second)).expect_err("rolled back").file, MANIFEST);
    assert_eq!(holds(third.dir(), &follows(&first)).expect_err("one is missing").file, MANIFEST);
}

/// Whoever forges all of it consistently has no key that is known.
#[test]
fn a_stranger_s_signature_is_none() {
    let known = Made::new(&Options::default());
    let forged = Made::new(&Options { key: Some("another"), ..Options::default() });
    let signers = Some(allowed_signers(&known.signers()).expect("signers"));
    let against = Against { signers, ..Against::default() };
    assert_eq!(holds(known.dir(), &against), Ok(()));
    let wrong = holds(forged.dir(), &against).expect_err("a stranger");
    assert!(wrong.file == SIGNATURE && wrong.why.contains("not among the signers"), "{wrong}");
    let unsigned = Made::new(&Options { signed: false, ..Options::default() });
    assert_eq!(holds(unsigned.dir(), &Against::default()), Ok(()));
    assert!(holds(unsigned.dir(), &against).expect_err("nobody").why.contains("nobody vouches"));
}

fn openssh(signers: &Path, signature: &Path, file: &Path) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-I", "netsec", "-n", "portreeve-evidence", "-f"]).arg(signers);
    let input = fs::File::open(file).expect("a file");
    let output = command.arg("-s").arg(signature).stdin(Stdio::from(input)).output();
    output.expect("ssh-keygen is installed (openssh-client)").status.success()
}

#[test]
fn openssh_accepts_the_true_one_and_no_other() {
    let run = Made::new(&Options::default());
    let (signature, manifest) = (run.dir().join(SIGNATURE), run.dir().join(MANIFEST));
    assert!(openssh(&run.signers(), &signature, &manifest));
    let changed = run.aside("changed.json");
    let text = fs::read_to_string(&manifest).expect("a manifest").replace("NET-01", "NET-02");
    fs::write(&changed, text).expect("room");
    assert!(!openssh(&run.signers(), &signature, &changed));
    let other = Made::new(&Options { key: Some("another"), ..Options::default() });
    assert!(!openssh(&run.signers(), &other.dir().join(SIGNATURE), &other.dir().join(MANIFEST)));
}

#[test]
fn a_sign_off_is_a_signature_over_this_bundle() {
    let run = Made::new(&Options::default());
    let reviewer = run.another_key("reviewer");
    run.sign_off(&reviewer, "seen and accepted");
    let sound = verify(run.dir(), &Against::default()).expect("sound");
    assert_eq!(sound.sign_offs.len(), 1);
    assert_eq!(sound.sign_offs[0].sign_off.statement, "seen and accepted");
    let listed = fs::read_dir(run.dir().join("signoff")).expect("sign-offs");
    let files: Vec<PathBuf> = listed.map(|entry| entry.expect("a file").path()).collect();
    let word = files.iter().find(|path| path.extension().is_some_and(|end| end == "json")).expect("a word");
    let text = fs::read_to_string(word).expect("text");
    fs::write(word, text.replace("accepted", "rejected")).expect("room");
    let wrong = holds(run.dir(), &Against::default()).expect_err("it was changed");
    assert!(wrong.file.starts_with("signoff/"), "{wrong}");
}

/// 0.1 % of targets are unknown: never a pass. An exception that has run out: a fail, and why.
#[test]
fn verdicts_follow_from_what_is_known() {
    let verdict = |options: &Options| {
        let sound = verify(Made::new(options).dir(), &Against::default()).expect("sound");
        sound.manifest.conclusion
    };
    let clean = Options { opens: 0, ..Options::default() };
    assert_eq!(verdict(&clean).verdict, Verdict::Pass);
    let unknown = verdict(&Options { unknown_per_mille: 1, ..clean.clone() });
    assert_eq!(unknown.verdict, Verdict::Inconclusive);
    let coverage = &unknown.assessments[0];
    assert!(!coverage.met && coverage.statement.contains("receiver-dropped"), "{coverage:?}");
    let expired = verdict(&Options { allow: Some("2020-01-31"), ..clean.clone() });
    assert_eq!(expired.verdict, Verdict::Fail);
    let exceptions = &expired.assessments[2];
    assert!(!exceptions.met && exceptions.statement.contains("ended 2020-01-31"), "{exceptions:?}");
    assert_eq!(verdict(&Options { allow: Some("2099-01-31"), ..clean.clone() }).verdict, Verdict::Pass);
    let exposed = verdict(&Options { opens: 3, unknown_per_mille: 1, ..clean });
    assert_eq!(exposed.verdict, Verdict::Fail);
    assert!(!exposed.assessments[0].met && !exposed.assessments[1].met);
}

/// What was found then and is not seen now is not fixed.
#[test]
fn a_comparison_says_what_it_does_not_know() {
    let older = Made::new(&Options { opens: 6, ..Options::default() });
    let previous = Some(older.dir().to_owned());
    let newer = Made::new(&Options { previous: previous.clone(), opens: 4, ..Options::default() });
    let comparison = newer.manifest().comparison.expect("a comparison");
    let counts = |comparison: &portreeve::evidence::manifest::Comparison| {
        [&comparison.new, &comparison.fixed, &comparison.persisting, &comparison.not_seen].map(Vec::len)
    };
    assert_eq!(counts(&comparison), [0, 2, 4, 0]);
    let half = Made::new(&Options { previous, opens: 0, unknown_per_mille: 1000, ..Options::default() });
    assert_eq!(counts(&half.manifest().comparison.expect("a comparison")), [0, 0, 0, 6]);
}

/// Two bundles are two runs like any others; and what is in one is what nmap's own form says of it.
#[test]
fn a_bundle_is_a_survey() {
    let (older, newer) =
        (Made::new(&Options { opens: 6, ..Options::default() }), Made::new(&Options::default()));
    let survey = |made: &Made| survey_of(made.dir(), &made.manifest()).expect("a survey");
    let difference = compare(&survey(&older), &survey(&newer));
    assert_eq!((difference.count(Kind::Closed), difference.count(Kind::Opened)), (3, 0));
    assert_eq!(difference.count_not_seen(), 0);
    let xml = fs::File::open(older.dir().join("scan.xml")).expect("nmap's form");
    let read = read("scan.xml", std::io::BufReader::new(xml), &Wanted::default()).expect("it is read");
    assert!(compare(&survey(&older), &read).is_empty());
    assert_eq!(read.listed(), 32 * 500);
    let unknown = Made::new(&Options { opens: 0, unknown_per_mille: 1000, ..Options::default() });
    let difference = compare(&survey(&older), &survey(&unknown));
    assert_eq!(difference.count(Kind::Closed), 0, "what nobody saw is not closed");
    assert!(difference.count_not_seen() > 0);
}

/// Whoever has the key can sign anything, but not what does not follow from what the bundle holds.
#[test]
fn claims_that_do_not_follow_are_found_under_a_true_signature() {
    type Change = (&'static str, fn(&mut Manifest));
    let changes: [Change; 9] = [
        ("time", |manifest| manifest.time.completed = "2020-01-01T00:00:00Z".parse().expect("a time")),
        ("time", |manifest| manifest.time.pauses.clear()),
        ("time", |manifest| manifest.time.performers[0].host = "elsewhere".to_owned()),
        ("vantages", |manifest| manifest.vantages.clear()),
        ("completeness", |manifest| manifest.completeness.packets.dropped = 1),
        ("findings", |manifest| manifest.findings[0].message = "a printer, harmless".to_owned()),
        ("findings", |manifest| manifest.findings.clear()),
        ("conclusion", |manifest| manifest.conclusion.verdict = Verdict::Pass),
        ("unwatched_ports", |manifest| manifest.unwatched_ports.clear()),
    ];
    let pauses = |made: &Made| made.manifest().time.pauses.is_empty();
    for (part, change) in changes {
        let run = Made::new(&Options { stopped: true, ..Options::default() });
        assert!(!pauses(&run), "there is something to take away");
        run.forge(None, |_| {});
        assert_eq!(holds(run.dir(), &Against::default()), Ok(()), "signing again changes nothing");
        run.forge(None, change);
        let wrong = holds(run.dir(), &Against::default()).expect_err(part);
        assert!(wrong.file == MANIFEST && wrong.why.contains(&format!("`{part}`")), "{part}: {wrong}");
    }
}

/// Files that were made of the observations say what the observations have.
#[test]
fn derived_files_are_made_again() {
    for (name, text) in [("open.csv", "nothing,is,open\n"), ("scan.xml", "<nmaprun/>\n")] {
        let run = Made::new(&Options::default());
        run.forge(Some((name, text.as_bytes())), |_| {});
        assert_eq!(holds(run.dir(), &Against::default()).expect_err(name).file, name);
    }
}

/// A key that nobody knows, or one that stands twice, is read by somebody else than us.
#[test]
fn a_manifest_is_written_in_one_way_alone() {
    let run = Made::new(&Options { signed: false, ..Options::default() });
    let path = run.dir().join(MANIFEST);
    let text = fs::read_to_string(&path).expect("a manifest");
    for changed in [
        text.replacen('{', "{\n  \"verdict\": \"pass\",", 1),
        text.replacen("\"schema\":", "\"schema\": \"\", \"schema\":", 1),
        format!("{text} "),
    ] {
        fs::write(&path, &changed).expect("room");
        assert_eq!(holds(run.dir(), &Against::default()).expect_err("another text").file, MANIFEST);
    }
}

/// A few bytes that would be gigabytes are refused before they are.
#[test]
fn observations_that_grow_are_refused() {
    let run = Made::new(&Options::default());
    let empty = "{\"line\":\"block\",\"tile\":1,\"hosts\":[],\"ports\":\"1-65535\",\"transport\":\"tcp\",\
                 \"state\":\"unknown\",\"unknown\":\"interrupted\",\"targets\":0}\n";
    let bomb = zstd::encode_all(empty.repeat(300_000).as_bytes(), 3).expect("memory");
    let file = ("observations.jsonl.zst", bomb.as_slice());
    run.forge(Some(file), |manifest| manifest.completeness.tiles[0].bytes = bomb.len() as u64);
    let begun = std::time::Instant::now();
    assert!(holds(run.dir(), &Against::default()).is_err());
    assert!(begun.elapsed().as_secs() < 5, "it took {:?}", begun.elapsed());
}

/// Hosts that accept every port are a finding each, and few lines; and so nmap's form has them.
#[test]
fn hosts_that_accept_everything_are_folded() {
    let run = Made::new(&Options { answer_all: 4, ..Options::default() });
    let sound = verify(run.dir(), &Against::default()).expect("sound");
    let kinds: Vec<&str> = sound.manifest.findings.iter().map(|finding| finding.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "answers-all").count(), 4, "{kinds:?}");
    assert_eq!(sound.manifest.completeness.ledger.open, 4 * 500 + 3);
    assert!(sound.manifest.integrity.lines < 60, "{} lines", sound.manifest.integrity.lines);
    let folded =
        &sound.manifest.findings.iter().find_map(|finding| finding.answers_all.clone()).expect("folded");
    assert_eq!(folded.ports, 500);
    let survey = survey_of(run.dir(), &sound.manifest).expect("a survey");
    let xml = fs::File::open(run.dir().join("scan.xml")).expect("nmap's form");
    let read = read("scan.xml", std::io::BufReader::new(xml), &Wanted::default()).expect("it is read");
    assert!(compare(&survey, &read).is_empty());
    let older = Made::new(&Options { opens: 20, ..Options::default() });
    let previous = Some(older.dir().to_owned());
    let newer = Made::new(&Options { previous, answer_all: 32, ..Options::default() });
    let comparison = newer.manifest().comparison.expect("a comparison");
    assert_eq!((comparison.fixed.len(), comparison.excepted.len()), (0, 20), "folded is not fixed");
}

/// What is allowed now and still open is not fixed either.
#[test]
fn an_exception_fixes_nothing() {
    let older = Made::new(&Options { opens: 2, ..Options::default() });
    let previous = Some(older.dir().to_owned());
    let newer = Made::new(&Options { opens: 2, previous, allow_all: true, ..Options::default() });
    let comparison = newer.manifest().comparison.expect("a comparison");
    assert_eq!((comparison.fixed.len(), comparison.excepted.len()), (0, 2));
    assert_eq!(newer.manifest().conclusion.verdict, Verdict::Pass);
}

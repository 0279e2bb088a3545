//! `file`: lines, appended to a file that others may rotate.
//!
//! # What holds
//! - A message counts as delivered when its line is on the disk (fdatasync), in the file that has the name.
//! - Whatever rotates the file may rename it or cut it (`copytruncate`) at any time, without telling us: before and
//!   after each batch we look whether the name still leads to the same file, and whether the file is as long as it must
//!   be. If not, the batch is written again. What is written between the two steps of `copytruncate` can be lost all
//!   the same, by its nature; `create` is the better choice.
//! - A line that did not fit on the disk is taken back. One that a crash cut off is ended by a newline, so that
//!   whatever follows is whole.
//! - A crash between the disk and the outbox has a line written twice, with the same `id`.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;

use super::form::{Form, each};
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::{FileOptions, LineFormat};

/// Events may name what is exposed: not for everybody.
const MODE: u32 = 0o640;

/// How often a batch is written anew because the file was rotated meanwhile.
const ROTATIONS_MAX: usize = 3;

/// A file of lines.
pub struct JsonFile {
    options: FileOptions,
    form: Form,
    file: Option<File>,
}

impl JsonFile {
    /// The file of these options, which is opened, or made, with the first message.
    pub fn new(options: FileOptions) -> Self {
        JsonFile { options, form: Form::default(), file: None }
    }

    /// The same in this format.
    #[must_use]
    pub fn told_in(self, format: LineFormat) -> Self {
        JsonFile { form: Form::new(format), ..self }
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        for _ in 0..ROTATIONS_MAX {
            let file = match self.file.take().filter(|file| is_at(file, &self.options.path)) {
                Some(file) => file,
                None => open(&self.options.path)?,
            };
            let end = write(&file, lines).map_err(|cause| self.failed(&cause))?;
            if is_at(&file, &self.options.path) && file.metadata().is_ok_and(|found| found.len() >= end) {
                self.file = Some(file);
                return Ok(());
            }
        }
        Err(self.failed(&"it is rotated faster than it can be written"))
    }

    fn failed(&self, cause: &dyn std::fmt::Display) -> String {
        format!("failed to append to {}: {cause}", self.options.path.display())
    }
}

impl Channel for JsonFile {
    fn batch(&self) -> usize {
        512
    }

    fn deliver(&mut self, messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        let lines: Vec<_> = messages.iter().map(|message| self.form.line(message)).collect();
        let together: Vec<u8> = lines.iter().flatten().flatten().copied().collect();
        let became = self.append(&together).map_or_else(Delivery::not_now, |()| Delivery::Delivered);
        each(lines, &became)
    }
}

/// Whether a path leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: &Metadata| (found.dev(), found.ino());
    matches!((file.metadata(), path.metadata()), (Ok(own), Ok(there)) if identity(&own) == identity(&there))
}

fn open(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let existed = path.exists();
    // A FIFO that nobody reads would keep us for ever.
    let opened = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let found = path.metadata().map(|found| found.file_type());
    let other = match found {
        Ok(kind) if kind.is_dir() => Some("a directory"),
        Ok(kind) if kind.is_fifo() => Some("a FIFO"),
        Ok(kind) if kind.is_socket() => Some("a socket"),
        Ok(kind) if !kind.is_file() => Some("a device"),
        _ => None,
    };
    if let Some(other) = other {
        return Err(format!("{shown} is {other}, and what is written there is not kept; name a file"));
    }
    let file = opened.map_err(|cause| {
        let remedy = match (cause.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(parent)) => format!("; make the directory {}", parent.display()),
            (io::ErrorKind::PermissionDenied, _) => {
                "; let the user that this program runs as write there".to_owned()
            }
            _ => String::new(),
        };
        format!("failed to open {shown}: {cause}{remedy}")
    })?;
    if !existed {
        // A file is there after a crash when its directory says so.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let kept = File::open(parent).and_then(|parent| parent.sync_all());
        kept.map_err(|cause| format!("failed to make {shown} last: {cause}"))?;
    }
    Ok(file)
}

/// Appends lines, all or none, and says where the file must end from now on at least.
fn write(mut file: &File, lines: &[u8]) -> io::Result<u64> {
    let begin = file.metadata()?.len();
    let mut lines = lines.to_vec();
    if is_torn(file, begin)? {
        lines.insert(0, b'\n');
    }
    let mut written = 0;
    while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(taken) => written += taken,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => {
                take_back(file, begin, written as u64);
                return Err(cause);
            }
        }
    }
    let end = begin + written as u64;
    file.sync_data().inspect_err(|_| take_back(file, begin, written as u64))?;
    Ok(end)
}

/// Whether the last line has no end.
fn is_torn(file: &File, len: u64) -> io::Result<bool> {
    let Some(last) = len.checked_sub(1) else { return Ok(false) };
    let mut byte = [0; 1];
    // Somebody may have cut the file since.
    Ok(file.read_at(&mut byte, last)? == 1 && byte != *b"\n")
}

/// Cuts off what we have written, if nobody else has written or cut anything. Where that fails, the next line begins
/// with a newline, and what is left over is written once more.
fn take_back(file: &File, begin: u64, written: u64) {
    if file.metadata().is_ok_and(|found| found.len() == begin + written) {
        let _ = file.set_len(begin);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::sink::channel::samples::{event, firing, now};

    fn place() -> (TempDir, PathBuf, JsonFile) {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("events.jsonl");
        let file = JsonFile::new(FileOptions { path: path.clone() });
        (directory, path, file)
    }

    fn deliver(file: &mut JsonFile, messages: &[Message]) {
        assert_eq!(file.deliver(messages, now()), vec![Delivery::Delivered; messages.len()]);
    }

    /// The identifiers of the lines that are JSON.
    fn ids(text: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
    }

    fn ids_in(path: &Path) -> Vec<String> {
        ids(&fs::read_to_string(path).expect("a file"))
    }

    fn id(message: &Message) -> String {
        message.id().to_string()
    }

    #[test]
    fn each_message_is_a_line_and_not_for_everybody() {
        let (_directory, path, mut file) = place();
        deliver(&mut file, &[firing(1), event(2, "heartbeat")]);
        deliver(&mut file, &[firing(3)]);
        assert_eq!(ids_in(&path), [id(&firing(1)), id(&firing(2)), id(&firing(3))]);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o7737, 0o600);
    }

    #[test]
    fn a_file_that_is_renamed_is_begun_anew_and_keeps_what_it_has() {
        let (_directory, path, mut file) = place();
        let old = path.with_extension("1");
        for create in [false, true] {
            let _ = fs::remove_file(&path);
            deliver(&mut file, &[firing(1)]);
            fs::rename(&path, &old).expect("rename");
            if create {
                File::create(&path).expect("create");
            }
            deliver(&mut file, &[firing(2)]);
            assert_eq!((ids_in(&old), ids_in(&path)), (vec![id(&firing(1))], vec![id(&firing(2))]));
        }
    }

    #[test]
    fn a_file_that_is_cut_goes_on_at_its_beginning() {
        let (_directory, path, mut file) = place();
        deliver(&mut file, &[firing(1)]);
        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cut");
        deliver(&mut file, &[firing(2)]);
        assert_eq!(fs::read(&path).expect("a file"), Form::default().line(&firing(2)).expect("a line"));
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next_one() {
        let (_directory, path, mut file) = place();
        for torn in ["{\"id\":\"x\"", "{\"id\":\"\u{fc}"] {
            fs::write(&path, torn).expect("write");
            deliver(&mut file, &[firing(1)]);
            let text = fs::read_to_string(&path).expect("a file");
            assert_eq!(text.lines().next(), Some(torn));
            assert_eq!(text.lines().filter(|line| line.contains("198.18.0.9")).count(), 1);
            assert_eq!(text.lines().nth(1).map(ids), Some(vec![id(&firing(1))]));
        }
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (directory, path, _) = place();
        let fifo = path.with_extension("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        for (path, said) in [
            (directory.path().to_path_buf(), "is a directory"),
            (fifo, "is a FIFO"),
            (PathBuf::from("/dev/full"), "is a device"),
            (directory.path().join("none/events.jsonl"), "make the directory"),
        ] {
            let became = JsonFile::new(FileOptions { path: path.clone() }).deliver(&[firing(1)], now());
            let [Delivery::Retry { why, .. }] = &became[..] else { panic!("{became:?}") };
            assert!(why.contains(said) && why.contains(path.to_str().expect("text")), "{why}");
        }
        let (_directory, path, mut file) = place();
        let parent = path.parent().expect("a parent");
        fs::remove_dir(parent).expect("remove");
        assert!(matches!(&file.deliver(&[firing(1)], now())[..], [Delivery::Retry { .. }]));
        fs::create_dir(parent).expect("make");
        deliver(&mut file, &[firing(1)]);
    }

    /// Somebody renames the file, reads it at once and deletes it, as a compressing rotation does, again and again.
    #[test]
    fn nothing_is_lost_to_a_rotation_at_any_moment() {
        let (_directory, path, mut file) = place();
        let (stop, stopped) = mpsc::channel::<()>();
        let (from, old) = (path.clone(), path.with_extension("1"));
        let rotator = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                if fs::rename(&from, &old).is_ok() {
                    seen.extend(ids_in(&old));
                    fs::remove_file(&old).expect("remove");
                }
                thread::sleep(Duration::from_millis(seen.len() as u64 % 20));
            }
            seen
        });
        let mut told = BTreeSet::new();
        for number in 0..60 {
            while file.deliver(&[firing(number)], now()) != [Delivery::Delivered] {}
            told.insert(id(&firing(number)));
        }
        drop(stop);
        let mut seen = rotator.join().expect("a rotator");
        seen.extend(path.exists().then(|| ids_in(&path)).into_iter().flatten());
        assert!(told.is_subset(&seen), "{} of {} are lost", told.difference(&seen).count(), told.len());
    }
}

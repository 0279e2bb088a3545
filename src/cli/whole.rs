//! An output that is there whole or not at all: a document is written beside the file whose place it takes when it is
//! complete, so that whoever reads that file at any moment reads an old one or a new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Failure;
use super::output::{Place, shown};

/// The output of a document.
pub struct Whole {
    out: Box<dyn Write>,
    /// The file that is written, and the one whose place it takes. None where there is nothing to take the place of:
    /// standard output, a FIFO, a device.
    beside: Option<Beside>,
}

impl Whole {
    /// Makes sure that a document can be written, before anything is done that it is to tell of.
    ///
    /// # Errors
    /// When no file can be made beside the one that is named.
    pub fn open(place: Place) -> Result<Self, Failure> {
        // Behind a link is the file that is meant.
        let file = place.file().and_then(|path| path.canonicalize().ok()).filter(|path| path.is_file());
        let Some(path) = file else { return Ok(Whole { out: place.raw()?, beside: None }) };
        let (file, beside) = Beside::open(&path).map_err(|cause| {
            let (at, name) = (path.parent().unwrap_or(Path::new(".")), shown(&path));
            format!(
                "cannot write {name} whole: no file can be made in {}: {cause}; let the user that this program runs as write \
                 there, or choose another --output file",
                shown(at)
            )
        })?;
        Ok(Whole { out: Box::new(io::BufWriter::new(file)), beside: Some(beside) })
    }

    /// Puts what was written in its place.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.beside.take().map_or(Ok(()), Beside::replace)
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file beside another. It goes with this, unless it has taken the other's place.
struct Beside {
    beside: PathBuf,
    path: PathBuf,
}

impl Beside {
    fn open(path: &Path) -> io::Result<(File, Self)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // No reader of a directory takes this for a document of its kind: it is hidden, and ends otherwise.
        let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let open = || File::options().write(true).create_new(true).mode(0o600).open(&beside);
        let file = open().or_else(|cause| match cause.kind() {
            // Another process of this number was killed.
            io::ErrorKind::AlreadyExists => fs::remove_file(&beside).and_then(|()| open()),
            _ => Err(cause),
        })?;
        let beside = Beside { beside, path: path.to_path_buf() };
        let mode = path.metadata()?.permissions().mode();
        file.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
        Ok((file, beside))
    }

    fn replace(self) -> io::Result<()> {
        File::open(&self.beside)?.sync_all()?;
        fs::rename(&self.beside, &self.path)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Where it has taken the other's place, there is none any more.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Whole {
        Whole::open(Place::find(Some(path), &[], &|| false).expect("a place")).expect("a file")
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_document_takes_its_place_when_it_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sweep.prom");
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("permissions");
        let link = directory.path().join("link.prom");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        for (named, text) in [(&path, "new"), (&link, "newer")] {
            let mut whole = open(named);
            let before = fs::read_to_string(&path).expect("a file");
            whole.write_all(text.as_bytes()).expect("room");
            whole.flush().expect("room");
            assert_eq!(fs::read_to_string(&path).expect("a file"), before);
            whole.finish().expect("a document");
            assert_eq!(fs::read_to_string(&path).expect("a file"), text);
        }
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o640);
        assert!(link.symlink_metadata().expect("a link").is_symlink());
        assert_eq!(names(directory.path()).len(), 2);
    }

    #[test]
    fn a_document_that_was_not_finished_leaves_no_trace() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sweep.prom");
        fs::write(&path, "old").expect("a file");
        let mut whole = open(&path);
        whole.write_all(b"half").expect("room");
        drop(whole);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "old");
        assert_eq!(names(directory.path()), ["sweep.prom"]);
    }
}

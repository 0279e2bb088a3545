//! A file as a stream that knows where it is, and of which no piece is longer than it may be.

use std::io::{self, BufRead, Read};

use super::error::{Fault, Place};

/// The longest line, element or record.
pub const MOST_BYTES: usize = 4 << 20;

/// What is looked at to tell what a file is.
const BEGINNING: usize = 4096;

/// The beginning of a file, without a byte order mark, and whether that is all of it.
pub(super) fn begin(input: &mut impl BufRead) -> Result<(Vec<u8>, bool), Fault> {
    let mut beginning = Vec::new();
    let read = input.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning);
    read.map_err(|cause| Fault::unreadable(Place::Line(1, 1), &cause))?;
    let is_all = beginning.len() < BEGINNING;
    if beginning.starts_with(b"\xef\xbb\xbf") {
        beginning.drain(..3);
    }
    Ok((beginning, is_all))
}

/// A stream.
pub(super) struct Feed<'r> {
    input: &'r mut dyn BufRead,
    /// What the piece that is being read may still have.
    left: usize,
    line: u64,
    column: u64,
    byte: u64,
    last: u8,
}

impl<'r> Feed<'r> {
    pub(super) fn new(input: &'r mut dyn BufRead) -> Self {
        Feed { input, left: MOST_BYTES, line: 1, column: 1, byte: 0, last: b'\n' }
    }

    /// A piece is over, and another begins.
    pub(super) fn renew(&mut self) {
        self.left = MOST_BYTES;
    }

    /// The place of the next byte.
    pub(super) fn place(&self) -> Place {
        Place::Line(self.line, self.column)
    }

    /// The number of the next line.
    pub(super) fn line_number(&self) -> u64 {
        self.line
    }

    /// Whether the last byte that was read ended a line, or there was none.
    pub(super) fn is_at_line(&self) -> bool {
        self.last == b'\n'
    }

    /// The next byte, which stays where it is.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        let place = self.place();
        loop {
            match self.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Fault::unreadable(place, &cause)),
            }
        }
    }

    /// The next line, without its end; `None` where there is none. A last line without an end is an error: nobody can
    /// tell whether it is a whole one.
    pub(super) fn line(&mut self, line: &mut Vec<u8>) -> Result<Option<u64>, Fault> {
        self.renew();
        line.clear();
        let number = self.line;
        let place = Place::Line(number, 1);
        let read = self.read_until(b'\n', line).map_err(|cause| Fault::unreadable(place, &cause))?;
        if read == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(Fault::cut(Place::Line(number, read as u64 + 1), "the last line has no end"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(number))
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Feed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.input.fill_buf()?;
        let count = bytes.len().min(self.left);
        if count == 0 && !bytes.is_empty() {
            let message = format!("what begins here has more than {} MiB", MOST_BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(&bytes[..count])
    }

    fn consume(&mut self, count: usize) {
        // Whoever consumes has looked at these bytes just now, so that they are still there.
        if let Ok(bytes) = self.input.fill_buf() {
            let bytes = &bytes[..count.min(bytes.len())];
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.column += line.len() as u64;
                if line.ends_with(b"\n") {
                    self.line += 1;
                    self.column = 1;
                }
            }
            self.last = bytes.last().copied().unwrap_or(self.last);
        }
        self.byte += count as u64;
        self.left = self.left.saturating_sub(count);
        self.input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<String>, Fault> {
        let mut input = text;
        let mut feed = Feed::new(&mut input);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while feed.line(&mut line)?.is_some() {
            lines.push(String::from_utf8(line.clone()).expect("text"));
        }
        Ok(lines)
    }

    #[test]
    fn lines_come_whole_or_not_at_all() {
        assert_eq!(lines(b"a\r\nb\n\nc\n"), Ok(["a", "b", "", "c"].map(str::to_owned).to_vec()));
        assert_eq!(lines(b""), Ok(vec![]));
        assert_eq!(lines(b"a\nbc").expect_err("cut").place, Place::Line(2, 3));
    }

    #[test]
    fn no_line_is_longer_than_it_may_be() {
        let mut long = vec![b'x'; MOST_BYTES];
        long[MOST_BYTES - 1] = b'\n';
        assert_eq!(lines(&long).expect("just fits").len(), 1);
        long[MOST_BYTES - 1] = b'x';
        long.push(b'\n');
        let error = lines(&long).expect_err("too long");
        assert_eq!(error.place, Place::Line(1, 1));
        assert!(error.message.contains("more than 4 MiB"), "{error}");
    }
}

//! Lines, of JSON above all: one event a line, and never half a line.

use std::io::{self, Write};

use serde::Serialize;

use super::plain;

/// Whole lines are gathered up to this many bytes before they are written: as much as a pipe takes in one piece, so
/// that a reader never sees part of a line, whatever kills us.
const GATHER: usize = 4096;

/// Writes events as lines.
#[derive(Debug)]
pub struct JsonLines<W: Write> {
    out: W,
    gathered: Vec<u8>,
}

impl<W: Write> JsonLines<W> {
    /// A writer over `out`, which should not buffer by itself.
    pub fn new(out: W) -> Self {
        JsonLines { out, gathered: Vec::with_capacity(GATHER) }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&mut self, event: &impl Serialize) -> io::Result<()> {
        self.write_line(&plain::to_vec(event)?)
    }

    /// Adds what is a line already, but for its end.
    ///
    /// # Errors
    /// As above.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.gathered.len() + line.len() + 1 > GATHER {
            self.flush()?;
        }
        self.gathered.extend_from_slice(line);
        self.gathered.push(b'\n');
        Ok(())
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the output fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers each call as a piece.
    struct Pieces(Vec<Vec<u8>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_whole_lines_in_pieces_that_a_pipe_takes_at_once() {
        let mut lines = JsonLines::new(Pieces(Vec::new()));
        for n in 0..1000 {
            lines.write(&"x".repeat(n % 700)).expect("memory");
        }
        lines.write(&"y".repeat(10_000)).expect("memory");
        lines.flush().expect("memory");
        let pieces = &lines.out.0;
        assert!(pieces.len() > 50);
        for piece in pieces {
            assert_eq!(piece.last(), Some(&b'\n'));
            assert!(piece.len() <= GATHER || piece.iter().filter(|b| **b == b'\n').count() == 1);
        }
        let whole = String::from_utf8(pieces.concat()).expect("text");
        assert_eq!(whole.lines().count(), 1001);
        assert!(whole.lines().all(|line| serde_json::from_str::<String>(line).is_ok()));
    }
}

//! Rust source as `tests/tidy.rs` looks at it: what is code and what is not, which paths it names, how long its
//! functions are. A small lexer instead of a parser: what it must tell apart is only code, comments and literals.

/// One file.
pub struct Source {
    /// Relative to the package, such as `src/sweep/run.rs`.
    pub path: String,
    /// As it is.
    pub raw: String,
    /// The same lines and columns, with comments and literals blanked out.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        Source { path: path.to_owned(), raw: raw.to_owned(), code: blank(raw) }
    }

    /// The line, from 1, of a place in `code`.
    pub fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The code before the unit tests.
    pub fn untested(&self) -> &str {
        let begin = |marker| self.code.find(marker).unwrap_or(self.code.len());
        &self.code[..begin("#[cfg(test)]\nmod ").min(begin("#[cfg(all(test"))]
    }

    /// Places of a word: not a part of a longer identifier.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let is_joined = |at: Option<&u8>| at.is_some_and(|byte| is_identifier(*byte));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| *at == 0 || !is_joined(bytes.get(at - 1)))
            .filter(|at| !is_joined(bytes.get(at + word.len())))
            .collect()
    }

    /// The module path of a place: that of the file, and inside it that of the inline modules around the place.
    pub fn module_at(&self, at: usize) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        for begin in self.words("mod") {
            let head = &self.code[begin..];
            let Some(open) = head.find(['{', ';']) else { continue };
            if head.as_bytes()[open] == b'{' && begin < at && at < self.closing(begin + open) {
                module.push(head[3..open].trim().to_owned());
            }
        }
        module
    }

    /// Every path of this crate that the file names, from the crate's root, with its place: `crate::…`, `super::…`,
    /// inside braces too.
    pub fn crate_paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut paths = Vec::new();
        for at in self.words("crate") {
            self.tree(at + "crate".len(), &mut Vec::new(), &mut paths);
        }
        for at in self.words("super") {
            if self.code[..at].ends_with("super::") {
                continue;
            }
            let mut module = self.module_at(at);
            let mut end = at;
            while self.code[end..].starts_with("super") {
                module.pop();
                end += "super".len();
                if self.code[end..].starts_with("::super") {
                    end += 2;
                }
            }
            self.tree(end, &mut module, &mut paths);
        }
        paths
    }

    /// Every path into another crate.
    pub fn outside_paths(&self, name: &str) -> Vec<(usize, Vec<String>)> {
        let mut paths = Vec::new();
        for at in self.words(name) {
            self.tree(at + name.len(), &mut Vec::new(), &mut paths);
        }
        paths
    }

    /// Follows a path from just before its `::`, and each branch of its braces.
    fn tree(&self, at: usize, prefix: &mut Vec<String>, paths: &mut Vec<(usize, Vec<String>)>) {
        let Some(rest) = self.code[at..].strip_prefix("::") else {
            if !prefix.is_empty() {
                paths.push((at, prefix.clone()));
            }
            return;
        };
        let begin = at + 2;
        if !rest.starts_with('{') {
            let len = rest.bytes().take_while(|byte| is_identifier(*byte)).count();
            prefix.push(rest[..len].to_owned());
            self.tree(begin + len, prefix, paths);
            prefix.pop();
            return;
        }
        let end = self.closing(begin);
        let mut branch = begin + 1;
        while branch < end {
            branch += self.code[branch..end].bytes().take_while(u8::is_ascii_whitespace).count();
            let len = self.code[branch..end].bytes().take_while(|byte| is_identifier(*byte)).count();
            if len > 0 {
                prefix.push(self.code[branch..branch + len].to_owned());
                self.tree(branch + len, prefix, paths);
                prefix.pop();
            }
            branch = self.next_branch(branch + len, end);
        }
    }

    /// Just after the next comma that is not inside deeper braces.
    fn next_branch(&self, from: usize, end: usize) -> usize {
        let mut depth = 0;
        for (n, byte) in self.code[from..end].bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b',' if depth == 0 => return from + n + 1,
                _ => {}
            }
        }
        end
    }

    /// Each function before the unit tests: its place, its name and its number of lines.
    pub fn functions(&self) -> Vec<(usize, String, usize)> {
        let mut functions = Vec::new();
        for at in self.words("fn") {
            let head = &self.code[at..];
            let name: String =
                head[2..].trim_start().chars().take_while(|c| is_identifier(*c as u8)).collect();
            let Some(open) = head.find(['{', ';']) else { continue };
            if name.is_empty() || head.as_bytes()[open] == b';' || at >= self.untested().len() {
                continue;
            }
            let end = self.closing(at + open);
            functions.push((at, name, self.line_of(end) - self.line_of(at) + 1));
        }
        functions
    }

    /// The brace that closes the one here; the end of the file if none does.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (n, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return n;
            }
        }
        self.code.len()
    }
}

fn is_identifier(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Blanks comments, strings and character literals, byte by byte, so that every place stays where it was.
fn blank(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        for byte in &mut code[at..end.max(at)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Code outside literals is ASCII here; anything else would have been blanked in part only.
    code.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { ' ' }).collect()
}

/// Where the comment or literal ends that begins here; this place itself if none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |needle: &[u8], from: usize| {
        let from = from.min(rest.len());
        let found = rest[from..].windows(needle.len()).position(|window| window == needle);
        found.map_or(bytes.len(), |n| at + from + n + needle.len())
    };
    let is_word = at > 0 && is_identifier(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => find(b"\n", 2).saturating_sub(1).max(at),
        [b'/', b'*', ..] => find(b"*/", 2),
        [b'r', b'"' | b'#', ..] if !is_word => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return at;
            }
            let mut close = vec![b'"'];
            close.resize(1 + hashes, b'#');
            find(&close, 2 + hashes)
        }
        [b'"', ..] => {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            (at + end + 1).min(bytes.len())
        }
        [b'\'', b'\\', ..] => find(b"'", 3),
        // A lifetime has no quote after its first letter.
        [b'\'', _, b'\'', ..] => at + 3,
        _ => at,
    }
}

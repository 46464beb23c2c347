//! The headers of a message, one after the other.

use memchr::{memchr, memmem};

use super::scan::trim;

/// Where the body begins: after the first empty line. The stack knows only one that ends in CR LF twice.
pub fn head_end(message: &[u8]) -> Option<usize> {
    memmem::find(message, b"\r\n\r\n").map(|at| at + 4)
}

/// Names and values of a message's headers, folded lines taken together; what is no header is passed over.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The headers after the start line; `head` may go on with a body.
    pub fn new(head: &'a [u8]) -> Self {
        Self { rest: after_line(head).1 }
    }
}

/// The first line, without what ends it.
pub(super) fn start_line(message: &[u8]) -> &[u8] {
    after_line(message).0
}

/// The first line without its end, and what follows it.
fn after_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', bytes) {
        Some(at) => {
            let line = &bytes[..at];
            (line.strip_suffix(b"\r").unwrap_or(line), &bytes[at + 1..])
        }
        None => (bytes, &[]),
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let whole = self.rest;
            let (line, mut rest) = after_line(whole);
            if line.is_empty() {
                // The empty line, or nothing more.
                self.rest = &[];
                return None;
            }
            // Lines that begin with white space belong to it (RFC 3261 §7.3.1).
            while matches!(rest.first(), Some(b' ' | b'\t')) {
                rest = after_line(rest).1;
            }
            self.rest = rest;
            let field = &whole[..whole.len() - rest.len()];
            let Some(colon) = memchr(b':', line) else { continue };
            // The continuation of a start line that has none.
            if matches!(line[0], b' ' | b'\t') {
                continue;
            }
            return Some((trim(&field[..colon]), trim(&field[colon + 1..])));
        }
    }
}

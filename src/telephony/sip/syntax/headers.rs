//! The headers of a message, one after the other.

use super::scan::trim;

/// Where the body begins: after the first empty line. The stack knows only one that ends in CR LF twice.
pub fn head_end(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
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
    match bytes.iter().position(|b| *b == b'\n') {
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
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            // The continuation of a start line that has none.
            if matches!(line[0], b' ' | b'\t') {
                continue;
            }
            return Some((trim(&field[..colon]), trim(&field[colon + 1..])));
        }
    }
}

/// Is there anything in the head, wherever it stands, that the stack does not read: folded lines, bytes that are not UTF-8?
pub(super) fn is_loose(head: &[u8]) -> bool {
    head.windows(2).any(|w| w[0] == b'\n' && matches!(w[1], b' ' | b'\t')) || std::str::from_utf8(head).is_err()
}

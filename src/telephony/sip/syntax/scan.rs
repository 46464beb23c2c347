//! The small words of RFC 3261 §25.1: tokens, quoted strings, white space, parameters, addresses, URIs.

use rsipstack::sip::{Method, Transport};

/// Reads a header's value from left to right. Line folding counts as white space, as the grammar says.
#[derive(Debug, Clone)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// White space, escapes or quoted marks stood where the stack's parser does not expect them.
    pub loose: bool,
}

/// `token` (RFC 3261 §25.1).
pub(super) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

pub(super) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without the white space around it.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// A `name=value` after a semicolon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub name: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl Param<'_> {
    /// Can the stack's parser take it? It gives a message up for a parameter that it only half knows.
    fn readable(&self) -> bool {
        let value = self.value.map(std::str::from_utf8);
        match value {
            Some(Ok(value)) if self.name.eq_ignore_ascii_case(b"transport") => value.parse::<Transport>().is_ok(),
            Some(Ok(value)) if self.name.eq_ignore_ascii_case(b"method") => value.parse::<Method>().is_ok(),
            Some(Ok(value)) if self.name.eq_ignore_ascii_case(b"rport") => value.parse::<u16>().is_ok(),
            Some(Err(_)) => false,
            _ => true,
        }
    }
}

impl<'a> Scan<'a> {
    /// At the beginning of a value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { bytes: trim(value), at: 0, loose: false }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Is everything read?
    pub fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Skips white space; how much there was.
    pub fn space(&mut self) -> usize {
        let before = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at - before
    }

    fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A separator with white space allowed on both sides (`SEMI`, `EQUAL`, `SLASH`, `COMMA`, `COLON`).
    pub fn separator(&mut self, mark: u8) -> bool {
        let before = self.at;
        self.space();
        if self.peek() != Some(mark) {
            self.at = before;
            return false;
        }
        self.at += 1;
        self.space();
        self.loose |= self.at > before + 1;
        true
    }

    /// A token, at least one character long.
    pub fn token(&mut self) -> Option<&'a [u8]> {
        let word = self.run(is_token);
        (!word.is_empty()).then_some(word)
    }

    /// A number, at least one digit long.
    pub fn digits(&mut self) -> Option<&'a [u8]> {
        let word = self.run(|b| b.is_ascii_digit());
        (!word.is_empty()).then_some(word)
    }

    /// A quoted string with its quotes.
    pub fn quoted(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        if rest.first() != Some(&b'"') {
            return None;
        }
        let mut at = 1;
        loop {
            match rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    self.loose = true;
                    at += 2;
                }
                b => {
                    self.loose |= matches!(b, b'<' | b'>');
                    at += 1;
                }
            }
        }
        self.at += at + 1;
        Some(&rest[..=at])
    }

    /// The parameters up to the next comma or the end; `None` where one is malformed.
    pub fn params(&mut self, mut each: impl FnMut(Param<'a>)) -> Option<()> {
        while self.separator(b';') {
            let name = self.token()?;
            let value = if self.separator(b'=') {
                // A token, a host (IPv6 ones with and without brackets, RFC 5118 §4.5) or a quoted string.
                let plain = |b: u8| b > b' ' && b != 0x7f && !b",;\"<>".contains(&b);
                let value = self.quoted().unwrap_or_else(|| self.run(plain));
                // The stack splits a quoted string at its semicolons.
                if value.is_empty() || !value.split(|b| *b == b';').skip(1).all(readable) {
                    return None;
                }
                Some(value)
            } else {
                None
            };
            let param = Param { name, value };
            if !param.readable() {
                return None;
            }
            each(param);
        }
        Some(())
    }

    /// `host [":" port]`.
    pub fn host_and_port(&mut self) -> Option<()> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let host = if self.peek() == Some(b'[') { self.run(|b| b.is_ascii_hexdigit() || b"[:.]".contains(&b)) } else { self.run(name) };
        // "[2001:db8::1]:5070" is one run: the port goes with it.
        match host {
            [] => return None,
            [b'[', ..] => {
                let close = host.iter().position(|b| *b == b']')?;
                self.loose |= !readable_ipv6(&host[1..close])?;
                self.at -= host.len() - close - 1;
            }
            _ => {}
        }
        if self.separator(b':') {
            port(self.digits()?)?;
        }
        Some(())
    }

    /// `name-addr` or `addr-spec` with header parameters: the value of `From`, `To`, `Contact`, `Route` ….
    pub fn address(&mut self, each: impl FnMut(Param<'a>)) -> Option<()> {
        self.space();
        if self.peek() == Some(b'"') {
            self.quoted()?;
            self.space();
        } else if self.angle_ahead() {
            // `display-name` should be tokens; what cannot be mistaken is borne, as names come unquoted from many a
            // switchboard. A comma can be (RFC 4475 §3.1.2.15). No white space is needed before "<" (§3.1.1.6).
            while self.peek() != Some(b'<') {
                let word = self.run(|b| b > b' ' && b != 0x7f && !b",;:\"<>@\\".contains(&b));
                if word.is_empty() {
                    return None;
                }
                self.space();
            }
        } else {
            // Without brackets everything after ";" is the header's; a "?" or "," cannot be told apart (RFC 3261 §20).
            let spec = self.run(|b| !is_space(b) && !b";,?<>\"".contains(&b));
            self.loose |= uri(spec)?;
            // With an "@" behind it the semicolon may be the user part's as well: the stack would take it so.
            if self.rest().contains(&b'@') {
                return None;
            }
            return self.params(each);
        }
        if self.peek() != Some(b'<') {
            return None;
        }
        self.at += 1;
        let spec = self.run(|b| b != b'>' && !is_space(b));
        if self.peek() != Some(b'>') {
            return None;
        }
        self.at += 1;
        self.loose |= uri(spec)?;
        self.params(each)
    }

    /// Does a "<" come before this value ends?
    fn angle_ahead(&self) -> bool {
        self.rest().iter().copied().find(|b| b"<,;".contains(b)) == Some(b'<')
            // "Bell, Alexander <sip:…>": the comma is part of a malformed name, not the end of a value.
            || self.rest().iter().position(|b| *b == b'<').is_some_and(|angle| !self.rest()[..angle].contains(&b':'))
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An IPv6 address: does the stack read it as it is? `None` where it is none.
fn readable_ipv6(text: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(text).ok()?;
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(true);
    }
    // The colon too many that RFC 3261's own grammar has (RFC 5118 §4.10).
    text.replacen(":::", "::", 1).parse::<std::net::Ipv6Addr>().ok().map(|_| false)
}

/// The scheme of a URI, `None` where it has none.
pub(super) fn scheme(uri: &[u8]) -> Option<&[u8]> {
    let colon = uri.iter().position(|b| *b == b':')?;
    let scheme = &uri[..colon];
    let valid =
        scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    valid.then_some(scheme)
}

/// Is it one of the schemes that stand for a telephone: `sip`, `sips`, `tel`?
pub(super) fn is_telephone(scheme: &[u8]) -> bool {
    [b"sip".as_slice(), b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// An absolute URI: would the stack misread it as it is? `None` where it is malformed.
pub(super) fn uri(uri: &[u8]) -> Option<bool> {
    let scheme = scheme(uri)?;
    let rest = &uri[scheme.len() + 1..];
    if rest.is_empty() || !uri.iter().all(|b| *b > b' ' && *b != 0x7f && !b"<>\"".contains(b)) {
        return None;
    }
    let sip = scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips");
    // What the stack takes for the rest: a scheme with a digit or a dot is none to it.
    let read = if scheme.iter().all(u8::is_ascii_alphabetic) { rest } else { uri };
    let (main, _headers) = split(read, b'?');
    let mut pieces = main.split(|b| *b == b';');
    let (_, host) = rsplit(pieces.next().unwrap_or_default(), b'@');
    if host.is_empty() || !pieces.all(readable) {
        return None;
    }
    if sip {
        return sip_uri(rest, host);
    }
    // The stack takes it for a host; only a port or an IPv6 address could be wrong with it.
    let mut scan = Scan::new(host);
    let fits = host[0] != b'[' || (scan.host_and_port().is_some() && !scan.loose);
    let port_fits = match host.iter().rposition(|b| *b == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => colon > 0 && port(&host[colon + 1..]).is_some(),
        _ => true,
    };
    (fits && port_fits).then_some(false)
}

/// Can the stack take this piece of a URI or of a quoted string, which it takes for a parameter?
fn readable(piece: &[u8]) -> bool {
    let (name, value) = split(trim(piece), b'=');
    Param { name, value }.readable()
}

/// What follows `sip:`; `read` is what the stack takes for its host.
fn sip_uri(rest: &[u8], read: &[u8]) -> Option<bool> {
    let at = rest.iter().position(|b| *b == b'@');
    let (user, after) = at.map_or((&[][..], rest), |at| (&rest[..at], &rest[at + 1..]));
    if after.contains(&b'@') || (at.is_some() && user.is_empty()) {
        return None;
    }
    let escapes = well_escaped(user)?;
    let mut scan = Scan::new(after);
    scan.host_and_port()?;
    if !matches!(scan.peek(), None | Some(b';' | b'?')) {
        return None;
    }
    // With a ";" or "?" in the user part the stack's host is a piece of that, which must not look like an address.
    let whole = !user.contains(&b';') && !user.contains(&b'?');
    (whole || !read.iter().any(|b| b":[".contains(b))).then_some(escapes || scan.loose)
}

/// Are there escapes, and is every "%" one? `None` where one is not.
fn well_escaped(text: &[u8]) -> Option<bool> {
    let mut escapes = false;
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let [high, low, after @ ..] = &rest[at + 1..] else { return None };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return None;
        }
        (escapes, rest) = (true, after);
    }
    Some(escapes)
}

/// Before and after the first `mark`.
fn split(bytes: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|b| *b == mark) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

/// Before and after the last `mark`; all of it is after where there is none.
fn rsplit(bytes: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match bytes.iter().rposition(|b| *b == mark) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&[], bytes),
    }
}

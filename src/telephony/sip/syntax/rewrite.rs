//! Well-formed messages, written in the one way that the stack reads as RFC 3261 does: pure.
//!
//! What the stack would misread: folded lines and white space around separators (RFC 4475 §3.1.1.1), a missing
//! Content-Length, a header line that is not UTF-8 (it stops reading there), quoted pairs and brackets in display names, and escapes
//! in user parts, which it escapes once more when it writes them: a BYE to `sip:%2B39…` would go to `sip:%252B39…`.

use super::{
    Headers, after_line_ends, head_end,
    headers::start_line,
    scan::{is_space, trim},
};

/// Headers that are lists of addresses with parameters.
const ADDRESSES: [&str; 13] = [
    "From",
    "f",
    "To",
    "t",
    "Contact",
    "m",
    "Route",
    "Record-Route",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
];

/// Is it a header whose value is a list of addresses?
pub(super) fn has_addresses(name: &[u8]) -> bool {
    ADDRESSES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Writes `message`, which [`super::check`] has found well-formed, into `out`.
pub fn rewrite(message: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let message = after_line_ends(message);
    let (head, body) = message.split_at(head_end(message).unwrap_or(message.len()));
    write_start_line(start_line(head), out);
    let mut has_length = false;
    for (name, value) in Headers::new(head) {
        has_length |= name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let begin = out.len();
        if name.eq_ignore_ascii_case(b"Via") || name.eq_ignore_ascii_case(b"v") {
            tighten(value, out);
            mend_brackets(out, begin);
        } else if has_addresses(name) {
            items(value, |item| address(item, out));
        } else {
            unfold(value, out);
        }
        out.extend_from_slice(b"\r\n");
    }
    make_utf8(out);
    if !has_length {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn write_start_line(line: &[u8], out: &mut Vec<u8>) {
    let words: Vec<_> = line.split(|b| *b == b' ').collect();
    if let [method, target, version] = words[..]
        && version.eq_ignore_ascii_case(b"SIP/2.0")
    {
        out.extend_from_slice(method);
        out.push(b' ');
        uri(target, out);
        out.extend_from_slice(b" SIP/2.0\r\n");
        return;
    }
    // A response: "sip/2.0 200 OK".
    let (version, rest) = line.split_at(line.len().min(4));
    out.extend(version.iter().map(u8::to_ascii_uppercase));
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

/// Every fold becomes one space (RFC 3261 §7.3.1).
fn unfold(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        out.extend_from_slice(trim_end(&rest[..at]));
        out.push(b' ');
        let next = rest[at..].iter().position(|b| !is_space(*b)).map_or(rest.len(), |n| at + n);
        rest = &rest[next..];
    }
    out.extend_from_slice(rest);
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|b| !is_space(*b)).map_or(0, |at| at + 1);
    &bytes[..length]
}

/// Without the white space around separators; what is left of it is one space. Quoted strings stay as they are, but for folds.
fn tighten(value: &[u8], out: &mut Vec<u8>) {
    let separator = |b: u8| b";=,/:".contains(&b);
    let begin = out.len();
    let (mut quoted, mut escaped, mut pending) = (false, false, false);
    for b in trim(value).iter().copied() {
        if is_space(b) && !(quoted && matches!(b, b' ' | b'\t')) {
            pending = true;
            continue;
        }
        if pending {
            pending = false;
            let before = out[begin..].last().copied();
            let apart = quoted || (!separator(b) && before.is_some_and(|before| !separator(before)));
            if apart && before != Some(b' ') {
                out.push(b' ');
            }
        }
        out.push(b);
        if quoted {
            (quoted, escaped) = (escaped || b != b'"', !escaped && b == b'\\');
        } else {
            quoted = b == b'"';
        }
    }
}

/// Each item of a list, with the commas between them.
fn items<'a>(value: &'a [u8], mut each: impl FnMut(Item<'a>)) {
    let (mut quoted, mut escaped, mut angle, mut begin) = (false, false, false, 0);
    for (at, b) in value.iter().copied().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !angle => quoted = !quoted,
            _ if quoted => {}
            b'<' => angle = true,
            b'>' => angle = false,
            b',' if !angle => {
                each(Item { text: trim(&value[begin..at]), last: false });
                begin = at + 1;
            }
            _ => {}
        }
    }
    each(Item { text: trim(&value[begin..]), last: true });
}

#[derive(Debug, Clone, Copy)]
struct Item<'a> {
    text: &'a [u8],
    last: bool,
}

/// An address with its display name and parameters.
fn address(item: Item<'_>, out: &mut Vec<u8>) {
    let text = item.text;
    let (display, after) = text.split_at(display_length(text));
    if !trim(display).is_empty() {
        name(trim(display), out);
        out.push(b' ');
    }
    let params = if let Some(after) = after.strip_prefix(b"<") {
        let close = after.iter().position(|b| *b == b'>').unwrap_or(after.len());
        out.push(b'<');
        uri(&after[..close], out);
        out.push(b'>');
        after.get(close + 1..).unwrap_or_default()
    } else {
        let end = after.iter().position(|b| *b == b';').unwrap_or(after.len());
        uri(trim(&after[..end]), out);
        &after[end..]
    };
    tighten(params, out);
    if !item.last {
        out.push(b',');
    }
}

/// How much of an address stands before its "<"; nothing where there is none.
fn display_length(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, b) in text.iter().copied().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return at,
            // Parameters of an address without brackets.
            b';' if !quoted => return 0,
            _ => {}
        }
    }
    0
}

/// A display name without what the stack stumbles over: quoted pairs, and brackets in quotes.
fn name(display: &[u8], out: &mut Vec<u8>) {
    let Some(inner) = display.strip_prefix(b"\"") else { return unfold(display, out) };
    out.push(b'"');
    let mut escaped = false;
    for b in inner.iter().copied() {
        match b {
            b'"' | b'\\' if escaped => out.push(b'\''),
            b'\\' => {
                escaped = true;
                continue;
            }
            b'"' => break,
            b'<' => out.push(b'('),
            b'>' => out.push(b')'),
            b if is_space(b) => out.push(b' '),
            b => out.push(b),
        }
        escaped = false;
    }
    out.push(b'"');
}

/// A URI in which nothing of the user part is escaped that need not be (RFC 3261 §19.1.4: both are the same).
fn uri(uri: &[u8], out: &mut Vec<u8>) {
    let user = uri.iter().position(|b| *b == b'@').unwrap_or(0);
    let mut rest = &uri[..user];
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        out.extend_from_slice(&rest[..at]);
        let hex = rest.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        let plain = hex.filter(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$".contains(b));
        out.push(plain.unwrap_or(b'%'));
        rest = &rest[at + if plain.is_some() { 3 } else { 1 }..];
    }
    out.extend_from_slice(rest);
    let host = out.len();
    out.extend_from_slice(&uri[user..]);
    mend_brackets(out, host);
}

/// `[2001:db8:::192.0.2.1]` is written with two colons (RFC 5118 §4.10).
fn mend_brackets(out: &mut Vec<u8>, mut begin: usize) {
    while let Some(open) = find(out, begin, b'[')
        && let Some(close) = find(out, open, b']')
    {
        begin = close;
        if let Some(at) = out[open..close].windows(3).position(|w| w == b":::") {
            out.remove(open + at);
            begin -= 1;
        }
    }
}

fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    bytes.get(from..)?.iter().position(|b| *b == wanted).map(|at| from + at)
}

/// Whatever is not UTF-8 becomes an underscore, which may stand anywhere: names in Latin-1 come from old switchboards.
fn make_utf8(out: &mut [u8]) {
    let mut begin = 0;
    while let Err(error) = std::str::from_utf8(&out[begin..]) {
        let at = begin + error.valid_up_to();
        let length = error.error_len().unwrap_or(out.len() - at);
        out[at..at + length].fill(b'_');
        begin = at + length;
    }
}

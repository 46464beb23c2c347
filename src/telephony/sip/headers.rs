//! What the headers of a request say: lists, addresses, extensions, the key in an INFO.

use rsipstack::sip::{HeadersExt, Request};

/// The most values of a header, and entries of a list, that are looked at.
const MOST_VALUES: usize = 32;

/// Every value of a header, in order, each line as it came.
pub fn values<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    request.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name)).map(|h| h.value().trim()).take(MOST_VALUES)
}

/// The entries of a header whose lines are comma-separated lists (RFC 3261 §7.3.1).
pub fn entries<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    values(request, name).flat_map(|line| split(line, ',')).map(str::trim).filter(|e| !e.is_empty()).take(MOST_VALUES)
}

/// Splits at a character, but not within quotes or angle brackets.
pub fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut bracketed = false;
        let end = unquoted(text).find(|(_, c)| {
            bracketed = *c == '<' || bracketed && *c != '>';
            *c == at && !bracketed
        });
        rest = end.and_then(|(index, _)| text.get(index + at.len_utf8()..));
        Some(end.map_or(text, |(index, _)| &text[..index]))
    })
}

/// The characters that stand outside quotes (RFC 3261 §25.1, `quoted-string`), with their places.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                return false;
            }
            _ => return !quoted,
        }
        false
    })
}

/// A `name-addr` or `addr-spec` with its header parameters (RFC 3261 §20.10): `"Name" <uri>;param=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The URI, without brackets.
    pub uri: &'a str,
    /// What stands behind it: nothing, or something beginning with `;`.
    params: &'a str,
}

impl<'a> NameAddr<'a> {
    /// Reads one entry; `None` where a bracket is never closed.
    pub fn parse(entry: &'a str) -> Option<Self> {
        let (uri, params) = match unquoted(entry).find(|(_, c)| *c == '<') {
            Some((bracket, _)) => entry[bracket + 1..].split_once('>')?,
            // Without brackets, parameters are the header's and not the URI's (RFC 3261 §20).
            None => entry.split_at(entry.find(';').unwrap_or(entry.len())),
        };
        Some(Self { uri: uri.trim(), params })
    }

    /// The value of a header parameter, without its quotes; empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        split(self.params, ';').find_map(|p| {
            let (key, value) = p.split_once('=').unwrap_or((p, ""));
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// The option tags in a list header such as `Require` or `Supported`, in small letters.
pub fn option_tags(request: &Request, header: &str) -> Vec<String> {
    entries(request, header).map(str::to_ascii_lowercase).collect()
}

/// Does the peer take this method inside a dialog (`Allow`)?
pub fn allows(request: &Request, method: &str) -> bool {
    entries(request, "Allow").any(|word| word.eq_ignore_ascii_case(method))
}

/// Is the body a session description? A body without a type is taken for one, as telephones do.
pub fn has_sdp(request: &Request) -> bool {
    let kind = request.header_value("Content-Type");
    kind.is_none_or(|v| v.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/sdp")))
}

/// The key in an INFO request: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`).
pub fn info_key(request: &Request) -> Option<char> {
    let kind = request.header_value("Content-Type")?.to_ascii_lowercase();
    let body = std::str::from_utf8(&request.body).ok()?;
    let text = match kind.split(';').next()?.trim() {
        "application/dtmf-relay" => body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then_some(value.trim())
        })?,
        "application/dtmf" => body.trim(),
        _ => return None,
    };
    match text {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut keys = text.chars();
            let key = keys.next()?.to_ascii_uppercase();
            (keys.next().is_none() && matches!(key, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(key)
        }
    }
}

/// A text of the peer's for logs and records: one line of printable characters, at most `most` of them.
pub fn printable(text: &str, most: usize) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An INVITE with these headers and this body.
    pub(in crate::telephony::sip) fn request(headers: &str, body: &str) -> Request {
        let text = format!(
            "INVITE sip:800-123.456;phone-context=+39@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
             To: <sip:800123456@192.0.2.1>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Request::try_from(text.as_str()).unwrap()
    }

    #[test]
    fn lists_go_over_lines_and_names_may_hold_anything() {
        let invite = request("Diversion: \"Rossi, <M>\" <sip:1@h>;reason=user-busy, <sip:2@h>\r\nDiversion: sip:3@h;counter=1\r\n", "");
        let list: Vec<_> = entries(&invite, "diversion").collect();
        assert_eq!(list, ["\"Rossi, <M>\" <sip:1@h>;reason=user-busy", "<sip:2@h>", "sip:3@h;counter=1"]);
        let first = NameAddr::parse(list[0]).unwrap();
        assert_eq!((first.uri, first.param("Reason"), first.param("counter")), ("sip:1@h", Some("user-busy"), None));
        let bare = NameAddr::parse(list[2]).unwrap();
        assert_eq!((bare.uri, bare.param("counter")), ("sip:3@h", Some("1")));
        assert_eq!(NameAddr::parse("<sip:4@h"), None);
        assert_eq!(NameAddr::parse("\"a\\\"<b\" <sip:5@h;x=\"y\">").unwrap().uri, "sip:5@h;x=\"y\"");
    }

    #[test]
    fn required_extensions_may_stand_on_several_lines() {
        assert_eq!(
            option_tags(&request("Require: timer , 100REL\r\nRequire: replaces\r\n", ""), "require"),
            ["timer", "100rel", "replaces"]
        );
    }

    #[test]
    fn keys_in_info() {
        let from = "From: <sip:1@192.0.2.9>;tag=1\r\n";
        let key = |kind: &str, body: &str| info_key(&request(&format!("{from}Content-Type: {kind}\r\n"), body));
        assert_eq!(key("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(key("application/dtmf-relay", "Signal= #\r\n"), Some('#'));
        assert_eq!(key("application/dtmf", "10"), Some('*'));
        assert_eq!(key("application/dtmf", "12345"), None);
        assert_eq!(key("text/plain", "5"), None);
    }

    #[test]
    fn texts_of_the_peers_are_one_short_line() {
        assert_eq!(printable(" SBC\r\n\u{1b}[31m/1.0\0", 8), "SBC   [3");
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(text in "[a,;<>\"\\\\è ]{0,24}") {
            prop_assert_eq!(split(&text, ',').collect::<Vec<_>>().join(","), text.clone());
            for entry in split(&text, ',') {
                if let Some(address) = NameAddr::parse(entry) {
                    let _ = address.param("a");
                }
            }
        }
    }
}

//! What the headers of a call say: who calls, which number, which extensions.

use rsipstack::sip::{HeadersExt, Request, Uri};

/// The longest number (E.164 has 15 digits; a short prefix may stand before it).
const LONGEST_NUMBER: usize = 24;

/// The telephone number in a SIP URI's user part: digits, with a leading `+` where there is one.
/// Parameters after `;` (RFC 3966) and visual separators are dropped; anything else is no number.
pub fn number(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or_default();
    let (plus, digits) = user.strip_prefix('+').map_or(("", user), |rest| ("+", rest));
    let digits: String = digits.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
    let fits = !digits.is_empty() && digits.len() <= LONGEST_NUMBER && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| format!("{plus}{digits}"))
}

/// The called number: the user part of the request URI.
pub fn called_number(request: &Request) -> Option<String> {
    number(request.uri.user()?)
}

/// The calling number: `P-Asserted-Identity` (RFC 3325), else `From`; `None` where the caller asked
/// for privacy (RFC 3323) or the number is no number.
pub fn calling_number(request: &Request) -> Option<String> {
    let private = request
        .header_value("Privacy")
        .is_some_and(|v| v.split(';').any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "id" | "user" | "header")));
    if private {
        return None;
    }
    let asserted = request.header_value("P-Asserted-Identity").and_then(|v| number_in(&v));
    asserted.or_else(|| request.header_value("From").and_then(|v| number_in(&v)))
}

/// The number in a header like `"Name" <sip:number@host>;tag=…` or `<tel:number>`.
fn number_in(value: &str) -> Option<String> {
    let uri = match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next()?,
        None => value.split(';').next()?,
    };
    match uri.trim().strip_prefix("tel:") {
        Some(number_part) => number(number_part),
        None => number(Uri::try_from(uri).ok()?.user()?),
    }
}

/// The option tags in a list header such as `Require` or `Supported`.
pub fn option_tags(request: &Request, header: &str) -> Vec<String> {
    let value = request.header_value(header).unwrap_or_default();
    value.split(',').map(|tag| tag.trim().to_ascii_lowercase()).filter(|tag| !tag.is_empty()).collect()
}

/// Does the peer take this method inside a dialog (`Allow`)?
pub fn allows(request: &Request, method: &str) -> bool {
    request.header_value("Allow").is_some_and(|v| v.split(',').any(|word| word.trim().eq_ignore_ascii_case(method)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &str, body: &str) -> Request {
        let text = format!(
            "INVITE sip:800-123.456;phone-context=+39@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
             To: <sip:800123456@192.0.2.1>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Request::try_from(text.as_str()).unwrap()
    }

    #[test]
    fn numbers_in_their_many_dresses() {
        for (user, expected) in [
            ("800123456", Some("800123456")),
            ("+390182970000", Some("+390182970000")),
            ("0182-970.000;npdi", Some("0182970000")),
            ("anonymous", None),
            ("", None),
            ("+", None),
            ("1234567890123456789012345", None),
        ] {
            assert_eq!(number(user).as_deref(), expected, "{user}");
        }
    }

    #[test]
    fn the_asserted_number_goes_before_from_and_privacy_before_both() {
        let from = "From: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=1\r\n";
        let asserted = "P-Asserted-Identity: <tel:+393471234567>\r\n";
        assert_eq!(calling_number(&request(from, "")).as_deref(), Some("0182970000"));
        assert_eq!(calling_number(&request(&format!("{from}{asserted}"), "")).as_deref(), Some("+393471234567"));
        assert_eq!(calling_number(&request(&format!("{from}{asserted}Privacy: id\r\n"), "")), None);
        assert_eq!(calling_number(&request("From: <sip:anonymous@anonymous.invalid>;tag=1\r\n", "")), None);
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
}

//! Who calls, which number, and which number was called first (RFC 3261, 3323, 3325, 3966, 5806, 7044).

use rsipstack::sip::Request;

use super::headers::{NameAddr, entries, values};

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

/// The number in a `sip:`, `sips:` or `tel:` URI. The stack's own parser takes the parameters of a
/// user part (`sip:+39…;npdi;rn=…@host`, as ported numbers have) for the URI's.
fn number_in_uri(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.trim().split_once(':')?;
    match scheme.to_ascii_lowercase().as_str() {
        "tel" => number(rest),
        // Headers behind a `?` may hold an `@` too. A password may follow the user after a colon; nobody sends one.
        "sip" | "sips" => number(rest.split_once('@')?.0.split(':').next()?),
        _ => None,
    }
}

/// The called number: the user part of the request URI.
pub fn called_number(request: &Request) -> Option<String> {
    number_in_uri(&request.uri.to_string())
}

/// The calling number: `P-Asserted-Identity` (RFC 3325; it may come twice, as `sip:` and as `tel:`), else
/// `Remote-Party-ID` (an expired draft that old switches still speak), else `From`. `None` where the caller
/// asked for privacy (RFC 3323) or no header holds a number.
pub fn calling_number(request: &Request) -> Option<String> {
    let private = values(request, "Privacy")
        .flat_map(|v| v.split([';', ',']))
        .any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "id" | "user" | "header"));
    if private {
        return None;
    }
    let first = |name| entries(request, name).find_map(|e| number_in_uri(NameAddr::parse(e)?.uri));
    if let Some(asserted) = first("P-Asserted-Identity") {
        return Some(asserted);
    }
    let party = entries(request, "Remote-Party-ID")
        .filter_map(NameAddr::parse)
        .find(|p| p.param("party").is_none_or(|party| party.eq_ignore_ascii_case("calling")));
    if let Some(party) = party {
        if party.param("privacy").is_some_and(|p| p.eq_ignore_ascii_case("full") || p.eq_ignore_ascii_case("uri")) {
            return None;
        }
        if let Some(number) = number_in_uri(party.uri) {
            return Some(number);
        }
    }
    first("From")
}

/// The number that was called first, where the call was forwarded to the one in the request URI:
/// the last entry of `Diversion` (RFC 5806 §3: the most recent stands first), else the first target of
/// `History-Info` (RFC 7044).
pub fn first_called(request: &Request) -> Option<String> {
    let called = called_number(request);
    let diverted = entries(request, "Diversion").filter_map(|e| number_in_uri(NameAddr::parse(e)?.uri)).last();
    let first = diverted.or_else(|| {
        let mut targets: Vec<_> = entries(request, "History-Info").filter_map(NameAddr::parse).map(|t| (index(&t), t)).collect();
        targets.sort_by(|(a, _), (b, _)| a.cmp(b));
        // A single entry is the request's own target.
        (targets.len() > 1).then(|| targets.first().and_then(|(_, t)| number_in_uri(t.uri))).flatten()
    });
    first.filter(|first| Some(first) != called.as_ref())
}

/// The place of a target in the call's history (RFC 7044 §10.3): `1.1.2`. One without comes last.
fn index(target: &NameAddr<'_>) -> Vec<u32> {
    let index = target.param("index").unwrap_or_default();
    index.split('.').map(|n| n.trim().parse().unwrap_or(u32::MAX)).take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::headers::tests::request, *};

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
    fn the_called_number_is_the_user_part_without_its_parameters() {
        let from = "From: <sip:0182970000@192.0.2.9>;tag=1\r\n";
        assert_eq!(called_number(&request(from, "")).as_deref(), Some("800123456"));
        for (uri, expected) in [
            ("sip:+390182970000;npdi;rn=+3934@192.0.2.1:5060;user=phone", Some("+390182970000")),
            ("sips:800123456@[::1]", Some("800123456")),
            ("tel:+39-0182-970000;phone-context=x", Some("+390182970000")),
            ("sip:0182970000@192.0.2.1?Reason=x%40y@z", Some("0182970000")),
            ("sip:192.0.2.1", None),
            ("mailto:800123456@example.org", None),
        ] {
            assert_eq!(number_in_uri(uri).as_deref(), expected, "{uri}");
        }
    }

    const FROM: &str = "From: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=1\r\n";

    fn caller(headers: &str) -> Option<String> {
        calling_number(&request(&format!("{FROM}{headers}"), ""))
    }

    #[test]
    fn the_asserted_number_goes_before_from_and_privacy_before_both() {
        let asserted = "P-Asserted-Identity: <tel:+393471234567>\r\n";
        for (headers, expected) in [
            ("", Some("0182970000")),
            (asserted, Some("+393471234567")),
            (&format!("{asserted}Privacy: none\r\n"), Some("+393471234567")),
            (&format!("{asserted}Privacy: id;critical\r\n"), None),
            // Twice, in one line or two; the first that is a number.
            ("P-Asserted-Identity: \"R, M\" <sip:mario@example.org>, <tel:+393471234567>\r\n", Some("+393471234567")),
            ("P-Asserted-Identity: <sip:+39347@h>\r\nP-Asserted-Identity: <tel:+39348>\r\n", Some("+39347")),
            ("P-Asserted-Identity: <sip:pbx@h>\r\n", Some("0182970000")),
        ] {
            assert_eq!(caller(headers).as_deref(), expected, "{headers}");
        }
        assert_eq!(calling_number(&request("From: <sip:anonymous@anonymous.invalid>;tag=1\r\n", "")), None);
    }

    #[test]
    fn remote_party_id_stands_between() {
        for (headers, expected) in [
            ("Remote-Party-ID: \"R\" <sip:+39347@h>;party=calling;screen=yes;privacy=off\r\n", Some("+39347")),
            ("Remote-Party-ID: <sip:+39347@h>;party=calling;privacy=full\r\n", None),
            ("Remote-Party-ID: <sip:800123456@h>;party=called, <sip:+39348@h>\r\n", Some("+39348")),
            ("Remote-Party-ID: <sip:pbx@h>;party=calling\r\n", Some("0182970000")),
            ("Remote-Party-ID: <sip:+39347@h>\r\nP-Asserted-Identity: <tel:+39349>\r\n", Some("+39349")),
        ] {
            assert_eq!(caller(headers).as_deref(), expected, "{headers}");
        }
    }

    #[test]
    fn a_forwarded_call_tells_the_number_called_first() {
        let first = |headers: &str| first_called(&request(&format!("{FROM}{headers}"), ""));
        for (headers, expected) in [
            ("", None),
            ("Diversion: <sip:0182971111@h>;reason=unconditional\r\n", Some("0182971111")),
            // Forwarded twice: the newest first.
            ("Diversion: <tel:0182972222>;reason=no-answer, <tel:0182971111>\r\n", Some("0182971111")),
            ("Diversion: <tel:0182972222>\r\nDiversion: <tel:0182971111>\r\n", Some("0182971111")),
            // Nobody but us.
            ("Diversion: <sip:800123456@h>\r\n", None),
            (
                "History-Info: <sip:0182971111@h?Reason=SIP%3Bcause%3D302>;index=1, <sip:800123456@h;cause=302>;index=1.1\r\n",
                Some("0182971111"),
            ),
            (
                "History-Info: <sip:800123456@h>;index=1.10\r\nHistory-Info: <sip:2@h>;index=1.2, <sip:0182971111@h>;index=1\r\n",
                Some("0182971111"),
            ),
            ("History-Info: <sip:800123456@h>;index=1\r\n", None),
            ("History-Info: <sip:0182973333@h>;index=1,<sip:4@h>;index=1.1\r\nDiversion: <sip:0182971111@h>\r\n", Some("0182971111")),
            ("Diversion: <sip:mensa@h>\r\n", None),
        ] {
            assert_eq!(first(headers).as_deref(), expected, "{headers}");
        }
    }
}

//! Takes the secrets out of a SIP message before anybody else sees it: pure.
//!
//! Children's codes are typed as keys, and SIP INFO carries keys in the open; SDES (RFC 4568) carries the keys of the
//! media; digest answers can be tried against word lists. Every byte taken out becomes an `x`: lengths stay right.

/// The message without its secrets.
pub fn masked(message: &[u8]) -> Vec<u8> {
    let mut shown = message.to_vec();
    let body_at = message.windows(4).position(|w| w == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let (head, body) = shown.split_at_mut(body_at);
    for line in head.split_mut(|b| *b == b'\n') {
        if starts_with(line, b"Authorization:") || starts_with(line, b"Proxy-Authorization:") {
            mask_after(line, b"response=\"", |b| b != b'"');
        }
    }
    let info = starts_with(message, b"INFO ");
    for line in body.split_mut(|b| *b == b'\n') {
        if info {
            // "Signal=5", or the key alone.
            let value_at = line.iter().position(|b| *b == b'=').map_or(0, |at| at + 1);
            line.iter_mut().skip(value_at).for_each(mask);
        } else if starts_with(line, b"a=crypto:") {
            mask_after(line, b"inline:", |_| true);
        }
    }
    shown
}

fn mask(byte: &mut u8) {
    if !byte.is_ascii_whitespace() {
        *byte = b'x';
    }
}

/// Masks what follows each `mark`, as long as `inside` holds.
fn mask_after(line: &mut [u8], mark: &[u8], inside: impl Fn(u8) -> bool) {
    let mut at = 0;
    while let Some(found) = line.get(at..).and_then(|rest| rest.windows(mark.len()).position(|w| w.eq_ignore_ascii_case(mark))) {
        at += found + mark.len();
        while let Some(byte) = line.get_mut(at).filter(|b| inside(**b)) {
            mask(byte);
            at += 1;
        }
    }
}

fn starts_with(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(message: &str) -> String {
        String::from_utf8(masked(message.as_bytes())).unwrap()
    }

    #[test]
    fn keys_in_info_are_nobodys_business() {
        let info =
            "INFO sip:1@h SIP/2.0\r\nContent-Type: application/dtmf-relay\r\nContent-Length: 24\r\n\r\nSignal=5\r\nDuration= 160\r\n";
        let hidden =
            "INFO sip:1@h SIP/2.0\r\nContent-Type: application/dtmf-relay\r\nContent-Length: 24\r\n\r\nSignal=x\r\nDuration= xxx\r\n";
        assert_eq!(shown(info), hidden);
        assert_eq!(
            shown("INFO sip:1@h SIP/2.0\r\nContent-Type: application/dtmf\r\n\r\n#"),
            "INFO sip:1@h SIP/2.0\r\nContent-Type: application/dtmf\r\n\r\nx"
        );
        assert_eq!(shown("info sip:1@h SIP/2.0\r\n\r\n1234567"), "info sip:1@h SIP/2.0\r\n\r\nxxxxxxx");
    }

    #[test]
    fn so_are_media_keys_and_digests() {
        let invite = "INVITE sip:1@h SIP/2.0\r\nauthorization: Digest username=\"u\", nonce=\"n\", response=\"0a1b\", uri=\"sip:h\"\r\n\r\nv=0\r\n\
                      a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3|2^20 inline:QQ==\r\na=rtpmap:8 PCMA/8000\r\n";
        let hidden = "INVITE sip:1@h SIP/2.0\r\nauthorization: Digest username=\"u\", nonce=\"n\", response=\"xxxx\", uri=\"sip:h\"\r\n\r\nv=0\r\n\
                      a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxxxxxxxxxxxxxxxxxxx xxxxxxxxxxx\r\na=rtpmap:8 PCMA/8000\r\n";
        assert_eq!(shown(invite), hidden);
    }

    #[test]
    fn the_rest_is_left_alone() {
        for message in
            ["SIP/2.0 200 OK\r\nCSeq: 2 INFO\r\nContent-Length: 0\r\n\r\n", "INVITE sip:1@h SIP/2.0\r\n\r\nSignal=5\r\n", "", "\r\n\r\n"]
        {
            assert_eq!(shown(message), message);
        }
    }

    proptest! {
        #[test]
        fn no_digit_of_an_info_gets_through(body in "[0-9#*=\r\n]{0,40}") {
            let message = format!("INFO sip:h SIP/2.0\r\n\r\n{body}");
            let text = shown(&message);
            prop_assert_eq!(text.len(), message.len());
            let body = text.split_once("\r\n\r\n").unwrap().1;
            // Before the first `=` of a line stands a name, not a key.
            prop_assert!(body.split('\n').all(|line| !line.split_once('=').map_or(line, |(_, value)| value).contains(|c: char| c.is_ascii_digit())));
        }

        #[test]
        fn any_bytes_are_borne(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(masked(&message).len(), message.len());
        }
    }
}

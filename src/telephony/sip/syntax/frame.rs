//! Where a message ends in a stream (RFC 3261 §18.3): pure.

use super::{
    Headers, head_end,
    scan::{is_space, trim},
};

/// The longest header part of a message.
pub const LONGEST_HEAD: usize = 16 * 1_024;
/// The longest message.
pub const LONGEST_MESSAGE: usize = 64 * 1_024;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not enough yet.
    More,
    /// So many line ends stand before the next message; a double one is a ping (RFC 5626 §3.5.1).
    LineEnds(usize),
    /// A message of so many bytes.
    Message(usize),
    /// Nobody can say where the message ends: after its answer the connection has to be closed. So many bytes are its header part.
    Broken(usize),
    /// Longer than anything that is accepted.
    TooLong,
}

/// Looks at what has come in so far.
pub fn frame(bytes: &[u8]) -> Frame {
    let line_ends = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if line_ends > 0 {
        return Frame::LineEnds(line_ends);
    }
    let Some(end) = head_end(bytes) else {
        return if bytes.len() > LONGEST_HEAD { Frame::TooLong } else { Frame::More };
    };
    if end > LONGEST_HEAD {
        return Frame::TooLong;
    }
    let is_length = |name: &[u8]| name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
    let mut lengths = Headers::new(&bytes[..end]).filter(|(name, _)| is_length(name));
    // Exactly one: without it the body has no end, with two it has two (RFC 4475 §3.3.9).
    let (Some((_, value)), None) = (lengths.next(), lengths.next()) else { return Frame::Broken(end) };
    let digits = std::str::from_utf8(trim(value)).ok().filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    let Some(digits) = digits else { return Frame::Broken(end) };
    match digits.parse::<usize>() {
        Ok(length) if end + length.min(LONGEST_MESSAGE) <= LONGEST_MESSAGE => {
            if bytes.len() >= end + length {
                Frame::Message(end + length)
            } else {
                Frame::More
            }
        }
        _ => Frame::TooLong,
    }
}

/// Is a ping among these line ends?
pub fn is_ping(line_ends: &[u8]) -> bool {
    line_ends.windows(4).any(|w| w == b"\r\n\r\n") && line_ends.iter().copied().all(is_space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\nl : 3\r\n\r\nabc";

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(frame(MESSAGE), Frame::Message(MESSAGE.len()));
        assert_eq!(frame(&[MESSAGE, b"BYE sip:"].concat()), Frame::Message(MESSAGE.len()));
        for cut in 1..MESSAGE.len() {
            assert_eq!(frame(&MESSAGE[..cut]), Frame::More, "{cut}");
        }
        assert_eq!(frame(b""), Frame::More);
        assert_eq!(frame(b"\r\n\r\nBYE"), Frame::LineEnds(4));
        assert!(is_ping(b"\r\n\r\n") && !is_ping(b"\r\n") && !is_ping(b"\n\n\n\n"));
    }

    #[test]
    fn without_a_length_nobody_knows() {
        for lengths in ["", "Content-Length: -1\r\n", "Content-Length: five\r\n", "Content-Length: 3\r\nl: 3\r\n", "l:\r\n"] {
            let head = format!("OPTIONS sip:a@b SIP/2.0\r\n{lengths}\r\n");
            assert_eq!(frame(head.as_bytes()), Frame::Broken(head.len()), "{lengths}");
        }
        for length in ["70000", "99999999999999999999999"] {
            assert_eq!(frame(format!("OPTIONS sip:a@b SIP/2.0\r\nl: {length}\r\n\r\n").as_bytes()), Frame::TooLong);
        }
        assert_eq!(frame(&vec![b'x'; LONGEST_HEAD + 1]), Frame::TooLong);
    }

    proptest! {
        /// However a stream is cut, nothing falls and nothing is called a message that is not all there.
        #[test]
        fn no_message_is_longer_than_what_is_there(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Frame::Message(length) | Frame::Broken(length) | Frame::LineEnds(length) = frame(&bytes) {
                prop_assert!(length > 0 && length <= bytes.len());
            }
        }
    }
}

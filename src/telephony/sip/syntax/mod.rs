//! Is a SIP message well-formed? Asked at the door, before the stack sees it: pure.
//!
//! The stack's parser is lenient where RFC 3261 asks for an answer, gives up in silence where a message
//! is only unusual, and reads some well-formed ones wrongly. So here each message is either answered with the status that
//! RFC 4475 and RFC 5118 expect, dropped, or passed on in a form ([`rewrite`]) that the stack reads as the RFC does.
//! Nothing is allocated for a message that is well-formed.

pub mod frame;
mod headers;
pub mod rewrite;
mod scan;

use memchr::memchr;
use rsipstack::sip::Transport;

use self::headers::start_line;
pub use self::headers::{Headers, head_end};
use self::scan::{Scan, is_telephone, is_token, scheme, trim};
use super::server::ALLOW;

/// The longest name of a method that is answered.
const LONGEST_METHOD: usize = 64;
/// CSeq numbers stay below 2^31 (RFC 3261 §8.1.1.5).
const MOST_CSEQ: u64 = 1 << 31;
/// The methods that the stack knows. Names of methods are case-sensitive (RFC 3261 §7.1), which it does not know.
const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "PRACK",
    "NOTIFY",
    "MESSAGE",
    "REFER",
    "SUBSCRIBE",
    "PUBLISH",
    "REGISTER",
];
/// The extensions that requests outside a call may require.
const EXTENSIONS: [&str; 1] = ["timer"];

/// A well-formed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Line ends only: a ping (RFC 5626 §4.4.1).
    KeepAlive,
    /// A request.
    Request(Request<'a>),
    /// A response to a request of ours.
    Response {
        /// It has to be rewritten for the stack.
        loose: bool,
    },
}

/// What the door has to know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// What tells the transaction (RFC 3261 §17.2.3): the branch, or all of the topmost Via where there is none.
    pub branch: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// Number of the CSeq.
    pub cseq: u32,
    /// The To header has a tag: a request inside a dialog.
    pub in_dialog: bool,
    /// It has to be rewritten for the stack.
    pub loose: bool,
}

/// Why a message goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A request, answered with this.
    Answer(Fault),
    /// Not SIP, or nothing that could be answered: dropped.
    Silence(&'static str),
}

/// An answer that refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status.
    pub status: u16,
    /// The reason phrase, which says what is wrong (RFC 3261 §21.4.1).
    pub reason: &'static str,
    /// A further header with its value.
    pub header: Option<(&'static str, String)>,
}

impl Fault {
    /// An answer without a further header.
    pub fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason, header: None }
    }

    fn with(status: u16, reason: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..Self::new(status, reason) }
    }
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::Answer(Fault::new(400, reason))
}

/// The message without the line ends before it (RFC 3261 §7.5).
pub(super) fn after_line_ends(message: &[u8]) -> &[u8] {
    let at = message.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(message.len());
    &message[at..]
}

/// The method of what looks like a SIP request of whatever version; `None` where it does not.
pub fn method(message: &[u8]) -> Option<&[u8]> {
    let line = start_line(after_line_ends(message));
    let method = &line[..line.iter().position(|b| *b == b' ')?];
    let version = trim(line).rsplit(|b| *b == b' ').next()?;
    let sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
    (sip && !method.is_empty() && method.len() <= LONGEST_METHOD && method.iter().copied().all(is_token)).then_some(method)
}

/// Looks a whole message through: a datagram, or what a stream was cut into.
pub fn check(message: &[u8]) -> Result<Message<'_>, Refusal> {
    let body = after_line_ends(message);
    if body.is_empty() {
        return Ok(Message::KeepAlive);
    }
    let leading = body.len() < message.len();
    if body.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        return response(body).map(|loose| Message::Response { loose: loose || leading }).ok_or(Refusal::Silence("malformed response"));
    }
    let name = method(body).ok_or(Refusal::Silence("not SIP"))?;
    match request(name, body) {
        Ok(request) => Ok(Message::Request(Request { loose: request.loose || leading, ..request })),
        // An ACK is never answered (RFC 3261 §17.1.1.3).
        Err(Refusal::Answer(_)) if name == b"ACK" => Err(Refusal::Silence("malformed ACK")),
        Err(refusal) => Err(refusal),
    }
}

fn request<'a>(method: &'a [u8], message: &'a [u8]) -> Result<Request<'a>, Refusal> {
    let line = start_line(message);
    let mut words = line[method.len() + 1..].split(|b| *b == b' ');
    let (uri, version, more) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
    // Any number of words may stand between where the line is malformed; the version is the last one.
    let last = trim(line).rsplit(|b| *b == b' ').next().unwrap_or_default();
    if !last.eq_ignore_ascii_case(b"SIP/2.0") {
        let number = |n: &[u8]| !n.is_empty() && n.iter().all(u8::is_ascii_digit);
        let numbered = last[4..].split(|b| *b == b'.').map(number).collect::<Vec<_>>() == [true, true];
        return Err(Refusal::Answer(if numbered {
            Fault::new(505, "Version Not Supported")
        } else {
            Fault::new(400, "Malformed Request-Line")
        }));
    }
    let Some(known) = METHODS.into_iter().find(|known| known.as_bytes() == method) else {
        return Err(Refusal::Answer(Fault::with(501, "Not Implemented", "Allow", ALLOW)));
    };
    if uri.is_empty() || version != last || more.is_some() {
        return Err(bad("Malformed Request-Line"));
    }
    let fields = fields(message)?;
    let mut cseq = Scan::new(fields.cseq);
    let number = cseq.digits().and_then(|n| std::str::from_utf8(n).ok()?.parse::<u64>().ok()).filter(|n| *n < MOST_CSEQ);
    let (Some(number), true, Some(named), true) = (number, cseq.space() > 0, cseq.token(), cseq.done()) else {
        return Err(bad("Malformed CSeq"));
    };
    if named != method {
        return Err(bad("CSeq Names Another Method"));
    }
    let loose = request_uri(uri)? || fields.loose || last != b"SIP/2.0";
    if !fields.from_tag {
        // Nobody has left it out since RFC 2543, and nothing of ours can tell dialogs apart without it.
        return Err(bad("From Without a Tag"));
    }
    accepted(known, &fields)?;
    Ok(Request { method, branch: fields.branch, call_id: fields.call_id, cseq: number as u32, in_dialog: fields.to_tag, loose })
}

fn request_uri(uri: &[u8]) -> Result<bool, Refusal> {
    let Some(scheme) = scheme(uri) else { return Err(bad("Malformed Request-URI")) };
    if !is_telephone(scheme) {
        return Err(Refusal::Answer(Fault::new(416, "Unsupported URI Scheme")));
    }
    // Header fields have no place in a Request-URI (RFC 3261 §19.1.1); a "?" may be part of the user part.
    let after_user = uri.iter().rposition(|b| *b == b'@').map_or(uri, |at| &uri[at..]);
    let loose = scan::uri(uri).filter(|_| !after_user.contains(&b'?'));
    loose.ok_or_else(|| bad("Malformed Request-URI"))
}

/// What a well-formed request asks of us that we do not do, in the order of RFC 3261 §8.2.
fn accepted(method: &str, fields: &Fields<'_>) -> Result<(), Refusal> {
    // Inside a call what is not allowed is the call's to answer; registering and publishing make no sense in one.
    let outside = match method {
        "REGISTER" | "PUBLISH" => true,
        "MESSAGE" | "REFER" | "SUBSCRIBE" => !fields.to_tag,
        _ => false,
    };
    if outside && !ALLOW.split(", ").any(|name| name == method) {
        return Err(Refusal::Answer(Fault::with(405, "Method Not Allowed", "Allow", ALLOW)));
    }
    if method == "OPTIONS" && !fields.to_tag {
        let unknown = unsupported(fields.head);
        if !unknown.is_empty() {
            return Err(Refusal::Answer(Fault::with(420, "Bad Extension", "Unsupported", unknown)));
        }
    }
    // All that we could answer with is a session description (RFC 4475 §3.3.15). Without an Accept header it may be one (RFC 3261 §20.1).
    if method == "INVITE" && fields.accepts_sdp == Some(false) {
        return Err(Refusal::Answer(Fault::with(406, "Not Acceptable", "Accept", "application/sdp")));
    }
    Ok(())
}

/// The extensions that are required and not there, as a list.
fn unsupported(head: &[u8]) -> String {
    let required = Headers::new(head).filter(|(name, _)| name.eq_ignore_ascii_case(b"Require"));
    let tags = required.flat_map(|(_, value)| value.split(|b| *b == b','));
    let unknown = |tag: &String| !tag.is_empty() && !EXTENSIONS.iter().any(|known| tag.eq_ignore_ascii_case(known));
    let tags: Vec<_> = tags.map(|tag| String::from_utf8_lossy(trim(tag)).into_owned()).filter(unknown).collect();
    tags.join(", ")
}

/// Does an Accept header cover session descriptions?
fn covers_sdp(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|range| {
        let range = trim(range.split(|b| *b == b';').next().unwrap_or_default());
        [b"application/sdp".as_slice(), b"application/*", b"*/*"].iter().any(|known| range.eq_ignore_ascii_case(known))
    })
}

/// A response: has it to be rewritten? `None` where it is malformed.
fn response(message: &[u8]) -> Option<bool> {
    let line = start_line(message);
    let mut words = line.splitn(3, |b| *b == b' ');
    let (version, status) = (words.next()?, words.next()?);
    let status = std::str::from_utf8(status).ok().filter(|s| s.len() == 3)?.parse::<u16>().ok()?;
    let fields = fields(message).ok()?;
    let mut cseq = Scan::new(fields.cseq);
    let number = std::str::from_utf8(cseq.digits()?).ok()?.parse::<u64>().ok()?;
    let method = (cseq.space() > 0).then(|| cseq.token()).flatten()?;
    let known = METHODS.iter().any(|known| known.as_bytes() == method);
    // More than one Via: it is another's, and came here by mistake or by malice (RFC 3261 §8.1.3.3, RFC 4475 §3.3.10).
    let ours = version.eq_ignore_ascii_case(b"SIP/2.0")
        && (100..700).contains(&status)
        && number < MOST_CSEQ
        && fields.vias == 1
        && fields.from_tag;
    (ours && known && cseq.done()).then_some(fields.loose || version != b"SIP/2.0")
}

/// The headers that every message must have, and how they are written.
#[derive(Debug, Default)]
struct Fields<'a> {
    head: &'a [u8],
    branch: &'a [u8],
    vias: usize,
    call_id: &'a [u8],
    cseq: &'a [u8],
    from_tag: bool,
    to_tag: bool,
    /// What the Accept headers say, where there are any.
    accepts_sdp: Option<bool>,
    loose: bool,
}

/// The headers that may stand in a message only once, with their compact forms.
const ONCE: [(&[u8], &[u8], &str); 7] = [
    (b"From", b"f", "Two From Header Fields"),
    (b"To", b"t", "Two To Header Fields"),
    (b"Call-ID", b"i", "Two Call-ID Header Fields"),
    (b"CSeq", b"", "Two CSeq Header Fields"),
    (b"Content-Length", b"l", "Two Content-Length Header Fields"),
    (b"Max-Forwards", b"", "Two Max-Forwards Header Fields"),
    (b"Content-Type", b"c", "Two Content-Type Header Fields"),
];

/// Reads the headers; complains of the first one that is wrong.
fn fields(message: &[u8]) -> Result<Fields<'_>, Refusal> {
    let Some(end) = head_end(message) else { return Err(bad("No End of the Header")) };
    let (head, body) = message.split_at(end);
    let mut seen = [false; ONCE.len()];
    let (mut fields, mut length) = (Fields { head, ..Fields::default() }, None);
    // The stack stops reading at a line that is not UTF-8.
    fields.loose = std::str::from_utf8(head).is_err();
    for (name, value) in Headers::new(head) {
        if !name.iter().copied().all(is_token) || name.is_empty() {
            return Err(bad("Malformed Header Field"));
        }
        // Folded.
        fields.loose |= memchr(b'\n', value).is_some();
        if let Some(once) = ONCE.iter().position(|(long, short, _)| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)) {
            if seen[once] {
                return Err(bad(ONCE[once].2));
            }
            seen[once] = true;
            match once {
                0 => fields.from_tag = fields.address(value).ok_or(bad("Malformed From"))?,
                1 => fields.to_tag = fields.address(value).ok_or(bad("Malformed To"))?,
                2 => fields.call_id = call_id(value).ok_or(bad("Malformed Call-ID"))?,
                3 => fields.cseq = value,
                4 => {
                    let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
                    let announced = digits.and_then(|d| d.parse::<usize>().ok()).ok_or(bad("Malformed Content-Length"))?;
                    length = Some(announced);
                }
                _ => {}
            }
        } else if name.eq_ignore_ascii_case(b"Via") || name.eq_ignore_ascii_case(b"v") {
            fields.via(value).ok_or(bad("Malformed Via"))?;
        } else if name.eq_ignore_ascii_case(b"Contact") || name.eq_ignore_ascii_case(b"m") {
            if value != b"*" {
                fields.list(value).ok_or(bad("Malformed Contact"))?;
            }
        } else if name.eq_ignore_ascii_case(b"Record-Route") || name.eq_ignore_ascii_case(b"Route") {
            fields.list(value).ok_or(bad("Malformed Route"))?;
        } else if name.eq_ignore_ascii_case(b"Accept") {
            fields.accepts_sdp = Some(fields.accepts_sdp == Some(true) || covers_sdp(value));
        } else if rewrite::has_addresses(name) {
            fields.loose |= value.contains(&b'%');
        }
    }
    for (place, missing) in
        ["No From Header Field", "No To Header Field", "No Call-ID Header Field", "No CSeq Header Field"].into_iter().enumerate()
    {
        if !seen[place] {
            return Err(bad(missing));
        }
    }
    if fields.vias == 0 {
        return Err(bad("No Via Header Field"));
    }
    match length {
        Some(length) if length > body.len() => return Err(bad("Body Shorter Than Content-Length")),
        Some(_) => {}
        // Without it the body goes to the end of the datagram (RFC 3261 §18.3); the stack takes none.
        None => fields.loose |= !body.is_empty(),
    }
    Ok(fields)
}

/// `Call-ID`: one or two words, read as one; `None` where it is none.
fn call_id(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty() && !value.iter().any(|b| *b <= b' ')).then_some(value)
}

impl<'a> Fields<'a> {
    /// `From` and `To`: is there a tag?
    fn address(&mut self, value: &'a [u8]) -> Option<bool> {
        let mut scan = Scan::new(value);
        let mut tags = 0;
        scan.address(|param| tags += usize::from(param.name.eq_ignore_ascii_case(b"tag") && param.value.is_some()))?;
        self.loose |= scan.loose;
        (scan.done() && tags <= 1).then_some(tags == 1)
    }

    /// A list of addresses.
    fn list(&mut self, value: &'a [u8]) -> Option<()> {
        let mut scan = Scan::new(value);
        loop {
            scan.address(|_| ())?;
            self.loose |= scan.loose;
            if !scan.separator(b',') {
                return scan.done().then_some(());
            }
            // White space after a comma bothers nobody.
            scan.loose = false;
        }
    }

    /// A list of `via-parm` (RFC 3261 §20.42).
    fn via(&mut self, value: &'a [u8]) -> Option<()> {
        let mut scan = Scan::new(value);
        loop {
            let protocol = scan.token()?;
            let version = scan.separator(b'/').then(|| scan.token()).flatten()?;
            let transport = scan.separator(b'/').then(|| scan.token()).flatten()?;
            if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" || scan.space() == 0 {
                return None;
            }
            scan.host_and_port()?;
            let mut branch = None;
            scan.params(|param| {
                if param.name.eq_ignore_ascii_case(b"branch") {
                    branch = param.value.or(branch);
                }
            })?;
            if self.vias == 0 {
                // The stack cannot read the topmost one with a transport that it does not know.
                std::str::from_utf8(transport).ok()?.parse::<Transport>().ok()?;
                self.branch = branch.unwrap_or(value);
            }
            self.vias += 1;
            self.loose |= scan.loose;
            if !scan.separator(b',') {
                return scan.done().then_some(());
            }
            scan.loose = false;
        }
    }
}

#[cfg(test)]
mod tests;

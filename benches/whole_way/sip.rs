//! The few SIP messages of a call (RFC 3261), as the caller writes and reads them.

use std::net::SocketAddr;

/// A message from the program, as far as a caller needs it.
#[derive(Debug)]
pub struct Message<'a> {
    /// The status of an answer; `None` for a request.
    pub status: Option<u16>,
    /// The method: of a request, or of what an answer answers.
    pub method: &'a str,
    /// `Call-ID`.
    pub call_id: &'a str,
    head: &'a str,
    /// What stands behind the head.
    pub body: &'a str,
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let method = header(head, "CSeq")?.split_ascii_whitespace().nth(1)?;
        Some(Self { status, method, call_id: header(head, "Call-ID")?, head, body })
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.head, name)
    }

    /// Is it the answer of this status class (2 for 2xx) to this method?
    pub fn answers(&self, method: &str, class: u16) -> bool {
        self.method == method && self.status.is_some_and(|status| status / 100 == class)
    }

    /// The 200 to this request.
    pub fn ok(&self) -> String {
        let echoed = |line: &&str| ["via", "from", "to", "call-id", "cseq"].iter().any(|name| named(line, name));
        let mut lines = vec!["SIP/2.0 200 OK"];
        lines.extend(self.head.lines().filter(echoed));
        lines.extend(["Content-Length: 0", "", ""]);
        lines.join("\r\n")
    }
}

fn named(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(n, _)| n.trim_end().eq_ignore_ascii_case(name))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find(|line| named(line, name)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
}

/// One call's names, from which its requests are written.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Our SIP address.
    pub local: SocketAddr,
    /// The program's.
    pub server: SocketAddr,
    /// The called number.
    pub called: String,
    /// The calling number.
    pub caller: String,
    /// `Call-ID`.
    pub call_id: String,
    /// `To` and the request URI of what comes after the answer.
    pub answered: Option<(String, String)>,
}

impl Dialog {
    /// Whom, and what `To` says.
    fn request(&self, method: &str, number: u32, branch: &str) -> String {
        let Self { local, server, called, caller, call_id, .. } = self;
        let usual = (format!("<sip:{called}@{server}>"), format!("sip:{called}@{server}"));
        let (to, uri) = self.answered.as_ref().unwrap_or(&usual);
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{branch}-{call_id};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{caller}@{ip}>;tag=f-{call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{caller}@{local}>\r\n",
            ip = local.ip()
        )
    }

    /// INVITE with this offer.
    pub fn invite(&self, offer: &str) -> String {
        format!(
            "{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}",
            Self { answered: None, ..self.clone() }.request("INVITE", 1, "invite"),
            offer.len()
        )
    }

    /// ACK to the 200, or to a refusal (in the INVITE's own transaction, RFC 3261 §17.1.1.3).
    pub fn ack(&self, refused_to: Option<&str>) -> String {
        let (dialog, branch) = match refused_to {
            Some(to) => {
                (Self { answered: Some((to.to_owned(), format!("sip:{}@{}", self.called, self.server))), ..self.clone() }, "invite")
            }
            None => (self.clone(), "ack"),
        };
        format!("{}Content-Length: 0\r\n\r\n", dialog.request("ACK", 1, branch))
    }

    /// BYE.
    pub fn bye(&self) -> String {
        format!("{}Content-Length: 0\r\n\r\n", self.request("BYE", 2, "bye"))
    }
}

/// The URI of a `Contact`.
pub fn contact_uri(contact: &str) -> &str {
    contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(contact, |(uri, _)| uri)
}

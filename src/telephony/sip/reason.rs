//! Why a call ended: `Reason` (RFC 3326) and the telephone network's causes (Q.850), to and fro (RFC 3398, RFC 6432).

use rsipstack::sip::{Header, Request};

use super::headers::{NameAddr, entries, printable};
use crate::telephony::call::{EndCause, Failure};

/// The most characters of a peer's reason that are kept.
const LONGEST_REASON: usize = 160;

/// What the peer said of the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason {
    /// The Q.850 cause, 1–127.
    pub q850: Option<u8>,
    /// The header as it came, cut and made one line.
    pub text: Option<String>,
}

impl Reason {
    /// Reads the `Reason` headers of a BYE or CANCEL.
    pub fn of(request: &Request) -> Self {
        let all: Vec<_> = entries(request, "Reason").collect();
        // A protocol with parameters has the form of an address without brackets.
        let q850 = all.iter().filter_map(|e| NameAddr::parse(e)).find(|r| r.uri.eq_ignore_ascii_case("Q.850"));
        let cause = q850.and_then(|r| r.param("cause")?.trim().parse().ok()).filter(|cause| (1..=127).contains(cause));
        let text = printable(&all.join(", "), LONGEST_REASON);
        Self { q850: cause, text: Some(text).filter(|t| !t.is_empty()) }
    }
}

/// The `Reason` header that says this cause, for our BYE and our refusals.
pub fn header(cause: u8) -> Header {
    Header::Reason(format!("Q.850;cause={cause};text=\"{}\"", words(cause)).into())
}

/// The cause that a refused INVITE's final status stands for (RFC 3398 §8.2.6.1; 488 and 606 there depend on a
/// `Warning`, here it was always the media).
pub fn of_status(status: u16) -> u8 {
    match status {
        404 | 485 | 604 => 1,
        // A caller who gives up before the answer has hung up normally.
        200 | 487 => 16,
        486 | 600 => 17,
        480 => 18,
        401 | 402 | 403 | 407 | 603 => 21,
        410 => 22,
        482 | 483 => 25,
        484 => 28,
        502 => 38,
        405 => 63,
        488 | 606 => 65,
        406 | 415 | 501 => 79,
        408 | 504 => 102,
        413 | 414 | 416 | 420 | 421 | 422 | 423 | 489 | 505 | 513 => 127,
        _ => 41,
    }
}

/// The cause of the end of a call that had been answered.
pub fn of_end(cause: EndCause) -> u8 {
    match cause {
        EndCause::CallerHungUp | EndCause::WeHungUp | EndCause::Abandoned => 16,
        EndCause::Failed(Failure::LongestCall) => 31,
        EndCause::Failed(Failure::NoAnswerInAck) => 65,
        EndCause::Failed(Failure::NoAck | Failure::SessionExpired | Failure::RefreshUnanswered) => 102,
        EndCause::Failed(Failure::DeadMedia | Failure::MediaGone | Failure::Challenged) | EndCause::Shutdown => 41,
    }
}

/// A cause in words (Q.850, table 1), for the causes that we give.
fn words(cause: u8) -> &'static str {
    match cause {
        1 => "Unallocated number",
        16 => "Normal call clearing",
        17 => "User busy",
        18 => "No user responding",
        21 => "Call rejected",
        22 => "Number changed",
        25 => "Exchange routing error",
        28 => "Invalid number format",
        31 => "Normal, unspecified",
        38 => "Network out of order",
        63 => "Service or option not available",
        65 => "Bearer capability not implemented",
        79 => "Service or option not implemented",
        102 => "Recovery on timer expiry",
        127 => "Interworking, unspecified",
        _ => "Temporary failure",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::headers::tests::request, *};

    fn reason(headers: &str) -> Reason {
        Reason::of(&request(&format!("From: <sip:1@h>;tag=1\r\n{headers}"), ""))
    }

    #[test]
    fn what_peers_say() {
        for (headers, q850, text) in [
            ("", None, None),
            ("Reason: Q.850;cause=16;text=\"Normal call clearing\"\r\n", Some(16), Some("Q.850;cause=16;text=\"Normal call clearing\"")),
            ("Reason: SIP;cause=200;text=\"Call completed, elsewhere\", q.850 ; cause = 26\r\n", Some(26), None),
            ("Reason: SIP;cause=487\r\nReason: Q.850;cause=31\r\n", Some(31), Some("SIP;cause=487, Q.850;cause=31")),
            ("Reason: Q.850;cause=200\r\n", None, Some("Q.850;cause=200")),
            ("Reason: Q.850\r\n", None, Some("Q.850")),
            ("Reason: preemption;cause=1\r\n", None, Some("preemption;cause=1")),
        ] {
            let read = reason(headers);
            assert_eq!(read.q850, q850, "{headers}");
            if text.is_some() || headers.is_empty() {
                assert_eq!(read.text.as_deref(), text, "{headers}");
            }
        }
        assert_eq!(reason(&format!("Reason: x;text=\"{}\"\r\n", "y".repeat(900))).text.unwrap().len(), LONGEST_REASON);
    }

    #[test]
    fn what_we_say() {
        let said: Vec<_> = [404, 487, 486, 488, 403, 503, 420, 504, 415, 604, 999].map(|s| format!("{s} {}", header(of_status(s)))).into();
        insta::assert_snapshot!(said.join("\n"), @r#"
        404 Reason: Q.850;cause=1;text="Unallocated number"
        487 Reason: Q.850;cause=16;text="Normal call clearing"
        486 Reason: Q.850;cause=17;text="User busy"
        488 Reason: Q.850;cause=65;text="Bearer capability not implemented"
        403 Reason: Q.850;cause=21;text="Call rejected"
        503 Reason: Q.850;cause=41;text="Temporary failure"
        420 Reason: Q.850;cause=127;text="Interworking, unspecified"
        504 Reason: Q.850;cause=102;text="Recovery on timer expiry"
        415 Reason: Q.850;cause=79;text="Service or option not implemented"
        604 Reason: Q.850;cause=1;text="Unallocated number"
        999 Reason: Q.850;cause=41;text="Temporary failure"
        "#);
    }
}

//! SIP: whatever comes to the door, and what the stack makes of what is let in. The bytes are one message.
#![no_main]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use rsipstack::{
    dialog::DialogId,
    sip::{HeadersExt as _, SipMessage, Transport},
    transaction::key::{TransactionKey, TransactionRole},
    transport::SipConnection,
};
use voceguida::telephony::sip::{
    gate::{Gate, Known, Verdict},
    headers, identity,
    syntax::{
        self,
        frame::{Frame, frame},
    },
};

fuzz_target!(|message: &[u8]| {
    let now = Instant::now();
    let from = SocketAddr::from(([192, 0, 2, 9], 5060));
    let mut buffer = Vec::new();

    // A stranger hears nothing, or no more than it said.
    match Gate::watching(4, 4, now).judge(message, from, None, || true, now, &mut buffer) {
        Verdict::Answer(_) => {
            assert!(buffer.len() <= message.len());
            answer_is_one(&buffer);
        }
        Verdict::Silence(_) => {}
        verdict => panic!("a stranger: {verdict:?}"),
    }

    // A trunk's message is answered, or dropped, or one that the stack can read.
    let trunk = Known { trunk: "t", calls_per_second: 10 };
    let mut gate = Gate::watching(4, 4, now);
    match gate.judge(message, from, Some(trunk), || true, now, &mut buffer) {
        Verdict::Answer(_) => answer_is_one(&buffer),
        Verdict::Silence(_) => {}
        Verdict::Pass => stack_reads(message),
        Verdict::Rewritten => {
            stack_reads(&buffer);
            let mut again = Vec::new();
            assert!(syntax::check(&buffer).is_ok(), "what was rewritten is refused");
            syntax::rewrite::rewrite(&buffer, &mut again);
            assert_eq!(again, buffer, "rewritten twice");
        }
    }
    // Its repetition meets the same fate, with no room left as well.
    let later = now + Duration::from_millis(500);
    let first = Gate::watching(4, 4, now).judge(message, from, Some(trunk), || false, now, &mut buffer);
    let mut once = Gate::watching(4, 4, now);
    once.judge(message, from, Some(trunk), || false, now, &mut buffer);
    assert_eq!(once.judge(message, from, Some(trunk), || true, later, &mut buffer), first);

    // In a stream: no message is longer than what is there.
    let mut rest = message;
    while let Frame::Message(length) | Frame::LineEnds(length) = frame(rest) {
        rest = &rest[length..];
    }
});

/// Our own answers are messages that the stack would read.
fn answer_is_one(answer: &[u8]) {
    assert!(answer.starts_with(b"SIP/2.0 ") && answer.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
    let head = &answer[..answer.len() - 2];
    assert_eq!(answer.windows(4).position(|w| w == b"\r\n\r\n"), Some(head.len() - 2), "one header part");
}

fn stack_reads(message: &[u8]) {
    if message.iter().all(|b| matches!(b, b'\r' | b'\n')) {
        return;
    }
    let read = SipMessage::try_from(message).expect("the stack reads it");
    let read = SipConnection::update_msg_received(read, SocketAddr::from(([192, 0, 2, 9], 5060)), Transport::Udp).expect("a Via");
    match &read {
        SipMessage::Request(request) => {
            TransactionKey::from_request(request, TransactionRole::Server).expect("a transaction");
            DialogId::try_from((request, TransactionRole::Server)).expect("a dialog");
            // What our own code reads of it.
            identity::called_number(request);
            identity::calling_number(request);
            identity::first_called(request);
            headers::info_key(request);
            for name in ["Require", "Supported"] {
                headers::option_tags(request, name);
            }
        }
        SipMessage::Response(response) => {
            TransactionKey::from_response(response, TransactionRole::Client).expect("a transaction");
            response.to_header().and_then(|to| to.tag()).expect("a To");
        }
    }
    let _ = read.to_bytes();
}

//! Every torture message of RFC 4475 and RFC 5118, sent to a running endpoint over UDP and over TCP.
//!
//! The numbers that are dialled in them are no numbers of ours, so that a well-formed INVITE is answered 404. Those are sent again with a
//! number of ours in the Request-URI, and have to get as far as the RFC says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{
    fmt,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use telephony_support::{LINE, Line, PATIENCE, config};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is answered with this final status.
    Is(u16),
    /// Nothing.
    Silence,
    /// Answered, and the connection is closed: nobody can say where the message ends.
    Closed(u16),
    /// No answer, and the connection is closed after a while: the rest of the message does not come.
    Hung,
}
use Answer::{Closed, Hung, Is, Silence};

/// One message.
#[derive(Clone, Copy)]
struct Case {
    /// Section of the RFC.
    section: &'static str,
    /// Name of the message there and of the file here.
    name: &'static str,
    /// Its answer.
    answer: Answer,
    /// The answer when the Request-URI's user is a number of ours, for what an INVITE that the RFC calls well-formed comes to.
    to_us: Option<u16>,
    /// The answer over TCP, where it is another one.
    over_tcp: Option<Answer>,
    /// What the RFC says, and why ours is another where it is.
    why: &'static str,
}

const fn case(section: &'static str, name: &'static str, answer: Answer, why: &'static str) -> Case {
    Case { section, name, answer, to_us: None, over_tcp: None, why }
}

const fn call(section: &'static str, name: &'static str, to_us: u16, why: &'static str) -> Case {
    Case { section, name, answer: Is(404), to_us: Some(to_us), over_tcp: None, why }
}

const fn over_tcp(case: Case, answer: Answer) -> Case {
    Case { over_tcp: Some(answer), ..case }
}

const REGISTRAR: &str = "well-formed; for a registrar. Who is none refuses it: 405 (§3.3.7)";

const RFC4475: &[Case] = &[
    Case {
        to_us: Some(200),
        ..case("3.1.1.1", "wsinv", Is(481), "well-formed; inside a call that there is not (To has a tag); 200 without it")
    },
    case("3.1.1.2", "intmeth", Is(501), "well-formed, an unknown method: 501 with Allow"),
    call("3.1.1.3", "esc01", 200, "well-formed"),
    case("3.1.1.4", "escnull", Is(405), REGISTRAR),
    case("3.1.1.5", "esc02", Is(501), "an unknown method, not REGISTER: 501"),
    case("3.1.1.6", "lwsdisp", Is(200), "should be accepted"),
    call("3.1.1.7", "longreq", 200, "well-formed"),
    // Over TCP the "trailing octets" are a request of their own.
    over_tcp(case("3.1.1.8", "dblreq", Is(405), "one request, what follows is noise; it is a REGISTER"), Is(405)),
    case("3.1.1.9", "semiuri", Is(200), "well-formed"),
    case("3.1.1.10", "transports", Is(200), "well-formed"),
    case("3.1.1.11", "mpart01", Is(405), "well-formed; MESSAGE is a method that we do not take"),
    case("3.1.1.12", "unreason", Silence, "a well-formed response to nothing that we sent"),
    case("3.1.1.13", "noreason", Silence, "a well-formed response to nothing that we sent"),
    case("3.1.2.1", "badinv01", Is(400), "should be 400"),
    over_tcp(case("3.1.2.2", "clerr", Is(400), "should be 400 over UDP; over TCP the rest is waited for, but not for long"), Hung),
    over_tcp(case("3.1.2.3", "ncl", Is(400), "an error over UDP; over TCP the connection should be closed"), Closed(400)),
    case("3.1.2.4", "scalar02", Is(400), "should be 400 due to the CSeq"),
    case("3.1.2.5", "scalarlg", Silence, "a response that is discarded"),
    case("3.1.2.6", "quotbal", Is(400), "should be 400"),
    case("3.1.2.7", "ltgtruri", Is(400), "400 is reasonable"),
    case("3.1.2.8", "lwsruri", Is(400), "should be 400"),
    case("3.1.2.9", "lwsstart", Is(400), "may be rejected"),
    case("3.1.2.10", "trws", Is(400), "may be rejected"),
    case("3.1.2.11", "escruri", Is(400), "may be rejected with 400"),
    call("3.1.2.12", "baddate", 200, "should not be rejected by who does not use the Date"),
    case("3.1.2.13", "regbadct", Is(400), "400 is reasonable"),
    case("3.1.2.14", "badaspec", Is(400), "400 is reasonable"),
    case("3.1.2.15", "baddn", Is(400), "400 is reasonable"),
    case("3.1.2.16", "badvers", Is(505), "should be 505"),
    case("3.1.2.17", "mismatch01", Is(400), "400"),
    case("3.1.2.18", "mismatch02", Is(501), "501, which is better than 400"),
    case("3.1.2.19", "bigcode", Silence, "a response that is dropped"),
    case("3.2.1", "badbranch", Is(200), "400, or the transaction is told as in RFC 2543: that is what the stack does"),
    case("3.3.1", "insuf", Is(400), "ideally 400"),
    case("3.3.2", "unkscm", Is(416), "416"),
    case("3.3.3", "novelsc", Is(416), "416"),
    case("3.3.4", "unksm2", Is(405), "well-formed; a registrar would answer 400, who is none 405"),
    case("3.3.5", "bext01", Is(420), "420 with what is not supported"),
    call("3.3.6", "invut", 415, "415"),
    case("3.3.7", "regaut01", Is(405), "405 of who is no registrar"),
    case("3.3.8", "multi01", Is(400), "400"),
    over_tcp(case("3.3.9", "mcl01", Is(400), "an error over UDP; over TCP the connection should be closed"), Closed(400)),
    case("3.3.10", "bcast", Silence, "a response that an endpoint discards"),
    case("3.3.11", "zeromf", Is(200), "an endpoint processes it as if the value were positive"),
    case("3.3.12", "cparam01", Is(405), REGISTRAR),
    case("3.3.13", "cparam02", Is(405), REGISTRAR),
    case("3.3.14", "regescrt", Is(405), REGISTRAR),
    case("3.3.15", "sdp01", Is(406), "406, or 400"),
    over_tcp(
        case(
            "3.4.1",
            "inv2543",
            Is(400),
            "accepted by who wants to be compatible with RFC 2543. We do not: without a From tag the stack tells no dialogs apart, and nobody has sent this for twenty years",
        ),
        Closed(400),
    ),
];

const RFC5118: &[Case] = &[
    case("4.1", "ipv6-good", Is(405), REGISTRAR),
    case("4.2", "ipv6-bad", Is(400), "should be 400"),
    case("4.3", "port-ambiguous", Is(405), REGISTRAR),
    case("4.4", "port-unambiguous", Is(405), REGISTRAR),
    case("4.5", "via-received-param-with-delim", Is(481), "must be parsed; a BYE of no call of ours"),
    case("4.5", "via-received-param-no-delim", Is(200), "well-formed"),
    over_tcp(
        Case {
            to_us: Some(488),
            ..case(
                "4.6",
                "ipv6-in-sdp",
                Is(400),
                "called well-formed, but its body is 17 bytes short of its Content-Length: 400 (RFC 3261 §18.3). With the right one it is, and offers no codec of ours",
            )
        },
        Hung,
    ),
    case("4.7", "mult-ip-in-header", Is(481), "well-formed; a BYE of no call of ours"),
    call("4.8", "mult-ip-in-sdp", 200, "well-formed"),
    call("4.9", "ipv4-mapped-ipv6", 488, "well-formed; it offers no codec of ours"),
    case("4.10", "ipv6-bug-abnf-3-colons", Is(200), "must be tolerated"),
    case("4.10", "ipv6-correct-abnf-2-colons", Is(200), "well-formed"),
];

/// For how long silence is listened to.
const SILENCE: Duration = Duration::from_secs(1);

impl Case {
    fn message(&self, rfc: &str) -> Vec<u8> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(rfc).join(self.name).with_extension("dat");
        let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        with_line_ends(bytes)
    }
}

/// RFC 5118's archive has lost the carriage returns, and a message in either one the empty line after its headers.
fn with_line_ends(mut bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.contains(&b'\r') {
        bytes = bytes.iter().flat_map(|b| if *b == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(b) }).copied().collect();
    }
    if head_end(&bytes).is_none() {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn head_end(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (§{}: {})", self.name, self.section, self.why)
    }
}

/// The same message for a number of ours, outside any call, and with a length that its body has.
fn to_us(message: &[u8]) -> Vec<u8> {
    let start = message.iter().position(|b| *b == b':').unwrap() + 1;
    let line = message.iter().position(|b| *b == b'\r').unwrap();
    let host = message[..line].iter().rposition(|b| *b == b'@').unwrap();
    let mut changed = [&message[..start], LINE.as_bytes(), &message[host..]].concat();
    let mut replace = |old: &[u8], new: &[u8]| {
        if let Some(at) = changed.windows(old.len()).position(|w| w == old) {
            changed.splice(at..at + old.len(), new.iter().copied());
        }
    };
    replace(b" ;   tag    = 1918181833n", b"");
    replace(b"Content-Length: 268", b"Content-Length: 251");
    changed
}

fn status(response: &str) -> u16 {
    response
        .strip_prefix("SIP/2.0 ")
        .and_then(|r| r.get(..3))
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| panic!("no response: {response}"))
}

/// Sends a message over UDP; the final answer.
fn over_udp(to: SocketAddr, message: &[u8], silence: bool) -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(if silence { SILENCE } else { PATIENCE })).unwrap();
    socket.send_to(message, to).unwrap();
    let mut buffer = [0; 16_384];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let response = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if status(&response) >= 200 {
                    return Some(response);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends a message over TCP; the final answers of so long, and whether the connection is closed then.
fn over_tcp_within(to: SocketAddr, message: &[u8], patience: Duration, enough: impl Fn(&[String], bool) -> bool) -> (Vec<String>, bool) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(message).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let until = Instant::now() + patience;
    let (mut text, mut closed) = (Vec::new(), false);
    loop {
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(0) => closed = true,
            Ok(length) => text.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => closed = true,
        }
        let text = String::from_utf8_lossy(&text);
        let answers: Vec<_> = text.match_indices("SIP/2.0 ").filter(|(at, _)| *at == 0 || text[..*at].ends_with('\n')).collect();
        let answers: Vec<_> = answers.into_iter().map(|(at, _)| text[at..].to_owned()).filter(|a| status(a) >= 200).collect();
        if enough(&answers, closed) || Instant::now() > until {
            return (answers, closed);
        }
    }
}

fn expect<T: Copy + PartialEq + fmt::Debug>(got: T, expected: T, case: &Case, how: &str, answers: &dyn fmt::Debug) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{how}: {case}: {got:?} and not {expected:?}: {answers:?}")) }
}

fn check_udp(to: SocketAddr, other: SocketAddr, rfc: &str, case: &Case) -> Result<(), String> {
    let message = case.message(rfc);
    let answer = over_udp(to, &message, case.answer == Silence);
    let expected = match case.answer {
        Is(status) => Some(status),
        _ => None,
    };
    expect(answer.as_deref().map(status), expected, case, "over UDP", &answer)?;
    if let Some(answer) = answer {
        extra(case, &answer);
    }
    if case.to_us.is_some() {
        let answer = over_udp(other, &to_us(&message), false);
        expect(answer.as_deref().map(status), case.to_us, case, "to us", &answer)?;
    }
    Ok(())
}

/// What an answer has to say besides its status.
fn extra(case: &Case, answer: &str) {
    let header = |name: &str| answer.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
    match case.name {
        "bext01" => assert_eq!(header("Unsupported").as_deref(), Some("nothingSupportsThis, nothingSupportsThisEither")),
        "intmeth" | "esc02" | "mismatch02" | "escnull" | "mpart01" => {
            assert!(header("Allow").is_some_and(|a| a.contains("INVITE")), "{answer}");
        }
        "insuf" => assert_eq!((header("CSeq").as_deref(), header("To")), (Some("193942 INVITE"), None), "only what was there"),
        "multi01" => assert_eq!(answer.matches("\nCall-ID: ").count(), 1, "{answer}"),
        _ => {}
    }
}

fn check_tcp(to: SocketAddr, rfc: &str, case: &Case) -> Result<(), String> {
    let message = case.message(rfc);
    let expected = case.over_tcp.unwrap_or(case.answer);
    let patience = if expected == Silence { SILENCE } else { PATIENCE };
    let (answers, closed) = over_tcp_within(to, &message, patience, |answers, closed| match expected {
        Is(_) => !answers.is_empty(),
        Silence => false,
        Closed(_) | Hung => closed,
    });
    let got = match (answers.first(), closed) {
        (Some(answer), true) => Closed(status(answer)),
        (Some(answer), false) => Is(status(answer)),
        (None, true) => Hung,
        (None, false) => Silence,
    };
    expect(got, expected, case, "over TCP", &answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_torture_message_has_its_answer() {
    let files = |rfc: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(rfc);
        std::fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "dat")).count()
    };
    assert_eq!((RFC4475.len(), RFC5118.len()), (49, 12));
    assert_eq!((RFC4475.len(), RFC5118.len()), (files("rfc4475"), files("rfc5118")), "each file has its line");

    // The same message again is a repetition, and answered where the first one came from. So each way has its endpoint, and
    // of two neighbours that share a transaction's marks each has its own, too.
    let mut lines = Vec::new();
    for n in 0..6 {
        lines.push(Line::start(config(25_000 + 20 * n..=25_019 + 20 * n)).await);
    }
    // A source may have only so many connections at once.
    let places = Arc::new(tokio::sync::Semaphore::new(20));
    let mut checks = tokio::task::JoinSet::new();
    for (n, (rfc, case)) in RFC4475.iter().map(|c| ("rfc4475", c)).chain(RFC5118.iter().map(|c| ("rfc5118", c))).enumerate() {
        let [as_it_is, to_us, tcp] = [0, 2, 4].map(|way| &lines[way + n % 2]);
        let (as_it_is, to_us, tcp) = (as_it_is.address("UDP"), to_us.address("UDP"), tcp.address("TCP"));
        checks.spawn_blocking(move || check_udp(as_it_is, to_us, rfc, case));
        let places = Arc::clone(&places);
        checks.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            tokio::task::spawn_blocking(move || check_tcp(tcp, rfc, case)).await.unwrap()
        });
    }
    // All of them, to see what goes together.
    let wrong: Vec<_> = checks.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // All of it over, and an ordinary call is an ordinary call.
    for line in &lines {
        for transport in ["UDP", "TCP"] {
            line.passes(transport, "basic", LINE, &[]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_request_in_a_stream_is_another_one() {
    let line = Line::start(config(25_120..=25_139)).await;
    let tcp = line.address("TCP");
    let mut dblreq = RFC4475.iter().find(|c| c.name == "dblreq").unwrap().message("rfc4475");
    // The second one's body is five bytes longer than it says.
    dblreq.truncate(dblreq.len() - 5);
    let (answers, _) =
        tokio::task::spawn_blocking(move || over_tcp_within(tcp, &dblreq, PATIENCE, |answers, _| answers.len() > 1)).await.unwrap();
    assert_eq!(answers.iter().map(|a| status(a)).collect::<Vec<_>>(), [405, 404], "the REGISTER and the INVITE: {answers:?}");
}

use super::*;

const TRUNK: Known<'static> = Known { trunk: "carrier", calls_per_second: 5 };

fn message(method: &str, n: usize, more: &str) -> Vec<u8> {
    let to = if method == "ACK" { ";tag=x" } else { "" };
    format!(
        "{method} sip:800123456@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:0182970000@192.0.2.9>;tag=a\r\nTo: <sip:800123456@192.0.2.1>{to}\r\nCall-ID: c{n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:0182970000@192.0.2.9>\r\n{more}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

struct Scene {
    gate: Gate,
    start: Instant,
    buffer: Vec<u8>,
    room: bool,
}

impl Scene {
    fn new() -> Self {
        let start = Instant::now();
        Self { gate: Gate::new(start), start, buffer: Vec::new(), room: true }
    }

    fn judge(&mut self, message: &[u8], from: &str, known: Option<Known<'_>>, ms: u64) -> Verdict {
        let now = self.start + Duration::from_millis(ms);
        let room = self.room;
        self.gate.judge(message, from.parse().unwrap(), known, || room, now, &mut self.buffer)
    }

    fn trunk(&mut self, message: &[u8], ms: u64) -> Verdict {
        self.judge(message, "192.0.2.9:5060", Some(TRUNK), ms)
    }

    fn answer(&self) -> String {
        String::from_utf8(self.buffer.clone()).unwrap()
    }
}

#[test]
fn a_call_without_room_and_all_of_its_repetitions_are_answered_503_and_its_ack_is_the_end() {
    let mut scene = Scene::new();
    scene.room = false;
    let invite = message("INVITE", 1, "");
    assert_eq!(scene.trunk(&invite, 0), Verdict::Answer(Why::Full));
    let first = scene.answer();
    assert!(first.starts_with("SIP/2.0 503 Service Unavailable\r\n") && first.contains("\r\nRetry-After: 10\r\n"), "{first}");
    scene.room = true;
    assert_eq!(scene.trunk(&invite, 500), Verdict::Answer(Why::Full), "also when there is room by now");
    assert_eq!(scene.answer(), first);
    assert_eq!(scene.trunk(&message("ACK", 1, ""), 600), Verdict::Silence(Why::Absorbed));
    assert_eq!(scene.trunk(&message("ACK", 2, ""), 600), Verdict::Pass, "another's ACK");
    assert_eq!(scene.trunk(&message("INVITE", 2, ""), 700), Verdict::Pass);
}

#[test]
fn a_call_that_was_let_in_may_be_repeated_when_there_is_no_room_any_more() {
    let mut scene = Scene::new();
    assert_eq!(scene.trunk(&message("INVITE", 1, ""), 0), Verdict::Pass);
    scene.room = false;
    assert_eq!(scene.trunk(&message("INVITE", 1, ""), 500), Verdict::Pass);
    for method in ["BYE", "OPTIONS", "UPDATE", "CANCEL"] {
        assert_eq!(scene.trunk(&message(method, 1, ""), 600), Verdict::Pass, "{method}");
    }
    let reinvite = String::from_utf8(message("INVITE", 9, ""))
        .unwrap()
        .replace("To: <sip:800123456@192.0.2.1>", "To: <sip:800123456@192.0.2.1>;tag=b");
    assert_eq!(scene.trunk(reinvite.as_bytes(), 700), Verdict::Pass, "inside a call there is room");
}

#[test]
fn a_trunk_has_its_rate_of_calls_whatever_address_they_come_from() {
    let mut scene = Scene::new();
    let passed = |scene: &mut Scene, range: std::ops::Range<usize>, ms: u64| {
        range
            .filter(|n| scene.judge(&message("INVITE", *n, ""), &format!("192.0.2.{}:5060", n % 9), Some(TRUNK), ms) == Verdict::Pass)
            .count()
    };
    assert_eq!(passed(&mut scene, 0..50, 0), 10);
    assert_eq!(passed(&mut scene, 50..100, 1_000), 5);
    let other = Known { trunk: "other", ..TRUNK };
    assert_eq!(scene.judge(&message("INVITE", 200, ""), "192.0.2.1:5060", Some(other), 1_000), Verdict::Pass);
}

#[test]
fn a_stranger_is_answered_a_few_times_and_then_not() {
    let mut scene = Scene::new();
    let register = message("REGISTER", 1, "");
    let verdicts: Vec<_> = (0..8).map(|n| scene.judge(&register, "198.51.100.1:5060", None, n)).collect();
    assert!(verdicts[..5].iter().all(|v| *v == Verdict::Answer(Why::Stranger)), "{verdicts:?}");
    assert!(verdicts[5..].iter().all(|v| *v == Verdict::Silence(Why::TooOften)), "{verdicts:?}");
    // A day of asking every five seconds changes nothing.
    assert!((1..17_280).all(|n| scene.judge(&register, "198.51.100.1:9", None, n * 5_000) == Verdict::Silence(Why::TooOften)));
    assert_eq!(scene.judge(&register, "198.51.100.2:5060", None, 0), Verdict::Answer(Why::Stranger));
}

#[test]
fn all_strangers_together_have_a_budget() {
    let mut scene = Scene::new();
    let register = message("REGISTER", 1, "");
    let answered = (0..10_000u32)
        .filter(|n| {
            let from = std::net::SocketAddr::from((std::net::Ipv4Addr::from(0xc633_0000 + n), 5060));
            scene.judge(&register, &from.to_string(), None, 0) == Verdict::Answer(Why::Stranger)
        })
        .count();
    assert_eq!(answered, 100);
    assert_eq!(scene.trunk(&message("INVITE", 1, ""), 0), Verdict::Pass, "a trunk does not notice");
}

#[test]
fn nobody_can_be_flooded_through_us() {
    let mut scene = Scene::new();
    for (n, small) in [
        "OPTIONS sip:a SIP/2.0\r\nv:x\r\nf:x\r\nt:x\r\ni:x\r\nCSeq:1 OPTIONS\r\n\r\n".to_owned(),
        String::from_utf8(message("OPTIONS", 1, ""))
            .unwrap()
            .replace("Max-Forwards: 70\r\n", "")
            .replace("Contact: <sip:0182970000@192.0.2.9>\r\n", ""),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        "junk".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let verdict = scene.judge(small.as_bytes(), &format!("198.51.100.{n}:5060"), None, 0);
        assert_eq!(verdict, Verdict::Silence(Why::Stranger), "{small}");
    }
}

#[test]
fn a_scanner_hears_nothing_and_nothing_else_from_there_does() {
    let mut scene = Scene::new();
    for (n, agent) in ["friendly-scanner", "sipcli/v1.8", "VaxSIPUserAgent/3.5", "pplsip"].into_iter().enumerate() {
        let from = format!("198.51.100.{n}:5060");
        let scan = message("OPTIONS", 1, &format!("User-Agent: {agent}\r\n"));
        assert_eq!(scene.judge(&scan, &from, None, 0), Verdict::Silence(Why::Scanner), "{agent}");
        assert_eq!(scene.judge(&message("INVITE", 1, ""), &from, None, 1_800_000), Verdict::Silence(Why::TooOften), "{agent}");
    }
    let named = String::from_utf8(message("OPTIONS", 1, "")).unwrap().replace("From: <", "From: \"sipvicious\" <");
    assert_eq!(scene.judge(named.as_bytes(), "198.51.100.9:5060", None, 0), Verdict::Silence(Why::Scanner));
}

#[test]
fn what_is_malformed_is_answered_and_what_is_unusual_written_for_the_stack() {
    let mut scene = Scene::new();
    assert_eq!(scene.trunk(&message("FROB", 1, ""), 0), Verdict::Answer(Why::Malformed));
    assert!(scene.answer().starts_with("SIP/2.0 501 Not Implemented\r\n"));
    assert_eq!(scene.trunk(b"BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n", 0), Verdict::Answer(Why::Malformed));
    assert!(scene.answer().starts_with("SIP/2.0 400 No From Header Field\r\n"));
    assert_eq!(scene.trunk(&message("OPTIONS", 1, "X: folded\r\n line\r\n"), 0), Verdict::Rewritten);
    assert!(scene.answer().contains("\r\nX: folded line\r\n"));
    assert_eq!(scene.trunk(b"noise", 0), Verdict::Silence(Why::Malformed));
    assert_eq!(scene.trunk(b"\r\n\r\n", 0), Verdict::Pass);
    assert_eq!(scene.trunk(b"SIP/2.0 200 OK\r\n\r\n", 0), Verdict::Silence(Why::Malformed));
    // A forged address is not answered for ever.
    let silent = (0..21_000).filter(|_| matches!(scene.trunk(&message("FROB", 1, ""), 1), Verdict::Silence(_))).count();
    assert!((900..=1_100).contains(&silent), "{silent}");
}

use super::*;
use crate::telephony::{codec::Codec, sip::sdp::SrtpPolicy};

const GOOD: &str = include_str!("../../../deploy/voceguida.example.toml");

fn nothing(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("x.toml", text, &nothing)
}

#[test]
fn the_example_is_a_good_configuration() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.number.len(), 1);
    assert_eq!(config.ente[0].get_ref().window(), Window::default());
    let sip = config.sip_config();
    assert!(sip.trunks[0].sources[0].contains(&"203.0.113.9".parse::<IpAddr>().unwrap()));
}

#[test]
fn so_it_is_with_every_setting_in_use() {
    let in_use = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| !c.is_whitespace()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let text = GOOD.lines().map(in_use).collect::<Vec<_>>().join("\n");
    let config = Config::parse("x.toml", &text, &|variable| Some(format!("password of {variable}"))).unwrap();
    let sip = config.sip_config();
    let [by_address, registered, by_password] = sip.trunks.as_slice() else { panic!("three trunks") };
    assert_eq!((by_address.max_calls, by_address.srtp), (Some(200), SrtpPolicy::Off));
    assert_eq!(by_address.codecs, [Codec::Pcma, Codec::Pcmu]);
    assert_eq!(by_address.keepalive.as_ref().unwrap().peers[0].to_string(), "203.0.113.4/udp");
    let account = registered.register.as_ref().unwrap();
    assert_eq!(account.registrars.iter().map(ToString::to_string).collect::<Vec<_>>(), ["sip.example.it/udp", "sip2.example.it:5060/udp"]);
    assert_eq!(account.password.reveal(), "password of REGISTRATO_PASSWORD");
    assert!(registered.keepalive.as_ref().unwrap().peers.is_empty(), "its registrar is asked");
    assert_eq!(registered.numbers, ["0182970000"]);
    assert_eq!(by_password.users[0].password.reveal(), "password of CENTRALINO_PASSWORD");
    let numbers: Vec<_> = config.numbers().map(|(trunk, n)| (trunk, n.called.as_str())).collect();
    assert_eq!(numbers, [(None, "800123456"), (Some("registrato"), "0182970000")]);
    assert!(!format!("{sip:?}").contains("password of"), "no password is ever shown");
    let billing = config.ente[0].get_ref().billing().unwrap();
    assert_eq!((billing.creditor.as_str(), billing.segregation.to_string().as_str(), billing.due_days), ("00123450017", "02", 30));
    let (smtp, pace) = config.mail().unwrap();
    assert_eq!((smtp.host.as_str(), smtp.port, pace), ("localhost", 25, crate::ops::smtp::Pace::default()));
    assert_eq!(smtp.credentials.as_ref().unwrap().1, "password of MAIL_PASSWORD");
    assert!(!format!("{smtp:?}").contains("password of"));
}

fn said(text: &str) -> String {
    match parse(text) {
        Err(ConfigError::Problems(list)) => list.join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let broken = GOOD.replace("ente = \"borgo\"", "ente = \"altrove\"").replace("\n[[trunk]]", "\n[[trunk]]\nnonsense = 1");
    insta::assert_snapshot!(
        [
            said(&broken),
            said(&GOOD.replace("\nente = \"borgo\"", "\nente = \"altrove\"")),
            said(&GOOD.replace("opens = \"18:00\"", "opens = \"18.00\"")),
            said(&GOOD.replace("opens = \"18:00\"", "opens = \"09:00\"")),
            said("http = 3"),
        ]
        .join("\n")
    );
}

/// The example with another trunk.
fn with_trunk(trunk: &str) -> String {
    let (before, rest) = GOOD.split_once("# A provider that calls from fixed").unwrap();
    let ente = rest.split_once("[[ente]]").unwrap().1;
    format!("{before}[[trunk]]\nname = \"t\"\n{trunk}\n[[ente]]{ente}")
}

#[test]
fn what_is_wrong_with_a_trunk_is_told_with_its_line() {
    let register = |more: &str| format!("[trunk.register]\nregistrars = [\"sip.example.it\"]\nuser = \"u\"\n{more}");
    let trunks = [
        String::new(),
        "sources = [\"203.0.113.300\"]".to_owned(),
        "sources = [\"203.0.113.1/32\"]\ncodecs = [\"pcma\", \"opus\"]".to_owned(),
        "sources = [\"203.0.113.1/32\"]\ncodecs = []\ncalls_per_second = 0\nmax_calls = 0".to_owned(),
        "sources = [\"203.0.113.1/32\"]\ncodecs = [\"pcma\", \"pcma\"]\nsrtp = \"always\"".to_owned(),
        "sources = [\"203.0.113.0/24\"]\noptions_every = 30".to_owned(),
        "sources = [\"203.0.113.1/32\"]\noptions_every = 1\noptions_to = [\"sip:a b\"]".to_owned(),
        "sources = [\"203.0.113.1/32\"]\noptions_to = [\"sip:a\"]".to_owned(),
        register(""),
        register("password_env = \"NOT_THERE\""),
        register("password_file = \"/nowhere/password\""),
        register("password_env = \"A\"\npassword_file = \"b\""),
        register("password = \"geheim\""),
        register("password_env = \"NOT_THERE\"\nexpires = 10\ntransport = \"sctp\""),
        "[trunk.register]\nregistrars = []\nuser = \"u@x\"\npassword_env = \"NOT_THERE\"\nexpires = 10".to_owned(),
        "[trunk.auth]\nusers = []".to_owned(),
        "[trunk.auth]\nusers = [{ name = \"pbx\" }]".to_owned(),
        "sources = [\"203.0.113.1/32\"]\n[[trunk.number]]\ncalled = \"1\"\nente = \"altrove\"\ndialplan = \"x\"".to_owned(),
        "sources = [\"203.0.113.1/32\"]\n[[trunk]]\nname = \"t\"\nsources = [\"203.0.113.2/32\"]".to_owned(),
    ];
    let told =
        trunks.iter().map(|trunk| format!("{}\n  → {}", trunk.replace('\n', " ⏎ "), said(&with_trunk(trunk)).replace('\n', "\n  → ")));
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_wrong_with_tls_is_told() {
    let tls = |more: &str| GOOD.replace("#[sip.tls]\n", &format!("[sip.tls]\n{more}\n"));
    insta::assert_snapshot!(
        [
            said(&tls("listen = [\"0.0.0.0:5061\"]")),
            said(&tls("certificate = \"a.pem\"")),
            said(&tls("listen = [\"0.0.0.0:5061\"]\ncertificate = \"a.pem\"\nkey = \"k.pem\"\nclient_certificates = \"required\"")),
        ]
        .join("\n")
    );
}

#[test]
fn a_password_file_gives_its_first_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "geheim\nand a note\n").unwrap();
    let path = file.path().display();
    let trunk = format!("[trunk.register]\nregistrars = [\"[2001:db8::1]:5060\"]\nuser = \"u\"\npassword_file = \"{path}\"");
    let account = parse(&with_trunk(&trunk)).unwrap().sip_config().trunks.remove(0).register.unwrap();
    assert_eq!((account.password.reveal(), account.domain.as_str()), ("geheim", "[2001:db8::1]"));
}

#[test]
fn a_trace_goes_somewhere_or_is_left_out() {
    assert_eq!(Config::parse("x.toml", GOOD, &|_| None).unwrap().trace, None);
    let on = GOOD.replace("# [trace]", "[trace]").replace("# hep = ", "hep = ").replace("# callers = ", "callers = ");
    let trace = Config::parse("x.toml", &on, &|_| None).unwrap().trace.unwrap();
    assert_eq!((trace.hep_node, trace.callers), (2_001, vec!["3471234567".to_owned()]));
    let nowhere = Config::parse("x.toml", &format!("{GOOD}\n[trace]\n"), &|_| None).unwrap_err();
    assert!(nowhere.to_string().contains("[trace] goes nowhere"), "{nowhere}");
}

#[test]
fn what_is_wrong_with_the_mail_server_is_told_with_its_line() {
    let with = |section: &str| Config::parse("x.toml", &format!("{GOOD}\n[mail]\n{section}"), &|_| Some("geheim".into()));
    let said = |section: &str| match with(section) {
        Err(ConfigError::Problems(list)) => list.join("\n"),
        other => panic!("{other:?}"),
    };
    let told = [
        said("host = \"mail.example\"\nfrom = \"mensa\""),
        said("host = \"mail.example\"\nfrom = \"a@b.example\"\ntls = \"none\"\nuser = \"x\"\npassword_env = \"P\""),
        said("host = \"mail.example\"\nfrom = \"a@b.example\"\nuser = \"x\""),
        said("host = \"mail.example\"\nfrom = \"a@b.example\"\nper_minute = 0"),
    ];
    insta::assert_snapshot!(told.join("\n"));
    assert!(with("host = \"localhost\"\nfrom = \"a@b.example\"\ntls = \"none\"\nuser = \"x\"\npassword_env = \"P\"").is_ok());
}

#[test]
fn what_is_wrong_with_billing_is_told_with_its_line() {
    let with = |section: &str| parse(&GOOD.replace("\n[[number]]", &format!("\n{section}\n[[number]]")));
    let said = |section: &str| match with(section) {
        Err(ConfigError::Problems(list)) => list.join("\n"),
        other => panic!("{other:?}"),
    };
    let good = "[ente.billing]\ncreditor = \"00123450017\"\nsegregation_code = \"02\"\nfirst_day = \"2026-09-01\"";
    let twin = format!("{good}\n[[ente]]\nslug = \"valle\"\nname = \"Comune di Valle\"\n{good}");
    let told = [
        said("[ente.billing]\ncreditor = \"x\""),
        said(
            "[ente.billing]\ncreditor = \"00123450019\"\nsegregation_code = \"2\"\nfirst_day = \"1.9.2026\"\ncbill = \"ab123\"\nseries = 100\ndue_days = 0\nthreshold_cents = -1",
        ),
        said(&good.replace("00123450017", "RSSMRA85T10A562S")),
        said(&format!("{good}\nsoglia = 5")),
        said(&twin),
    ];
    insta::assert_snapshot!(told.join("\n"));
    assert!(with(&format!("{twin}\nseries = 1")).is_ok(), "a series of its own");
}

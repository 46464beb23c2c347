//! Kamailio in front of two nodes of the real program on one PostgreSQL, as `deploy/kamailio` and docs/trunks.md set it up: calls over TLS
//! and UDP, a node that dies, a proxy that is restarted in the middle of calls, strangers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

#[path = "interop_support/baresip.rs"]
mod baresip;
#[path = "telephony_support/pki.rs"]
mod pki;
#[path = "interop_support/proxy.rs"]
mod proxy;
mod support;

use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use baresip::{Baresip, Setup};
use pki::Authority;
use proxy::{Proxy, options};
use support::service::{OpenSchool, PATIENCE, Service};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use voceguida::{
    telephony::phone::{ClipIndex, PhoneCall, PhoneConfig, dial},
    voice::prompts::PromptLibrary,
};

static PROMPTS: LazyLock<Arc<ClipIndex>> =
    LazyLock::new(|| Arc::new(ClipIndex::new(&PromptLibrary::load(Path::new("prompts/it")).unwrap().clips())));

/// Two nodes on one database behind a proxy, and an authority that has signed everybody's certificate.
struct Site {
    school: OpenSchool,
    nodes: [Service; 2],
    proxy: Proxy,
    ca: PathBuf,
    phones: (PathBuf, PathBuf),
    _dir: tempfile::TempDir,
}

impl Site {
    async fn start(children: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "authority");
        let (own, phones) = (authority.sign("own", "localhost"), authority.sign("phone", "localhost"));
        let school = OpenSchool::open(&support::postgres::fresh_database(), children).await;
        let mut proxy = Proxy::new(dir.path());
        // As in docs/trunks.md, but for the port that is asked, and how often.
        let inside = proxy.inside;
        let trunk = format!(
            "sources = [\"{}/32\"]\ncalls_per_second = 50\noptions_every = 5\noptions_to = [\"sip:{inside}\"]\nsrtp = \"optional\"",
            inside.ip()
        );
        // One at an address that is not the host's first, as where an address moves between hosts.
        let one = Service::start(dir.path(), "one", &school, "", &trunk);
        let nodes = [one, Service::start_at(proxy.node, dir.path(), "two", &school, "", &trunk)];
        proxy.configure(&[nodes[0].sip, nodes[1].sip], (&own.0, &own.1), &authority.certificate);
        proxy.start();
        let site = Self { school, nodes, proxy, ca: authority.certificate.clone(), phones, _dir: dir };
        // OPTIONS both ways: who lives?
        site.proxy.wait_for_nodes(&[(site.nodes[0].sip, "AP"), (site.nodes[1].sip, "AP")]).await;
        for node in &site.nodes {
            node.until("the node finds the proxy alive", |status| status["trunks"][0]["health"] == "up").await;
        }
        site
    }

    /// A call over UDP from a provider.
    async fn call(&self) -> PhoneCall {
        let config = PhoneConfig { index: Some(Arc::clone(&PROMPTS)), ..PhoneConfig::default() };
        let call = dial(&format!("sip:800123456@{}", self.proxy.outside), config).await;
        call.unwrap_or_else(|error| panic!("{error}\n{}", self.proxy.log()))
    }

    /// A call over TLS, with encrypted media, from a provider.
    async fn call_by_tls(&self) -> Baresip {
        let mut phone = Baresip::start(&Setup { tls: Some((&self.ca, (&self.phones.0, &self.phones.1))), srtp: true }, &PROMPTS);
        phone.dial(&format!("sip:800123456@{};transport=tls", self.proxy.tls)).await;
        phone
    }

    fn answered(&self) -> [u64; 2] {
        [0, 1].map(|n| self.nodes[n].status()["calls"]["answered"].as_u64().unwrap_or_default())
    }
}

async fn cancel(call: &PhoneCall, code: &str) {
    call.press(&format!("{code}1")).await;
    assert!(call.wait_heard("anteprima_cancel", PATIENCE).await, "{:?}", call.heard());
    call.press("1").await;
    assert!(call.wait_heard("registrata_cancel", PATIENCE).await, "{:?}", call.heard());
}

async fn cancel_by_tls(phone: &mut Baresip, code: &str) {
    phone.press(code).await;
    phone.press("1").await;
    phone.wait_heard("anteprima_cancel").await;
    phone.press("1").await;
    phone.wait_heard("registrata_cancel").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_tls_and_udp_reach_either_node_and_strangers_none() {
    let site = Site::start(3).await;
    let codes = &site.school.codes;
    let by_tls = async {
        let mut phone = site.call_by_tls().await;
        cancel_by_tls(&mut phone, &codes[0]).await;
        phone.hang_up().await;
    };
    let by_udp = async |code: &str| {
        let call = site.call().await;
        cancel(&call, code).await;
        assert!(call.hang_up().await);
    };
    tokio::join!(by_tls, by_udp(&codes[1]), by_udp(&codes[2]));
    for code in codes {
        assert!(site.school.cancelled_once(code).await, "{:?}", site.school.operations(code).await);
    }
    let calls = site.school.calls(3).await;
    assert!(calls.iter().all(|c| (c.cause.as_str(), c.caller.is_some()) == ("caller_hung_up", true)), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.srtp).count(), 1, "{calls:?}");
    let answered = site.answered();
    assert!(answered.iter().all(|n| *n > 0) && answered.iter().sum::<u64>() == 3, "in turn: {answered:?}");

    // A stranger hears nothing, over UDP or TCP, and reaches no node.
    let stranger = UdpSocket::bind((site.proxy.stranger, 0)).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let invite = options(&stranger, site.proxy.outside).replace("OPTIONS sip:", "INVITE sip:800123456@").replace("1 OPTIONS", "1 INVITE");
    for message in [options(&stranger, site.proxy.outside), invite] {
        stranger.send_to(message.as_bytes(), site.proxy.outside).unwrap();
        assert!(stranger.recv_from(&mut [0; 2_000]).is_err(), "a stranger is answered");
    }
    // Nor does one that comes to the inside, or straight to a node.
    stranger.send_to(options(&stranger, site.proxy.inside).as_bytes(), site.proxy.inside).unwrap();
    assert!(stranger.recv_from(&mut [0; 2_000]).is_err(), "a stranger is answered inside");
    stranger.send_to(options(&stranger, site.nodes[0].sip).as_bytes(), site.nodes[0].sip).unwrap();
    let mut buffer = [0; 2_000];
    let (length, _) = stranger.recv_from(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 403"), "{}", String::from_utf8_lossy(&buffer[..length]));

    let connecting = TcpSocket::new_v4().unwrap();
    connecting.bind((site.proxy.stranger, 0).into()).unwrap();
    let mut connection = connecting.connect(site.proxy.outside).await.unwrap();
    connection.write_all(options(&stranger, site.proxy.outside).as_bytes()).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, connection.read(&mut buffer)).await.expect("a stranger's connection is closed");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");

    nobodys_relay(&site);
    assert_eq!(site.answered().iter().sum::<u64>(), 3);
}

/// Not even a provider can have the proxy send something to an address of its choosing.
fn nobodys_relay(site: &Site) {
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    target.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let elsewhere = target.local_addr().unwrap();
    let provider = UdpSocket::bind("127.0.0.1:0").unwrap();
    provider.set_read_timeout(Some(PATIENCE)).unwrap();
    let proxy = site.proxy.outside;
    let plain = options(&provider, proxy);
    // To another address; through a Route; as if inside a call.
    let to_another = plain.replace(&format!("OPTIONS sip:{proxy}"), &format!("OPTIONS sip:{elsewhere}"));
    let routed = plain.replace("Max-Forwards", &format!("Route: <sip:{elsewhere};lr>\r\nMax-Forwards"));
    let route = format!("Route: <sip:{proxy};lr>, <sip:{elsewhere};lr>\r\nMax-Forwards");
    let in_call = plain.replace("To: <", "To: <sip:a@b>;tag=forged, <").replace(", <", "\r\nX: <").replace("Max-Forwards", &route);
    for message in [to_another, routed, in_call] {
        provider.send_to(message.as_bytes(), proxy).unwrap();
        let mut buffer = [0; 2_000];
        let (length, _) = provider.recv_from(&mut buffer).expect("a provider is answered");
        let answer = String::from_utf8_lossy(&buffer[..length]);
        assert!(answer.starts_with("SIP/2.0 "), "{answer}");
        assert!(target.recv_from(&mut [0; 2_000]).is_err(), "relayed: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_dies_calls_go_to_the_other() {
    let mut site = Site::start(2).await;
    site.nodes[0].kill();
    // Before OPTIONS has found out, and after.
    let calls = [site.call().await, site.call().await];
    for call in &calls {
        assert!(call.wait_begun("benvenuto", PATIENCE).await, "{:?}", call.heard());
    }
    site.proxy.wait_for_nodes(&[(site.nodes[0].sip, "IP"), (site.nodes[1].sip, "AP")]).await;
    let by_tls = async {
        let mut phone = site.call_by_tls().await;
        cancel_by_tls(&mut phone, &site.school.codes[0]).await;
        phone.hang_up().await;
    };
    tokio::join!(by_tls, cancel(&calls[0], &site.school.codes[1]));
    for call in &calls {
        assert!(call.hang_up().await);
    }
    for code in &site.school.codes {
        assert!(site.school.cancelled_once(code).await, "{:?}", site.school.operations(code).await);
    }
    assert_eq!(site.nodes[1].status()["calls"]["answered"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_outlive_a_restart_of_the_proxy() {
    let mut site = Site::start(5).await;
    let codes = site.school.codes.clone();
    let udp = [site.call().await, site.call().await, site.call().await];
    let [mut first, mut second] = [site.call_by_tls().await, site.call_by_tls().await];
    for call in &udp {
        assert!(call.wait_heard("codice", PATIENCE).await, "{:?}", call.heard());
    }
    site.proxy.stop();
    // Nobody is there to be told anything, and nothing has to be: audio and keys go on.
    let done_meanwhile = async {
        cancel(&udp[2], &codes[4]).await;
        assert!(udp[2].wait_heard("altro", PATIENCE).await, "{:?}", udp[2].heard());
        udp[2].press("3").await;
        assert!(udp[2].wait_heard("arrivederci", PATIENCE).await, "{:?}", udp[2].heard());
    };
    tokio::join!(cancel(&udp[0], &codes[0]), cancel_by_tls(&mut first, &codes[1]), done_meanwhile);
    assert!(!udp[2].is_over(), "the line's BYE goes by the proxy");
    site.proxy.start();
    tokio::join!(cancel(&udp[1], &codes[2]), cancel_by_tls(&mut second, &codes[3]));
    for code in &codes {
        assert!(site.school.cancelled_once(code).await, "{:?}", site.school.operations(code).await);
    }
    // What the line said while nobody was there arrives now.
    assert!(udp[2].wait_ended(PATIENCE).await, "{}", site.proxy.log());
    // Callers hang up: over TLS on a new connection.
    assert!(udp[0].hang_up().await, "{}", site.proxy.log());
    first.hang_up().await;
    // The line hangs up: the proxy connects to where the caller's side said that it can be reached.
    let asked = async {
        assert!(udp[1].wait_heard("altro", PATIENCE).await, "{:?}", udp[1].heard());
        udp[1].press("3").await;
        assert!(udp[1].wait_ended(PATIENCE).await, "{}", site.proxy.log());
    };
    let asked_by_tls = async {
        second.wait_heard("altro").await;
        second.press("3").await;
        second.wait_for("CALL_CLOSED").await;
    };
    tokio::join!(asked, asked_by_tls);
    let mut causes: Vec<_> = site.school.calls(5).await.into_iter().map(|call| call.cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["caller_hung_up", "caller_hung_up", "we_hung_up", "we_hung_up", "we_hung_up"]);
}

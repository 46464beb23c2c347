//! The real program under a configuration with trunks of several kinds, and what it tells of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

#[path = "telephony_support/dashboard.rs"]
mod dashboard;
#[path = "telephony_support/kamailio.rs"]
mod kamailio;
#[path = "telephony_support/pki.rs"]
mod pki;
#[path = "telephony_support/prometheus.rs"]
mod prometheus;
mod telephony_support;
#[path = "telephony_support/tls_peer.rs"]
mod tls_peer;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dashboard::Dashboard;
use kamailio::Kamailio;
use pki::Authority;
use prometheus::Prometheus;
use telephony_support::{PATIENCE, free_port};
use tls_peer::TlsPeer;

/// A running service; ended (by its pid) when dropped.
struct Service {
    child: Child,
    config: PathBuf,
}

impl Service {
    fn start(dir: &Path, config: &str) -> Self {
        let path = dir.join("voceguida.toml");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_voceguida"))
            .args(["serve", "--config"])
            .arg(&path)
            .env("PROVIDER_PASSWORD", "geheim")
            .env("PBX_PASSWORD", "geheim")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, config: path }
    }

    /// What `voceguida status` says; nothing where it does not answer.
    fn status(&self, more: &[&str]) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voceguida"));
        let output = command.args(["status", "--config"]).arg(&self.config).args(more).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Waits until the status looks like that.
    fn until(&mut self, what: &str, looks: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let began = Instant::now();
        loop {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended:\n{}", self.log());
            let status = self.status(&["--json"]).map(|text| serde_json::from_str(&text).unwrap());
            if let Some(status) = status.as_ref().filter(|status| looks(status)) {
                return status.clone();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {status:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_file_name("log")).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Where a node of the test listens, and whom it talks to.
struct Places {
    sip: u16,
    http: SocketAddr,
    tls: SocketAddr,
    /// Nobody answers there.
    dead: u16,
    registrar: SocketAddr,
    /// The first of twenty ports.
    rtp: u16,
}

impl Places {
    fn new(registrar: SocketAddr, rtp: u16) -> Self {
        Self { sip: free_port(), http: free_tcp(), tls: free_tcp(), dead: free_port(), registrar, rtp }
    }
}

/// A configuration with trunks of several kinds.
fn configuration(dir: &Path, places: &Places, own: &(PathBuf, PathBuf)) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Places { sip, http, tls, dead, registrar, rtp } = places;
    let last_rtp = rtp + 19;
    format!(
        r#"
database = "sqlite:{dir}/test.db"
http = "{http}"
prompts = "{root}/prompts/it"
drain_seconds = 1
[sip]
udp = ["127.0.0.1:{sip}"]
rtp_ports = [{rtp}, {last_rtp}]
max_calls = 5
[sip.tls]
listen = ["{tls}"]
certificate = "{certificate}"
key = "{key}"
[[trunk]]
name = "by address"
sources = ["127.0.0.1/32"]
max_calls = 2
options_every = 5
options_missed = 1
options_to = ["sip:127.0.0.1:{dead}"]
[[trunk]]
name = "registering"
options_every = 5
[trunk.register]
registrars = ["{registrar}"]
domain = "example.test"
user = "0182970000"
password_env = "PROVIDER_PASSWORD"
[[trunk.number]]
called = "0182970000"
ente = "borgo"
dialplan = "{root}/dialplans/mensa.toml"
[[trunk]]
name = "by password"
[trunk.auth]
users = [{{ name = "pbx", password_env = "PBX_PASSWORD" }}]
[[ente]]
slug = "borgo"
name = "Borgo"
[[number]]
called = "800123456"
ente = "borgo"
dialplan = "{root}/dialplans/mensa.toml"
"#,
        dir = dir.display(),
        root = root.display(),
        certificate = own.0.display(),
        key = own.1.display(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_tells_how_its_trunks_fare() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let own = authority.sign("own", "localhost");
    let kamailio = Kamailio::start("SHA-256", None);
    let places = Places::new(kamailio.udp, 24_300);
    let (http, tls, dead) = (places.http, places.tls, places.dead);
    let config = configuration(dir.path(), &places, &own);
    let mut service = Service::start(dir.path(), &config);
    let status = service.until("registered, and the dead one dead", |status| {
        let [by_address, registering, _] = status["trunks"].as_array().unwrap().as_slice() else { return false };
        by_address["health"] == "down" && registering["health"] == "up" && registering["peers"][0]["alive"] == true
    });
    assert_eq!((&status["trunks"][0]["cap"], &status["trunks"][1]["cap"], &status["calls"]["capacity"]), (&2.into(), &5.into(), &5.into()));
    assert_eq!(status["trunks"][1]["registration"]["registrar"], format!("{}/udp", kamailio.udp));
    assert_eq!(status["trunks"][2]["health"], "unknown");

    let table = service.status(&[]).unwrap();
    for word in ["takes calls", "DOWN", "DEAD", "registering", "by password", "never", "lost unread 0", "own.pem (CN=localhost)"] {
        assert!(table.contains(word), "{word}:\n{table}");
    }
    let output = Command::new("curl").args(["-sf", &format!("http://{http}/metrics")]).output().unwrap();
    let metrics = String::from_utf8(output.stdout).unwrap();
    for line in [
        "voceguida_trunk_up{trunk=\"by address\"} 0",
        "voceguida_trunk_up{trunk=\"registering\"} 1",
        "voceguida_trunk_registered{trunk=\"registering\"} 1",
        "voceguida_trunk_calls_capacity{trunk=\"by address\"} 2",
        "voceguida_trunk_invites_total{trunk=\"by password\"} 0",
        "voceguida_sip_unread_datagrams_total 0",
        &format!("voceguida_trunk_peer_up{{trunk=\"by address\",peer=\"127.0.0.1:{dead}/udp\"}} 0"),
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}:\n{metrics}");
    }
    assert!(!metrics.contains("voceguida_trunk_up{trunk=\"by password\"}"), "nothing is known of it");
    let certificate = metrics.lines().find(|l| l.starts_with("voceguida_tls_certificate_expires_days{file=")).unwrap();
    assert!(
        certificate.contains("role=\"own\"") && certificate.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 365.0,
        "{certificate}"
    );

    // A new certificate, on SIGHUP.
    let before = TlsPeer::connect(tls, &authority.certificate, None).await.unwrap().certificate();
    authority.sign("own", "localhost");
    service.signal("-HUP");
    let began = Instant::now();
    while TlsPeer::connect(tls, &authority.certificate, None).await.unwrap().certificate() == before {
        assert!(began.elapsed() < PATIENCE, "the old certificate is still shown:\n{}", service.log());
    }
    // The registration is taken back at the end.
    service.signal("-TERM");
    assert!(service.child.wait().unwrap().success());
    let output = telephony_support::sipp_at(kamailio.udp, "UDP", "unknown_number", "0182970000", &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = service.log();
    for word in ["registered", "the peer does not answer", "certificates reloaded"] {
        assert!(log.contains(word), "{word}:\n{log}");
    }
    assert!(!log.contains("geheim"));
    assert_eq!(service.status(&[]), None, "nobody answers any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_of_the_dashboard_has_something_to_show() {
    let dashboard = Dashboard::read();
    dashboard.check();
    let dir = tempfile::tempdir().unwrap();
    let own = Authority::new(dir.path(), "authority").sign("own", "localhost");
    let kamailio = Kamailio::start("SHA-256", None);
    let places = Places::new(kamailio.udp, 24_320);
    let mut service = Service::start(dir.path(), &configuration(dir.path(), &places, &own));
    service.until("registered, and the registrar alive", |status| status["trunks"][1]["peers"][0]["alive"] == true);
    let prometheus = Prometheus::start(dir.path(), places.http);
    // What is counted has to be seen before it grows.
    let began = Instant::now();
    let seen = |query: &str| prometheus.query(query).is_ok_and(|series| series.iter().any(|(_, value)| *value > 0.0));
    while !seen("voceguida_uptime_seconds") {
        assert!(began.elapsed() < PATIENCE, "nothing is scraped");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let line = SocketAddr::from(([127, 0, 0, 1], places.sip));
    let output = telephony_support::sipp_at(line, "UDP", "basic", "800123456", &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for growing in ["voceguida_calls_answered_total", "voceguida_trunk_invites_total", "voceguida_rtp_packets_sent_total"] {
        let query = format!("sum(increase({growing}[1m]))");
        let began = Instant::now();
        while !seen(&query) {
            assert!(began.elapsed() < PATIENCE, "{query}: {:?}", prometheus.query(&query));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    for (title, query) in dashboard.queries() {
        let found = prometheus.query(&query).unwrap_or_else(|error| panic!("{title}: {query}: {error}"));
        assert!(!found.is_empty() && found.iter().all(|(_, value)| value.is_finite()), "{title}: {query}: {found:?}");
    }
    for (metric, label) in dashboard.variables() {
        let found = prometheus.query(&metric).unwrap();
        assert!(found.iter().any(|(labels, _)| labels[&label].is_string()), "{metric}: no {label}");
    }
}

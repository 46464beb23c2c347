//! What remains of calls, with the program as it is started: its records as CSV, its log with one id per call, and the
//! SIP trace, switched while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use support::demo::free_port;
use tokio::time::sleep;
use voceguida::telephony::phone::{PhoneConfig, dial};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running service; ended (by its pid) when dropped.
struct Service {
    child: Child,
    dir: PathBuf,
    uri: String,
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_voceguida"))
}

impl Service {
    async fn start(dir: &Path) -> Self {
        let uri = format!("sip:800123456@127.0.0.1:{}", free_port());
        let service = |child| Self { child, dir: dir.to_owned(), uri: uri.clone() };
        write_config(dir, &uri, "");
        let child = program()
            .args(["--log-json", "serve", "--config"])
            .arg(dir.join("config.toml"))
            .env_remove("VOCEGUIDA_DATABASE")
            .env("VOCEGUIDA_LOG", "info")
            .stderr(File::create(dir.join("log.jsonl")).unwrap())
            .spawn()
            .expect("it starts");
        let started = service(child);
        started.logs("health and metrics").await;
        started
    }

    /// Waits for a line of the log.
    async fn logs(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "no \"{text}\" in {}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log.jsonl")).unwrap()
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Changes what stands behind the configuration and has it read again.
    async fn reconfigure(&self, more: &str, logged: &str) {
        write_config(&self.dir, &self.uri, more);
        self.signal("-HUP");
        self.logs(logged).await;
    }

    /// A call from this number that is hung up after a key.
    async fn call(&self, caller: &str) {
        let call = dial(&self.uri, PhoneConfig { caller: caller.into(), ..PhoneConfig::default() }).await.expect("it answers");
        call.press("1").await;
        // A key on its way when the caller hangs up would be lost.
        sleep(Duration::from_secs(1)).await;
        call.hang_up().await;
    }

    fn export(&self, more: &[&str]) -> Output {
        let config = self.dir.join("config.toml");
        let args = ["export", "--cdr", "--from", "2000-01-01", "--to", "2100-01-01", "--config"];
        program().args(args).arg(config).args(more).env_remove("VOCEGUIDA_DATABASE").output().expect("export runs")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(dir: &Path, uri: &str, more: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let (sip, http) = (uri.split_once('@').unwrap().1, free_port());
    let text = format!(
        r#"
        database = "sqlite:{dir}/calls.db"
        http = "127.0.0.1:{http}"
        prompts = "{root}/prompts/it"
        drain_seconds = 20
        [sip]
        udp = ["{sip}"]
        rtp_ports = [24860, 24899]
        max_calls = 10
        [[trunk]]
        name = "operatore"
        sources = ["127.0.0.0/8"]
        [[ente]]
        slug = "borgo"
        name = "Comune di Borgo"
        [[number]]
        called = "800123456"
        ente = "borgo"
        dialplan = "{root}/dialplans/mensa.toml"
        {more}
        "#,
        dir = dir.display()
    );
    // At once, so that nobody reads half of it.
    std::fs::write(dir.join("config.new"), text).unwrap();
    std::fs::rename(dir.join("config.new"), dir.join("config.toml")).unwrap();
}

/// The lines of a CSV file, by heading.
fn rows(csv: &[u8]) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(csv.strip_prefix("\u{feff}".as_bytes()).unwrap());
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_leave_records_log_lines_and_a_trace_where_it_was_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let traces = dir.path().join("trace");
    std::fs::create_dir(&traces).unwrap();
    let mut service = Service::start(dir.path()).await;
    service.call("0182000001").await;
    let on = format!("[trace]\npcap = \"{}\"\ncallers = [\"182000002\"]\n", traces.display());
    service.reconfigure(&on, "\"on\":true").await;
    service.call("0182000002").await;
    service.call("0182000003").await;
    service.reconfigure("", "\"on\":false").await;
    service.call("0182000002").await;
    service.signal("-TERM");
    let until = Instant::now() + PATIENCE;
    while service.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end: {}", service.log());
        sleep(Duration::from_millis(50)).await;
    }

    let csv = service.export(&[]);
    let calls = rows(&csv.stdout);
    assert_eq!(calls.len(), 4, "{}", String::from_utf8_lossy(&csv.stderr));
    for call in &calls {
        let of = |name: &str| call[name].as_str();
        assert_eq!(
            (of("Fascio"), of("Chiamato"), of("Stato SIP"), of("Codec"), of("Tasti")),
            ("operatore", "800123456", "200", "PCMA", "1")
        );
        assert_eq!((of("Causa"), of("Causa Q.850"), of("Chiuso da"), of("Toni")), ("caller_hung_up", "16", "chiamante", "rfc4733"));
        assert_eq!(of("Chiamante"), "0182******", "callers' numbers are masked");
    }
    let whole: Vec<_> = rows(&service.export(&["--whole-numbers"]).stdout).into_iter().map(|c| c["Chiamante"].clone()).collect();
    assert_eq!(whole, ["0182000001", "0182000002", "0182000003", "0182000002"]);
    assert!(!program().args(["export", "--from", "2026-10-12", "--whole-numbers"]).output().unwrap().status.success());

    // Every line of a call carries its id, the one in its record.
    let log = service.log();
    let ids: HashSet<_> = calls.iter().map(|c| c["Id"].clone()).collect();
    for said in ["call answered", "call ended"] {
        let of_calls: HashSet<_> = log
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["fields"]["message"] == said)
            .map(|line| line["span"]["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(of_calls, ids, "{said}: {log}");
    }
    assert!(!log.contains("0182000002"), "no caller's number in the log");

    let files: Vec<_> = std::fs::read_dir(&traces).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let traced = String::from_utf8_lossy(&std::fs::read(&files[0]).unwrap()).into_owned();
    assert_eq!((traced.matches("INVITE sip:").count(), traced.matches("BYE sip:").count()), (1, 1), "{traced}");
    assert!(traced.contains("0182000002") && !traced.contains("0182000001") && !traced.contains("0182000003"), "{traced}");
}

//! The real program, started as its user starts it, on ports of its own.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// A running demo; ended (by its pid) when dropped.
pub struct Demo {
    child: Child,
    pub sip: SocketAddr,
    pub http: SocketAddr,
    pub data: PathBuf,
}

/// RTP ports are given out in blocks, so that demos of tests running beside each other do not meet.
static NEXT_RTP: AtomicU16 = AtomicU16::new(0);

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_voceguida"))
}

impl Demo {
    /// Starts the demo on `data` at `at` and waits until it takes calls.
    pub fn start(data: &Path, at: &str) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (sip, http) = (local(free_port()), local(free_port()));
        let block = NEXT_RTP.fetch_add(1, Ordering::Relaxed);
        let rtp = 20_000 + (std::process::id() as u16 % 20) * 1_000 + (block % 5) * 200;
        let mut child = program()
            .args(["demo", "--no-past", "--at", at, "--max-calls", "90", "--drain-seconds", "60", "--data"])
            .arg(data)
            .args(["--sip", &sip.to_string(), "--http", &http.to_string(), "--rtp-port", &rtp.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let ready = output.lines().map_while(Result::ok).any(|line| line.contains("Stop with Ctrl-C"));
        assert!(ready, "the demo ended before it was ready");
        Self { child, sip, http, data: data.to_owned() }
    }

    pub fn uri(&self) -> String {
        format!("sip:800123456@{}", self.sip)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        let until = std::time::Instant::now() + patience;
        while std::time::Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the demo did not end");
    }

    /// Memory in kB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its state");
        let line = status.lines().find(|l| l.starts_with("VmRSS")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// All codes, in the demo's order.
    pub fn codes(data: &Path) -> Vec<String> {
        let output = program()
            .args(["demo", "--no-past", "--print-codes", "--at", super::MONDAY_EVENING, "--data"])
            .arg(data)
            .output()
            .expect("codes");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().skip(1).map(|line| line.split(',').next().expect("a code").to_owned()).collect()
    }

    /// What `voceguida child CODE --json` says.
    pub fn child(data: &Path, code: &str, from: &str, to: &str) -> serde_json::Value {
        let output = program().args(["child", code, "--json", "--from", from, "--to", to, "--data"]).arg(data).output().expect("child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Waits until no call is left: the record of one is made up a moment after the caller has gone.
    pub fn wait_for_no_calls(&self, patience: Duration) {
        let until = std::time::Instant::now() + patience;
        while self.metric("voceguida_calls_active") > 0 {
            assert!(std::time::Instant::now() < until, "a call does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A value of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let output = Command::new("curl").args(["-sf", &format!("http://{}/metrics", self.http)]).output().expect("curl runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Already gone where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! linphonec as a caller, with the configuration that the README gives to people; it is led by what is typed into it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{demo::free_port, service::PATIENCE};

/// A running linphonec; ended (by its pid) when dropped.
pub struct Linphone {
    child: Child,
    keyboard: ChildStdin,
    dir: tempfile::TempDir,
}

impl Linphone {
    /// Starts it.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/phones/linphone/linphonerc");
        let text = fs::read_to_string(file).expect("its configuration").replace("5070", &free_port().to_string());
        fs::write(dir.path().join("linphonerc"), text).expect("its configuration");
        let log = File::create(dir.path().join("log")).expect("a file");
        let mut child = Command::new("linphonec")
            .arg("-c")
            .arg(dir.path().join("linphonerc"))
            .env("HOME", dir.path())
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .expect("linphonec is needed by this test: run tests/install.sh");
        let keyboard = child.stdin.take().expect("its input");
        Self { child, keyboard, dir }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("linphonec listens");
    }

    /// Dials, without a sound card; the call is there when this returns.
    pub async fn dial(&mut self, number: &str, at: SocketAddr) {
        self.wait_for("linphonec>").await;
        self.types("soundcard use files");
        self.wait_for("Using wav files").await;
        let heard = self.dir.path().join("heard.wav");
        self.types(&format!("record {}", heard.display()));
        self.types(&format!("call sip:{number}@{at}"));
        self.wait_for("Media streams established").await;
    }

    /// Types keys, at a person's pace.
    pub async fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.types(&key.to_string());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// Hangs up.
    pub async fn hang_up(&mut self) {
        self.types("terminate");
        self.wait_for(" ended (").await;
    }

    /// How many samples that it has heard are louder than silence.
    pub fn loud_samples(&self) -> usize {
        let bytes = fs::read(self.dir.path().join("heard.wav")).unwrap_or_default();
        let samples = bytes.get(44..).unwrap_or_default().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        samples.filter(|sample| sample.unsigned_abs() > 1_000).count()
    }

    /// Waits until it has said this.
    pub async fn wait_for(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "linphonec does not say {text:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Linphone {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! linphonec as a caller, with the configuration that the README gives to people; it is led by what is typed into it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
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
    /// Starts it; with whom it trusts over TLS it takes nothing but encrypted media.
    pub fn start(ca: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // As the README says.
        fs::create_dir_all(dir.path().join(".local/share/linphone")).expect("a directory");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/phones/linphone/linphonerc");
        let mut text = fs::read_to_string(file).expect("its configuration").replace("5070", &free_port().to_string());
        if let Some(ca) = ca {
            text = format!("{text}root_ca={}\nmedia_encryption=srtp\nmedia_encryption_mandatory=1\n", ca.display());
        }
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

    /// Dials, without a sound card.
    pub async fn dial(&mut self, uri: &str) {
        self.wait_for("linphonec>").await;
        self.types("soundcard use files");
        self.wait_for("Using wav files").await;
        let heard = self.dir.path().join("heard.wav");
        self.types(&format!("record {}", heard.display()));
        self.types(&format!("call {uri}"));
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

    /// Waits until it has heard so many samples that are louder than silence.
    pub async fn wait_loud(&self, wanted: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let bytes = fs::read(self.dir.path().join("heard.wav")).unwrap_or_default();
            let samples = bytes.get(44..).unwrap_or_default().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            let loud = samples.filter(|sample| sample.unsigned_abs() > 1_000).count();
            if loud >= wanted {
                return;
            }
            assert!(Instant::now() < until, "linphonec hears next to nothing: {loud} samples\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
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

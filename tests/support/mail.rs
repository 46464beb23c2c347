//! A real mail server (tests/mail/sink.py) and what it was handed.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use voceguida::ops::smtp::{Security, Smtp, SmtpConfig};

/// A sink; ends with the test.
pub struct Sink {
    pub port: u16,
    directory: tempfile::TempDir,
    child: Child,
}

impl Sink {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), 0)
    }

    fn start_in(directory: tempfile::TempDir, port: u16) -> Self {
        let mut child = Command::new("tests/mail/sink.py")
            .arg(directory.path())
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sink (tests/install.sh)");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("its port");
        Self { port: line.trim().parse().expect("a port"), directory, child }
    }

    /// Goes away; the port can be taken again.
    pub fn stop(mut self) -> (tempfile::TempDir, u16) {
        self.child.kill().expect("ends");
        self.child.wait().expect("ended");
        // The directory lives on; the rest is forgotten.
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a directory"));
        (directory, self.port)
    }

    /// Comes back where it was.
    pub fn back((directory, port): (tempfile::TempDir, u16)) -> Self {
        Self::start_in(directory, port)
    }

    /// A way to it.
    pub fn courier(&self) -> Smtp {
        courier(self.port)
    }

    /// What it was handed: recipient and text.
    pub fn mails(&self) -> Vec<(String, String)> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.directory.path()).expect("the directory").map(|f| f.expect("a file").path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "eml"));
        files.sort_by_key(|path| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u32>().ok()));
        let read = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&std::fs::read(path).expect("a mail")).replace('\r', "");
            let (to, rest) = text.split_once('\n').expect("the recipient");
            (to.to_owned(), rest.to_owned())
        };
        files.iter().map(read).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way to whatever listens on this port.
pub fn courier(port: u16) -> Smtp {
    Smtp::new(&SmtpConfig {
        host: "127.0.0.1".into(),
        port,
        security: Security::None,
        ca: None,
        credentials: None,
        from: "mensa@prova.example".parse().expect("an address"),
        hello: None,
    })
    .expect("a courier")
}

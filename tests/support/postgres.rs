//! A private PostgreSQL for tests: `fresh_database()` gives the URL of an empty database of its own.
//!
//! `make test` starts one cluster for all test programs (`tests/postgres.sh run`, which sets
//! `VOCEGUIDA_TEST_POSTGRES`); without it each test program that asks starts its own. A cluster ends
//! with the process that asked for it, however that ends: its keeper waits on a pipe that only that process
//! holds. Without PostgreSQL the tests fail: they are never skipped.

#![allow(dead_code, reason = "each test program uses its part of this file")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test without its database fails, loudly")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Tells test programs of a cluster that is running already.
const SHARED: &str = "VOCEGUIDA_TEST_POSTGRES";

/// A running PostgreSQL cluster.
#[derive(Debug)]
pub struct Cluster {
    /// URL of its maintenance database; ends in `?host=DIRECTORY`, where its socket is.
    url: String,
    /// Its keeper, where it is ours. The keeper's stdin must stay open as long as this process lives.
    keeper: Option<Child>,
}

/// The cluster for all that does not need the disk to be written: shared by the test run where there is one.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| match std::env::var(SHARED) {
        Ok(url) => Cluster { url, keeper: None },
        Err(_) => Cluster::start(&["serve"]),
    })
}

/// A cluster of this test program alone, with `fsync` on, for tests about durability.
pub fn durable_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&["serve", "durable"]))
}

/// URL of a new, empty database in [`cluster`].
pub fn fresh_database() -> String {
    cluster().fresh_database()
}

impl Cluster {
    fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres.sh");
        let mut keeper = Command::new("bash")
            .arg(&script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let mut url = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut url).expect("the keeper's answer");
        }
        if url.trim().is_empty() {
            let mut reason = String::new();
            if let Some(mut stderr) = keeper.stderr.take() {
                stderr.read_to_string(&mut reason).expect("the keeper's reason");
            }
            panic!("PostgreSQL for the tests did not start: {}", reason.trim());
        }
        Self { url: url.trim().to_owned(), keeper: Some(keeper) }
    }

    /// URL of a new, empty database of a name that nobody else uses.
    pub fn fresh_database(&self) -> String {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        self.psql(&format!("CREATE DATABASE {name}"));
        self.url.replace("/postgres?", &format!("/{name}?"))
    }

    /// The keeper's pid, where the cluster is this process's own.
    pub fn keeper(&self) -> Option<u32> {
        self.keeper.as_ref().map(Child::id)
    }

    /// Directory of the unix socket, for client programs (`psql -h`).
    pub fn socket_directory(&self) -> &str {
        self.url.split_once("?host=").map_or("", |(_, directory)| directory)
    }

    /// Runs SQL in the maintenance database and gives back its rows, columns separated by `|`.
    pub fn psql(&self, sql: &str) -> String {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "voceguida", "-d", "postgres"])
            .args(["-h", self.socket_directory(), "-c", sql])
            .output()
            .expect("psql runs: tests/install.sh installs it");
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

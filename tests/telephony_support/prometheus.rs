//! A Prometheus of our own, for the tests: scrapes a node every second by what `deploy/prometheus.example.yml` says.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::telephony_support::program;

/// The node that the example names first, and how often it is scraped: what is put in their places.
const EXAMPLE_TARGETS: &str = r#"["10.0.0.21:8080", "10.0.0.22:8080"]"#;
const EXAMPLE_INTERVAL: &str = "scrape_interval: 15s";

/// A running Prometheus; ended (by its pid) when dropped.
pub struct Prometheus {
    child: Child,
    http: SocketAddr,
}

impl Prometheus {
    /// Scrapes `node`; its files are in `dir`.
    pub fn start(dir: &Path, node: SocketAddr) -> Self {
        let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus.example.yml")).unwrap();
        assert!(example.contains(EXAMPLE_TARGETS) && example.contains(EXAMPLE_INTERVAL), "{example}");
        let config = example.replace(EXAMPLE_TARGETS, &format!("[\"{node}\"]")).replace(EXAMPLE_INTERVAL, "scrape_interval: 1s");
        let path = dir.join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
        let child = program("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
            .arg(format!("--web.listen-address={http}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, http }
    }

    /// What a query finds: each series with its labels and its value. `Err` while there is no answer, or an error in it.
    pub fn query(&self, query: &str) -> Result<Vec<(serde_json::Value, f64)>, String> {
        let output = Command::new("curl")
            .args(["-s", "--noproxy", "*", "--max-time", "10", "--data-urlencode", &format!("query={query}")])
            .arg(format!("http://{}/api/v1/query", self.http))
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
        if answer["status"] != "success" {
            return Err(answer.to_string());
        }
        let value = |series: &serde_json::Value| series["value"][1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
        let series = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
        Ok(series.iter().map(|s| (s["metric"].clone(), value(s))).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

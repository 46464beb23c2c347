//! The Grafana dashboard that ships, as Grafana reads it.

use std::{collections::HashSet, path::Path};

use serde_json::Value;

/// What Grafana has built in of what a dashboard may be made of.
const PANELS: [&str; 6] = ["row", "stat", "timeseries", "table", "gauge", "bargauge"];

/// A dashboard.
pub struct Dashboard {
    json: Value,
}

impl Dashboard {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/voceguida.json")).unwrap();
        Self { json: serde_json::from_str(&text).unwrap() }
    }

    fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    /// Every query of its panels, under the panel's title, for all nodes and over ten seconds.
    pub fn queries(&self) -> Vec<(String, String)> {
        let of = |panel: &Value| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            targets.into_iter().map(move |t| (title.clone(), filled_in(t["expr"].as_str().unwrap())))
        };
        self.panels().iter().flat_map(of).collect()
    }

    /// What its variables are made of: a metric and the label of it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let of = |variable: &Value| {
            let query = variable["query"]["query"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (metric, label) = inner.rsplit_once(',').unwrap();
            (filled_in(metric.trim()), label.trim().to_owned())
        };
        self.json["templating"]["list"].as_array().unwrap().iter().map(of).collect()
    }

    /// What Grafana 10 asks of a dashboard's file.
    pub fn check(&self) {
        let json = &self.json;
        assert!(json["schemaVersion"].as_u64().unwrap() >= 36, "Grafana 10 migrates older ones, and not always well");
        assert!(json["id"].is_null() && json["uid"].as_str().unwrap().len() <= 40);
        let input = &json["__inputs"][0];
        assert_eq!((&input["type"], &input["pluginId"]), (&"datasource".into(), &"prometheus".into()));
        let source = format!("${{{}}}", input["name"].as_str().unwrap());
        let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
        for panel in self.panels() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: an id twice");
            assert!(PANELS.contains(&panel["type"].as_str().unwrap()), "{title}");
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(side("w") > 0 && side("x") + side("w") <= 24, "{title}: beyond the 24 columns");
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{title}: upon another panel");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], source.as_str(), "{title}");
            assert!(panel["fieldConfig"]["defaults"].is_object() && panel["options"].is_object(), "{title}");
            let targets = panel["targets"].as_array().unwrap();
            let names: HashSet<_> = targets.iter().map(|t| t["refId"].as_str().unwrap()).collect();
            assert!(!targets.is_empty() && names.len() == targets.len(), "{title}: refId twice");
            assert!(targets.iter().all(|t| t["datasource"]["uid"] == source.as_str()), "{title}");
        }
    }
}

fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", "10s").replace("$job", ".*").replace("$instance", ".*")
}

//! The JSON API of the real program: schemathesis asks it for everything that its description promises, and the examples of docs/api.md are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::process::Command;

use chrono::{Days, TimeDelta};
use serde_json::Value;
use support::service::{OpenSchool, Service};
use tempfile::TempDir;
use voceguida::{
    canteen::code::ChildCode,
    desk::{
        Desk,
        access::{self, Scope, TokenData},
        trail::Actor,
    },
    ops::clock::Clock,
    store::Db,
};

/// The real program on an embedded database, with a token of everything.
struct Program {
    service: Service,
    token: String,
    child: i64,
    day: String,
    dir: TempDir,
}

impl Program {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("api.db").display());
        let school = OpenSchool::open(&url, 3).await;
        let desk = Desk::new(Db::open(&url).await.unwrap(), Clock::real());
        let ente = desk.ente(None).await.unwrap();
        let actor = Actor::command_line(ente.id);
        let data = TokenData { name: "prova".into(), scopes: Scope::ALL.to_vec(), lasts: TimeDelta::days(1) };
        let (_, secret) = desk.make_token(&actor, &data).await.unwrap();
        let child = desk.child_by_code(ente.id, &ChildCode::parse(&school.codes[0]).unwrap()).await.unwrap();
        let day = ente.window.local(desk.clock().now()).date() + Days::new(2);
        let service = Service::start(dir.path(), "api", &school, "", "sources = [\"127.0.0.0/8\"]");
        Self { service, token: access::shown(&secret), child: child.0, day: day.to_string(), dir }
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.http)
    }

    /// Runs schemathesis with all its checks, bounded in examples and speed.
    fn schemathesis(&self, with_token: bool, examples: u32) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/schemathesis/bin/schemathesis");
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).args(["run", &format!("{}/api/v1/openapi.json", self.url())]);
        command.args(["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--seed", "1"]);
        command.args(["--max-examples", &examples.to_string(), "--no-shrink", "--continue-on-failure"]);
        // Below the pace of a token, so that it is not told to wait.
        let pace = if with_token { "18/s" } else { "40/s" };
        command.args(["--rate-limit", pace, "--workers", "1", "--request-timeout", "30"]);
        command.args(["--generation-database", "none", "--no-color", "--output-truncate", "false"]);
        if with_token {
            command.args(["--header", &format!("Authorization: Bearer {}", self.token)]);
        }
        let output = command.output().expect("schemathesis runs: tests/install.sh puts it there");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let routes = voceguida::web::api::rules().len();
        assert!(said.contains(&format!("Tested: {routes}")), "it has tried every route: {said}");
        assert!(!self.service.log().contains("api: "), "{}", self.service.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_keeps_what_its_description_promises() {
    let program = Program::start().await;
    program.schemathesis(true, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_keeps_it_too() {
    let program = Program::start().await;
    program.schemathesis(false, 4);
}

/// The examples of the page: commands, each with its answer.
fn examples(page: &str) -> Vec<(String, Value)> {
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            let (command, answer) = block.split_once('\n').unwrap();
            (command.strip_prefix("$ ").expect("a command").to_owned(), serde_json::from_str(answer).expect(answer))
        })
        .collect()
}

/// Both have the same fields of the same kinds.
fn assert_alike(told: &Value, real: &Value, place: &str) {
    match (told, real) {
        (Value::Object(told), Value::Object(real)) => {
            assert_eq!(told.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>(), "{place}");
            for (name, value) in told {
                assert_alike(value, &real[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(told), Value::Array(real)) => {
            assert_eq!(told.is_empty(), real.is_empty(), "{place}: {real:?}");
            if let (Some(told), Some(real)) = (told.first(), real.first()) {
                assert_alike(told, real, &format!("{place}[0]"));
            }
        }
        (Value::String(told), Value::String(real)) => {
            // Words are the page's own; days, numbers and names differ.
            if told.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                assert_eq!(told, real, "{place}");
            }
        }
        (told, real) => assert_eq!(std::mem::discriminant(told), std::mem::discriminant(real), "{place}: {real}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_page_work_as_it_says() {
    let program = Program::start().await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    let examples = examples(&page);
    assert_eq!(examples.len(), 6);
    for (command, told) in examples {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("URL", program.url()).env("TOKEN", &program.token);
        let output = shell.env("CHILD", program.child.to_string()).env("DAY", &program.day).output().unwrap();
        let real: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{command}: {e}: {output:?}"));
        assert_alike(&told, &real, &command);
    }
    // Every scope and every code of the rule that can come is on the page.
    for scope in Scope::ALL {
        assert!(page.contains(&format!("`{scope}`")), "{scope}");
    }
}

//! The bench of the whole way does not rot: a few parents on each database, each heard, none lost.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "../benches/whole_way/mod.rs"]
mod way;

use way::{Database, Settings};

#[test]
fn a_few_parents_cancel_on_each_database() {
    for database in [Database::Sqlite, Database::Postgres] {
        let settings = Settings { database, rates: vec![4.0], seconds: 3.0, known: false, warm_up: 1, program: None };
        let rungs = way::run(&settings, |_| {});
        assert_eq!((rungs[0].done, rungs[0].unheard), (12, 0), "{:?}", rungs[0]);
    }
}

//! The two databases' migrations stay alike: same files, tables, columns, kinds and obligations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use voceguida::store::Db;

/// Table and column to its kind and whether it must be filled.
type Columns = BTreeMap<(String, String), (String, bool)>;

/// One word for what both databases mean by a type.
fn kind(declared: &str) -> String {
    match declared.to_ascii_lowercase().as_str() {
        "integer" | "bigint" => "integer",
        "datetime" | "timestamp with time zone" => "instant",
        "time" | "time without time zone" => "time",
        "blob" | "bytea" => "bytes",
        other => return other.to_owned(),
    }
    .to_owned()
}

fn is_ours(table: &str) -> bool {
    !table.starts_with("_sqlx") && !table.starts_with("sqlite_")
}

async fn sqlite_columns(url: &str) -> Columns {
    let mut connection = SqliteConnection::connect(url).await.expect("connects");
    let sql = "SELECT t.name AS tab, c.name AS col, c.type AS kind, c.\"notnull\" <> 0 OR c.pk <> 0 AS must
        FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the tables");
    rows.iter()
        .map(|r| ((r.get("tab"), r.get("col")), (kind(r.get("kind")), r.get("must"))))
        .filter(|((t, _), _): &((String, String), _)| is_ours(t))
        .collect()
}

async fn postgres_columns(url: &str) -> Columns {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let sql = "SELECT table_name::text AS tab, column_name::text AS col, data_type::text AS kind, is_nullable = 'NO' AS must
        FROM information_schema.columns WHERE table_schema = 'public'";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the tables");
    rows.iter()
        .map(|r| ((r.get("tab"), r.get("col")), (kind(r.get("kind")), r.get("must"))))
        .filter(|((t, _), _): &((String, String), _)| is_ours(t))
        .collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sqlite = format!("sqlite:{}", dir.path().join("schema.db").display());
    let postgres = support::postgres::fresh_database();
    for url in [&sqlite, &postgres] {
        Db::open(url).await.expect("migrates").close().await;
        // Opening a database that is up to date changes nothing.
        Db::open(url).await.expect("opens again").close().await;
    }
    let columns = sqlite_columns(&sqlite).await;
    assert!(columns.len() > 80, "only {} columns found", columns.len());
    assert_eq!(columns, postgres_columns(&postgres).await);
}

#[test]
fn the_migrations_have_the_same_names() {
    let names =
        |folder: &str| -> BTreeSet<_> { std::fs::read_dir(folder).expect("the folder").map(|f| f.expect("a file").file_name()).collect() };
    assert_eq!(names("migrations/sqlite"), names("migrations/postgres"));
}

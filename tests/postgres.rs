//! The tests' own PostgreSQL: it is there, it is empty, and it goes when its test program goes.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};

#[path = "support/postgres.rs"]
mod postgres;

#[tokio::test]
async fn every_database_is_fresh_and_of_its_own() {
    let (one, other) = (postgres::fresh_database(), postgres::fresh_database());
    assert_ne!(one, other);
    let mut connection = PgConnection::connect(&one).await.expect("connected");
    sqlx::query("CREATE TABLE t (day date)").execute(&mut connection).await.expect("created");
    let mut connection = PgConnection::connect(&other).await.expect("connected");
    let (tables,): (i64,) = sqlx::query_as("SELECT count(*) FROM information_schema.tables WHERE table_name = 't'")
        .fetch_one(&mut connection)
        .await
        .expect("counted");
    assert_eq!(tables, 0);
}

#[test]
fn the_durable_cluster_syncs() {
    assert_eq!(postgres::durable_cluster().psql("SHOW fsync"), "on");
}

#[test]
fn a_cluster_goes_when_its_owner_is_killed() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres.sh");
    let mut owner = Command::new("bash")
        .arg(&script)
        .args(["run", "bash", "-c", "echo \"$VOCEGUIDA_TEST_POSTGRES\"; read -r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut url = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(owner.stdout.take().expect("piped")), &mut url).expect("a URL");
    let directory = url.trim().split_once("?host=").expect("a socket directory").1.to_owned();
    assert!(Path::new(&directory).exists());
    // The command that the cluster served lives on until its stdin ends: it must not keep the cluster.
    let command = owner.stdin.take();
    owner.kill().expect("killed");
    owner.wait().expect("waited");
    // Only the order matters, not how long it takes; the bound keeps a failure from hanging.
    for _ in 0..600 {
        if !Path::new(&directory).exists() {
            drop(command);
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{directory} is still there");
}

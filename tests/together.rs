//! Work done together on the embedded database: what fails takes nobody with it, and nobody hears of what does not stand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::{MONDAY_EVENING, School, at, day, each_database};
use voceguida::{
    canteen::{Choice, EnteId, rule::Request},
    desk::operate::Order,
    store::{Db, StoreError, Tx, Verdict},
};

/// Notes a caller, and fails afterwards where it is told to.
async fn note(db: &Db, ente: EnteId, caller: String, fail: bool) -> Result<(), StoreError> {
    db.together(move |tx| {
        Box::pin(async move {
            tx.put_known_caller(ente, &caller, at(MONDAY_EVENING)).await?;
            if fail { Err(StoreError::Unknown { what: "caller", value: caller }) } else { Ok(()) }
        })
    })
    .await
}

async fn is_noted(db: &Db, ente: EnteId, caller: &str) -> bool {
    db.read().await.unwrap().is_known_caller(ente, caller, at("2026-01-01T00:00:00Z")).await.unwrap()
}

async fn embedded() -> (tempfile::TempDir, School) {
    let dir = tempfile::tempdir().unwrap();
    let school = School::open(&format!("sqlite:{}", dir.path().join("test.db").display())).await;
    (dir, school)
}

/// Keeps the one writer until dropped.
async fn hold(db: &Db) -> Tx {
    db.write().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_no_trace_and_takes_nobody_with_it() {
    each_database(async |school| {
        let holding = hold(&school.db).await;
        let mut notes = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (db, ente) = (school.db.clone(), school.ente);
            notes.spawn(async move { (n, note(&db, ente, n.to_string(), n % 3 == 0).await) });
        }
        // They gather meanwhile.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(holding);
        while let Some(done) = notes.join_next().await {
            let (n, done) = done.unwrap();
            assert_eq!(done.is_err(), n % 3 == 0, "{n}: {done:?}");
            assert!(matches!(done, Ok(()) | Err(StoreError::Unknown { .. })), "its own error: {done:?}");
            assert_eq!(is_noted(&school.db, school.ente, &n.to_string()).await, n % 3 != 0, "{n}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_commit_fails_all_hear_it_and_nothing_stands() {
    let (_dir, school) = embedded().await;
    let holding = hold(&school.db).await;
    let (db, ente) = (&school.db, school.ente);
    // Found out only by the commit.
    let broken = db.together(|tx| {
        Box::pin(async move {
            let Tx::Sqlite(tx) = tx else { unreachable!() };
            sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut **tx).await?;
            sqlx::query("INSERT INTO known_caller (ente_id, caller, last_at) VALUES (999, 'x', '2026-01-01')").execute(&mut **tx).await?;
            Ok::<_, StoreError>(())
        })
    });
    let release = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(holding);
    };
    let first = note(db, ente, "first".into(), false);
    // The first comes to the writer alone, the others wait behind it and go together.
    let (first, one, broken, two, ()) =
        tokio::join!(first, note(db, ente, "one".into(), false), broken, note(db, ente, "two".into(), false), release);
    for done in [one, broken, two] {
        assert!(matches!(&done, Err(StoreError::Together(_))), "{done:?}");
    }
    assert_eq!(first.is_ok(), is_noted(db, ente, "first").await, "{first:?}");
    assert!(!is_noted(db, ente, "one").await && !is_noted(db, ente, "two").await);
    // And it goes on.
    note(db, ente, "three".into(), false).await.unwrap();
    assert!(is_noted(db, ente, "three").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let (_dir, school) = embedded().await;
    let holding = hold(&school.db).await;
    // One is already at the writer, the other still in the queue.
    for caller in ["at the writer", "in the queue"] {
        let gone = tokio::time::timeout(Duration::from_millis(50), note(&school.db, school.ente, caller.into(), false)).await;
        assert!(gone.is_err());
    }
    drop(holding);
    note(&school.db, school.ente, "last".into(), false).await.unwrap();
    for caller in ["at the writer", "in the queue"] {
        assert!(!is_noted(&school.db, school.ente, caller).await, "{caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_piece_of_work_does_not_stop_the_writer() {
    let (_dir, school) = embedded().await;
    let fallen = school.db.together(|_| Box::pin(async { panic!("on purpose") }));
    let fallen: Result<(), StoreError> = fallen.await;
    assert!(matches!(&fallen, Err(StoreError::Together(_))), "{fallen:?}");
    note(&school.db, school.ente, "after".into(), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_families_at_once_are_each_answered_as_if_alone() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let mut orders = tokio::task::JoinSet::new();
        for n in 0..120 {
            let (desk, school) = (desk.clone(), school.clone());
            orders.spawn(async move {
                let choice = if n % 2 == 0 { Choice::Cancel } else { Choice::Undo };
                let (child, key) = (school.children[n / 2 % 2], format!("k{}", n / 2));
                let request = Request::Phone(choice);
                let order =
                    Order { ente: school.ente, child, request, actor: "0101", call_id: None, key: &format!("{key}/{n}"), expected: None };
                let (once, twice) = tokio::join!(desk.operate(&order), desk.operate(&order));
                let once = once.unwrap();
                assert_eq!(once, twice.unwrap(), "the same key is done once");
                once
            });
        }
        let mut receipts = std::collections::HashSet::new();
        while let Some(receipt) = orders.join_next().await {
            let receipt = receipt.unwrap();
            let (Verdict::Accepted(on) | Verdict::Refused(_, Some(on))) = receipt.verdict else { panic!("{receipt:?}") };
            assert_eq!(on, day("2026-10-15"));
            assert!(receipts.insert(receipt.number), "each has its own receipt");
        }
        assert_eq!(receipts.len(), 120);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap(), (2, vec![]));
    })
    .await;
}

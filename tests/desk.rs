//! The desk on both databases: what a family asked for stands, once, and is recorded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::collections::HashSet;

use chrono::TimeDelta;
use support::{MONDAY_EVENING, School, at, day, each_database};
use voceguida::{
    canteen::{Choice, DayState, EnteId, Reason, code::has_valid_check_digit, rule::Request},
    desk::{
        Desk,
        calls::{CallRow, ListedCall, NewCall, Outcome},
        guard::Typed,
        import::ImportError,
        line::{Caller, LineDesk, LineOutcome},
        operate::{Order, Receipt},
    },
    store::Verdict,
    telephony::call::{CallRecord, IncomingCall, KeyWays, MediaQuality, Side},
    voice::{line::CallLog, log::DeskLog},
};

async fn phone(desk: &Desk, school: &School, child: usize, choice: Choice, key: &str) -> Receipt {
    desk.operate(&order(school, child, choice, key)).await.expect("the desk answers")
}

fn order<'a>(school: &School, child: usize, choice: Choice, key: &'a str) -> Order<'a> {
    Order {
        ente: school.ente,
        child: school.children[child],
        request: Request::Phone(choice),
        actor: "0101234567",
        call_id: Some("call"),
        key,
        expected: None,
    }
}

async fn state(desk: &Desk, school: &School, child: usize, on: &str) -> DayState {
    let view = desk.view_child(school.children[child], day(on), day(on)).await.expect("the child");
    view.days[0].state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_falls_on_the_first_useful_day_and_stands() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let done = phone(&desk, &school, 0, Choice::Cancel, "1").await;
        assert_eq!(done.verdict, Verdict::Accepted(day("2026-10-15")));
        assert!(has_valid_check_digit(&done.number) && done.number.len() == 6);
        assert_eq!(state(&desk, &school, 0, "2026-10-15").await, DayState::Cancelled);
        assert_eq!(state(&desk, &school, 1, "2026-10-15").await, DayState::Served);

        let again = phone(&desk, &school, 0, Choice::Cancel, "2").await;
        assert_eq!(again.verdict, Verdict::Refused(Reason::AlreadyCancelled, Some(day("2026-10-15"))));
        let undone = phone(&desk, &school, 0, Choice::Undo, "3").await;
        assert_eq!(undone.verdict, Verdict::Accepted(day("2026-10-15")));
        assert_eq!(state(&desk, &school, 0, "2026-10-15").await, DayState::Served);

        // Refusals are kept too, each with its own receipt (R10).
        let record = desk.view_child(school.children[0], day("2026-10-15"), day("2026-10-15")).await.unwrap().operations;
        assert_eq!(record.iter().map(|o| o.verdict).collect::<Vec<_>>(), [done.verdict, again.verdict, undone.verdict]);
        assert_eq!(record.iter().map(|o| &o.receipt).collect::<HashSet<_>>().len(), 3);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap(), (2, vec![]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspensions_and_white_meals_stand_and_replay() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        for (key, choice) in
            [("1", Choice::White), ("2", Choice::Suspend), ("3", Choice::Cancel), ("4", Choice::Resume), ("5", Choice::Cancel)]
        {
            let verdict = phone(&desk, &school, 0, choice, key).await.verdict;
            assert_eq!(verdict == Verdict::Refused(Reason::Suspended, Some(day("2026-10-15"))), key == "3", "{key}: {verdict:?}");
        }
        let from_to = Request::Web { choice: Choice::Suspend, day: day("2026-11-02"), until: Some(day("2026-11-06")) };
        let order = Order { request: from_to, ..order(&school, 0, Choice::Suspend, "6") };
        assert_eq!(desk.operate(&order).await.unwrap().verdict, Verdict::Accepted(day("2026-11-02")));
        assert_eq!(state(&desk, &school, 0, "2026-10-15").await, DayState::Cancelled);
        assert_eq!(state(&desk, &school, 0, "2026-11-06").await, DayState::Suspended);
        assert_eq!(state(&desk, &school, 0, "2026-11-09").await, DayState::Served);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap().1, vec![]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_at_the_same_moment_one_wins_and_the_other_hears_already() {
    each_database(async |school| {
        for round in 0..8 {
            let desk = school.desk_at(MONDAY_EVENING);
            let (a, b) = (format!("{round}a"), format!("{round}b"));
            let (one, two) = tokio::join!(phone(&desk, &school, 0, Choice::Cancel, &a), phone(&desk, &school, 0, Choice::Cancel, &b));
            let accepted = Verdict::Accepted(day("2026-10-15"));
            let already = Verdict::Refused(Reason::AlreadyCancelled, Some(day("2026-10-15")));
            assert!([(accepted, already), (already, accepted)].contains(&(one.verdict, two.verdict)), "{one:?} {two:?}");
            phone(&desk, &school, 0, Choice::Undo, &format!("{round}u")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_sent_twice_is_done_once() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let (one, two) = tokio::join!(phone(&desk, &school, 0, Choice::Cancel, "k"), phone(&desk, &school, 0, Choice::Cancel, "k"));
        assert_eq!(one, two);
        assert_eq!(one.verdict, Verdict::Accepted(day("2026-10-15")));
        // Also long afterwards, when the rule would answer otherwise.
        let late = school.desk_at("2026-10-15T12:00:00+02:00");
        assert_eq!(phone(&late, &school, 0, Choice::Cancel, "k").await, one);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cutoff_is_judged_at_the_commit_to_the_second() {
    each_database(async |school| {
        // 08:59:58.5: in; the desk's clock runs on meanwhile, but not by a second and a half.
        let before = school.desk_at("2026-10-15T08:59:58.500+02:00");
        assert_eq!(phone(&before, &school, 0, Choice::Cancel, "1").await.verdict, Verdict::Accepted(day("2026-10-15")));
        let after = school.desk_at("2026-10-15T09:00:01+02:00");
        assert_eq!(phone(&after, &school, 1, Choice::Cancel, "2").await.verdict, Verdict::Refused(Reason::OutsideWindow, None));
        // Confirmed for Thursday, committed after 18:00: it would fall on Friday, and is not done unasked.
        let evening = school.desk_at("2026-10-15T18:00:00+02:00");
        let confirmed = Order { expected: Some(day("2026-10-15")), ..order(&school, 1, Choice::Cancel, "3") };
        assert_eq!(evening.operate(&confirmed).await.unwrap().verdict, Verdict::DayChanged(day("2026-10-16")));
        assert_eq!(state(&evening, &school, 1, "2026-10-16").await, DayState::Served);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_closed_once_and_a_server_that_was_down_catches_up_with_the_same_result() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        phone(&desk, &school, 0, Choice::Cancel, "1").await;
        phone(&desk, &school, 1, Choice::White, "2").await;
        // A closure entered after Thursday's cut-off does not change what the kitchen had cooked by then (R9).
        let late = school.desk_at("2026-10-15T10:00:00+02:00");
        let mut closure = support::roster(&school.codes);
        closure.calendar.closures[0].first = day("2026-10-15");
        closure.calendar.closures[0].last = day("2026-10-15");
        late.import(school.ente, &closure).await.unwrap();

        let back = school.desk_at("2026-10-16T12:00:00+02:00");
        let closed = back.close_days(school.ente, None, |_, _| {}).await.unwrap();
        // From 1 September (after whose cut-off the school was entered) to 16 October; two children on 23 served days, less one cancelled.
        assert_eq!((closed.days, closed.meals), (45, 2 * 23 - 1));
        let mut tx = school.db.read().await.unwrap();
        let counts = tx.head_counts(school.ente, day("2026-10-12"), day("2026-10-16")).await.unwrap();
        let seen: Vec<_> = counts.iter().map(|c| (c.day.to_string(), c.white, c.meals)).collect();
        let expected = [("2026-10-12", false, 2), ("2026-10-15", true, 1), ("2026-10-16", false, 2)];
        assert_eq!(seen, expected.map(|(d, w, m)| (d.to_owned(), w, m)));
        drop(tx);
        let again = back.close_days(school.ente, None, |_, _| {}).await.unwrap();
        assert_eq!((again.days, again.meals), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_close_the_same_days_without_doubling() {
    each_database(async |school| {
        let desk = school.desk_at("2026-10-16T12:00:00+02:00");
        let close = || desk.close_days(school.ente, None, |_, _| {});
        let (one, two) = tokio::join!(close(), close());
        assert_eq!(one.unwrap().days + two.unwrap().days, 45);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_from_a_thousand_numbers_is_shut_out_and_families_are_not() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let family = "0101234567";
        let known = desk.type_code(school.ente, family, "c", school.codes[0].as_str()).await.unwrap();
        assert_eq!(known, Typed::Child(school.children[0]));
        let mut wrong = 0;
        let mut guesses = tokio::task::JoinSet::new();
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(99);
        for n in 0..1_000 {
            let code = voceguida::canteen::code::ChildCode::random(&mut rng);
            if school.codes.contains(&code) {
                continue;
            }
            let (desk, ente) = (desk.clone(), school.ente);
            guesses.spawn(async move { desk.type_code(ente, &format!("02{n:07}"), "c", code.as_str()).await });
            // Sixteen at once: as many as the busiest line has hands for wrong codes.
            if guesses.len() >= 16 {
                wrong += u32::from(matches!(guesses.join_next().await.unwrap().unwrap().unwrap(), Typed::Wrong { .. }));
            }
        }
        while let Some(typed) = guesses.join_next().await {
            wrong += u32::from(matches!(typed.unwrap().unwrap(), Typed::Wrong { .. }));
        }
        assert_eq!(wrong, 30, "of a thousand guesses only the limit is looked at");
        let right = school.codes[1].as_str();
        assert_eq!(desk.type_code(school.ente, "029999999", "c", right).await.unwrap(), Typed::ShutOut);
        assert_eq!(desk.type_code(school.ente, family, "c", right).await.unwrap(), Typed::Child(school.children[1]));
        // After the hour the line is open to everybody again.
        let later = school.desk_at("2026-10-12T19:31:00+02:00");
        assert_eq!(later.type_code(school.ente, "029999999", "c", right).await.unwrap(), Typed::Child(school.children[1]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_twice_changes_nothing_and_a_bad_one_leaves_nothing() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let again = desk.import(school.ente, &support::roster(&school.codes)).await.unwrap();
        assert_eq!((again.new_children, again.known_children, again.new_closures), (0, 2, 0));

        let mut bad = support::roster(&school.codes);
        bad.classes[0].name = "9Z".into();
        bad.children[0].class = "inesistente".into();
        bad.children[1].code = Some("1234567".into());
        let Err(ImportError::Rows(rows)) = desk.import(school.ente, &bad).await else { panic!("a bad import was taken") };
        insta::allow_duplicates! { insta::assert_snapshot!(rows.join("\n")) };
        let year = school.db.read().await.unwrap().latest_school_year(school.ente).await.unwrap().unwrap();
        let classes = school.db.read().await.unwrap().classes(year.id).await.unwrap();
        assert_eq!(classes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["1A"], "nothing of it is kept");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_line_refuses_before_anything_is_confirmed_is_kept_and_changes_nothing() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let caller = Caller { call_id: "call".into(), ente: school.ente, number: Some("0101234567".into()) };
        let child = school.children[0];
        let kept = async || school.db.read().await.unwrap().operations_of(child).await.unwrap();
        let offered = LineDesk::preview(&desk, &caller, child, Choice::Cancel).await.unwrap();
        assert!(matches!(offered, LineOutcome::Accepted { .. }), "{offered:?}");
        assert!(kept().await.is_empty(), "an offer is no operation");
        phone(&desk, &school, 0, Choice::Cancel, "1").await;
        let before = state(&desk, &school, 0, "2026-10-15").await;
        for times in 2..4 {
            let refused = LineDesk::preview(&desk, &caller, child, Choice::Cancel).await.unwrap();
            assert!(matches!(refused, LineOutcome::Refused { reason: Reason::AlreadyCancelled, .. }), "{refused:?}");
            let operations = kept().await;
            assert_eq!(operations.len(), times);
            let last = operations.iter().max_by_key(|o| o.id).unwrap();
            assert!(matches!(last.verdict, Verdict::Refused(Reason::AlreadyCancelled, _)), "{last:?}");
            assert!(has_valid_check_digit(&last.receipt));
        }
        assert_eq!(state(&desk, &school, 0, "2026-10-15").await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_cannot_be_rewritten() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        phone(&desk, &school, 0, Choice::Cancel, "1").await;
        school.desk_at("2026-10-16T12:00:00+02:00").close_days(school.ente, None, |_, _| {}).await.unwrap();
        let row = call_row(&school, 1);
        school.desk_at(MONDAY_EVENING).record_calls(&[NewCall { outcome: Outcome::of_unanswered(&row), row, flow: None }]).await.unwrap();
        for statement in [
            "UPDATE call SET caller = '1'",
            "UPDATE operation SET decision = 'refused'",
            "DELETE FROM operation",
            "UPDATE meal SET state = 'served'",
            "DELETE FROM head_count",
        ] {
            let refused = support::execute(&school.url, statement).await.unwrap_err();
            assert!(refused.contains("append-only"), "{statement}: {refused}");
        }
    })
    .await;
}

/// The record of the `n`-th call of a morning, one a second.
fn record(n: i64) -> CallRecord {
    let began = at("2026-10-12T06:55:00Z") + TimeDelta::seconds(n);
    let later = |ms| began + TimeDelta::milliseconds(ms);
    CallRecord {
        call: IncomingCall {
            call_id: format!("call-{n}"),
            sip_call_id: format!("{n}\0@192.0.2.9"),
            trunk: "operatore".into(),
            caller: Some(format!("+39347{n:07}")),
            called: "800123456".into(),
            diverted_from: Some("0182970000".into()),
            user_agent: Some("SBC 1".into()),
            peer: "192.0.2.9:5060".parse().unwrap(),
            at: began,
        },
        ringing_at: Some(later(5)),
        answered_at: Some(later(20)),
        ended_at: later(61_000),
        status: 200,
        cause: "caller_hung_up".into(),
        q850: 16,
        reason: Some("Q.850;cause=16".into()),
        released_by: Side::Caller,
        codec: Some("PCMA"),
        srtp: true,
        packets_sent: 3_050,
        packets_received: 3_000,
        digits: 9,
        key_ways: KeyWays { events: true, info: true, tones: false },
        quality: MediaQuality { lost: Some(12), loss: Some(40), jitter_us: Some(1_900), mos: None },
    }
}

fn call_row(school: &School, n: i64) -> CallRow {
    let record = record(n);
    CallRow {
        id: record.call.call_id,
        ente_id: Some(school.ente.0),
        sip_call_id: format!("{n} @192.0.2.9"),
        trunk: record.call.trunk,
        caller: record.call.caller,
        called: record.call.called,
        diverted_from: record.call.diverted_from,
        peer: "192.0.2.9:5060".into(),
        user_agent: record.call.user_agent,
        started_at: record.call.at,
        ringing_at: record.ringing_at,
        answered_at: record.answered_at,
        ended_at: record.ended_at,
        status: 200,
        cause: record.cause,
        q850: Some(16),
        reason: record.reason,
        released_by: Some("caller".into()),
        codec: Some("PCMA".into()),
        srtp: true,
        packets_sent: 3_050,
        packets_received: 3_000,
        packets_lost: Some(12),
        loss: Some(40),
        jitter_us: Some(1_900),
        mos: None,
        digits: 9,
        dtmf: Some("rfc4733+info".into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_burst_is_in_the_records_after_an_orderly_stop() {
    const CALLS: i64 = 2_500;
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let log = DeskLog::new(desk.clone());
        let one = async |first: i64| {
            for n in (first..CALLS).step_by(3) {
                log.record(Some(school.ente), record(n), None).await;
            }
        };
        tokio::join!(one(0), one(1), one(2));
        // A call to a number of nobody's is recorded too, and the same call twice is kept once.
        log.record(None, record(CALLS), None).await;
        log.record(Some(school.ente), record(0), None).await;
        log.finish().await;
        let newest = desk.calls(school.ente, 3).await.unwrap();
        assert_eq!(newest[0], call_row(&school, CALLS - 1));

        let mut seen = Vec::new();
        let take = |page: &[ListedCall]| {
            seen.extend(page.iter().map(|c| c.row.id.clone()));
            true
        };
        desk.calls_between(school.ente, day("2026-10-12"), day("2026-10-12"), take).await.unwrap();
        assert_eq!(seen, (0..CALLS).map(|n| format!("call-{n}")).collect::<Vec<_>>());
        let none = |_: &[ListedCall]| panic!("no calls on that day");
        desk.calls_between(school.ente, day("2026-10-13"), day("2026-10-20"), none).await.unwrap();
        assert_eq!(log.unwritten().load(std::sync::atomic::Ordering::Relaxed), 0);
        // After the stop the log line is the record.
        log.record(Some(school.ente), record(CALLS + 1), None).await;
        assert_eq!(log.unwritten().load(std::sync::atomic::Ordering::Relaxed), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_database_takes_does_not_hold_up_the_others() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let log = DeskLog::new(desk.clone());
        log.record(Some(school.ente), record(1), None).await;
        // There is no such ente.
        log.record(Some(EnteId(99_999)), record(2), None).await;
        log.record(Some(school.ente), record(3), None).await;
        log.finish().await;
        let ids: Vec<_> = desk.calls(school.ente, 10).await.unwrap().into_iter().map(|c| c.id).collect();
        assert_eq!(ids, ["call-3", "call-1"]);
        assert_eq!(log.unwritten().load(std::sync::atomic::Ordering::Relaxed), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_a_database_that_is_away() {
    let url = support::postgres::fresh_database();
    let name = url.split('?').next().and_then(|u| u.rsplit('/').next()).unwrap().to_owned();
    let school = School::open(&url).await;
    let desk = school.desk_at(MONDAY_EVENING);
    let log = DeskLog::new(desk.clone());
    let cluster = support::postgres::cluster();
    cluster.psql(&format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false"));
    cluster.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    for n in 0..50 {
        log.record(Some(school.ente), record(n), None).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    cluster.psql(&format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true"));
    log.finish().await;
    assert_eq!(desk.calls(school.ente, 100).await.unwrap().len(), 50);
    school.db.close().await;
}

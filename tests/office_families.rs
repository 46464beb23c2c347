//! Children and families at the office's desk, on both databases: found, edited by two at once, imported and undone, taken into a new year.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::io::Read as _;

use proptest::prelude::*;
use support::{MONDAY_EVENING, School, day, each_database};
use voceguida::{
    canteen::{
        ChildId, Choice, DayState, Reason,
        code::ChildCode,
        promotion::Step,
        roster::{ChildRow, ClassRow, GuardianRow, Guardianship, Roster, SchoolRow},
    },
    desk::{
        Desk,
        behalf::OfficeOrder,
        family::{ChildEdit, EditError, Edited},
        import::{Change, ImportError, ImportOptions, Kind, Plan},
        letters::Addressees,
        rollover::{NewYear, RolloverError},
        trail::Actor,
        undo::UndoError,
    },
    store::{AdultState, ChildFilter, ChildState, Order, Page, Verdict},
};

const PAGE: Page = Page { offset: 0, limit: 50, descending: false };

fn clerk(school: &School) -> Actor {
    Actor { ente: school.ente, person: None, name: "anna".into(), address: "198.51.100.7".into() }
}

fn adult(last_name: &str, first_name: &str, email: Option<&str>) -> GuardianRow {
    GuardianRow {
        first_name: first_name.into(),
        last_name: last_name.into(),
        fiscal_code: None,
        email: email.map(str::to_owned),
        phone: Some("3331234567".into()),
    }
}

fn child(number: &str, last_name: &str, first_name: &str, class: &str, guardians: &[usize]) -> ChildRow {
    ChildRow {
        origin: None,
        external_id: Some(number.into()),
        last_name: last_name.into(),
        first_name: first_name.into(),
        fiscal_code: None,
        school: "PRIM".into(),
        class: class.into(),
        diet: String::new(),
        code: None,
        enrolled_from: None,
        enrolled_to: None,
        guardians: guardians.iter().enumerate().map(|(n, g)| Guardianship { guardian: *g, payer: n == 0 }).collect(),
    }
}

/// Three more children in two more classes, two of them siblings.
fn more() -> Roster {
    let class = |name: &str| ClassRow {
        school: "PRIM".into(),
        name: name.into(),
        weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
    };
    Roster {
        schools: vec![SchoolRow { code: "PRIM".into(), name: "Scuola primaria".into() }],
        classes: vec![class("2A"), class("5B")],
        guardians: vec![adult("D'Angelo", "Niccolò", Some("n.dangelo@esempio.it")), adult("Verdi", "Anna", None)],
        children: vec![
            child("M10", "D'Angelo", "Zoë", "2A", &[0, 1]),
            child("M11", "D'Angelo", "Pietro", "5B", &[0]),
            child("M12", "Esposito", "Sofia", "5B", &[]),
        ],
        ..Roster::default()
    }
}

async fn planned(desk: &Desk, school: &School, roster: &Roster) -> Plan {
    desk.plan_import(school.ente, roster, ImportOptions::default()).await.unwrap_or_else(|e| panic!("{e}"))
}

async fn names(desk: &Desk, school: &School, text: &str) -> Vec<String> {
    let filter = ChildFilter { text: text.into(), ..ChildFilter::default() };
    let (rows, total) = desk.list_children(school.ente, &filter, Order::Name, PAGE).await.unwrap();
    assert_eq!(rows.len() as i64, total);
    rows.into_iter().map(|c| format!("{} {}", c.last_name, c.first_name)).collect()
}

/// Everything that an undoing has to bring back.
async fn states(school: &School) -> (Vec<(i64, String)>, Vec<(i64, AdultState)>, usize, usize) {
    let mut tx = school.db.read().await.unwrap();
    let children = tx.child_states(school.ente).await.unwrap();
    let adults = tx.adult_states(school.ente).await.unwrap();
    let years = tx.school_years(school.ente).await.unwrap();
    let mut classes = 0;
    for year in &years {
        classes += tx.classes(year.id).await.unwrap().len();
    }
    let json = |c: &ChildState| serde_json::to_string(c).unwrap();
    (children.iter().map(|(id, c)| (*id, json(c))).collect(), adults.into_iter().collect(), years.len(), classes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_found_by_the_beginning_of_any_of_its_words() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        desk.import(school.ente, &more()).await.unwrap();
        assert_eq!(names(&desk, &school, "zoe").await, ["D'Angelo Zoë"]);
        assert_eq!(names(&desk, &school, "DANG pie").await, ["D'Angelo Pietro"]);
        assert_eq!(names(&desk, &school, "angelo").await, ["D'Angelo Pietro", "D'Angelo Zoë"]);
        // By class, school and adults.
        assert_eq!(names(&desk, &school, "5b").await, ["D'Angelo Pietro", "Esposito Sofia"]);
        assert_eq!(names(&desk, &school, "verdi").await, ["D'Angelo Zoë"]);
        assert_eq!(names(&desk, &school, "nicco 2a").await, ["D'Angelo Zoë"]);
        assert_eq!(names(&desk, &school, "prim").await.len(), 5);
        assert_eq!(names(&desk, &school, "ngelo").await, Vec::<String>::new(), "not by the middle of a word");
        assert_eq!(names(&desk, &school, "' OR 1=1 --").await, Vec::<String>::new());
        assert_eq!(names(&desk, &school, "%").await.len(), 5, "signs say nothing");

        // A number exactly, and only exactly.
        let code = school.codes[0].as_str();
        assert_eq!(desk.child_by_number(school.ente, code).await.unwrap(), Some(school.children[0]));
        assert_eq!(desk.child_by_number(school.ente, &code[..6]).await.unwrap(), None);
        let (adults, total) = desk.list_adults(school.ente, "dangelo", PAGE).await.unwrap();
        assert_eq!((adults.len(), total, adults[0].children), (1, 1, 2));

        // Renamed, it is found by the new name only.
        let id = adults[0].id;
        let (found, _) = desk.adult_file(school.ente, id).await.unwrap().unwrap();
        let renamed = AdultState { last_name: "Bianchi".into(), ..found.state.clone() };
        desk.edit_adult(&clerk(&school), id, found.version, &found.state, &renamed).await.unwrap();
        assert_eq!(names(&desk, &school, "bianchi").await, ["D'Angelo Pietro", "D'Angelo Zoë"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_and_paged_by_the_database() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        desk.import(school.ente, &more()).await.unwrap();
        let list = async |order, page| {
            let (rows, total) = desk.list_children(school.ente, &ChildFilter::default(), order, page).await.unwrap();
            assert_eq!(total, 5);
            rows.into_iter().map(|c| format!("{} {}", c.class, c.first_name)).collect::<Vec<_>>()
        };
        let by_class = list(Order::Class, PAGE).await;
        assert_eq!(by_class, ["1A Ada", "1A Ada", "2A Zoë", "5B Pietro", "5B Sofia"]);
        let backwards = list(Order::Class, Page { descending: true, ..PAGE }).await;
        assert_eq!(backwards, by_class.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(list(Order::Name, Page { offset: 1, limit: 2, descending: false }).await, ["2A Zoë", "5B Sofia"]);
        assert_eq!(list(Order::Diet, PAGE).await.len(), 5);
        let choices = desk.choices(school.ente).await.unwrap();
        assert_eq!(choices.diets, ["normale"]);
        assert_eq!(choices.classes.iter().map(|c| (c.name.as_str(), c.children)).collect::<Vec<_>>(), [("1A", 2), ("2A", 1), ("5B", 2)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_does_what_its_preview_said_and_is_undone_whole() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = clerk(&school);
        desk.import(school.ente, &more()).await.unwrap();
        let before = states(&school).await;

        let mut next = more();
        next.guardians[0].email = Some("nuovo@esempio.it".into());
        next.children[0].class = "5B".into();
        next.children[2].diet = "senza glutine".into();
        next.children[1].last_name = "D'ANGELO".into();
        next.children.push(child("M13", "Neri", "Luca", "2A", &[1]));
        let plan = planned(&desk, &school, &next).await;
        let told: Vec<_> = plan
            .rows
            .iter()
            .map(|row| {
                let fields: Vec<_> = row.fields.iter().map(|f| format!("{}: «{}» → «{}»", f.name, f.before, f.after)).collect();
                format!("{:?} {:?} {} {}", row.kind, row.change, row.title, fields.join(", "))
            })
            .collect();
        insta::allow_duplicates! { insta::assert_snapshot!("import_preview", told.join("\n")) };
        assert_eq!(plan.unchanged, 1, "capitals alone change no name");
        assert_eq!(plan.absent, ["Prova0 Ada, 1A", "Prova1 Ada, 1A"]);
        assert_eq!(states(&school).await, before, "a preview writes nothing");

        // Something else by now: refused.
        let stale = desk.apply_import(&actor, "elenco.csv", &next, ImportOptions::default(), Some("another")).await;
        assert!(matches!(stale, Err(ImportError::Stale)));
        let shown = plan.fingerprint();
        let done = desk.apply_import(&actor, "elenco.csv", &next, ImportOptions::default(), Some(&shown)).await.unwrap();
        assert_eq!((done.counts.new_children, done.counts.changed_children, done.counts.known_children), (1, 2, 3));
        assert!(planned(&desk, &school, &next).await.is_empty(), "done, it would change nothing more");
        let again = desk.apply_import(&actor, "elenco.csv", &next, ImportOptions::default(), None).await.unwrap();
        assert_eq!(again.batch, None);

        let batch = done.batch.unwrap();
        assert_eq!(desk.batches(school.ente, 5).await.unwrap()[0].title, "elenco.csv");
        desk.undo_batch(&actor, batch).await.unwrap();
        assert_eq!(states(&school).await, before);
        assert!(matches!(desk.undo_batch(&actor, batch).await, Err(UndoError::Undone)));
        assert_eq!(names(&desk, &school, "neri").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_built_upon_is_not_undone_and_says_why() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = clerk(&school);
        let batch = desk.apply_import(&actor, "elenco.csv", &more(), ImportOptions::default(), None).await.unwrap().batch.unwrap();
        let (rows, _) = desk
            .list_children(school.ente, &ChildFilter { text: "esposito".into(), ..ChildFilter::default() }, Order::Name, PAGE)
            .await
            .unwrap();
        let sofia = ChildId(rows[0].id);
        let order = OfficeOrder { child: sofia, choice: Choice::Cancel, day: day("2026-10-15"), until: None, note: None };
        desk.operate_for(&actor, &order, "k1").await.unwrap();
        let (adults, _) = desk.list_adults(school.ente, "verdi", PAGE).await.unwrap();
        let (found, _) = desk.adult_file(school.ente, adults[0].id).await.unwrap().unwrap();
        let moved = AdultState { address: Some("Via Roma 1".into()), ..found.state.clone() };
        desk.edit_adult(&actor, adults[0].id, found.version, &found.state, &moved).await.unwrap();

        let before = states(&school).await;
        let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("it was undone") };
        insta::allow_duplicates! { insta::assert_snapshot!("undo_touched", why.join("\n")) };
        assert_eq!(states(&school).await, before, "nothing has changed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_file_leaves_only_where_that_is_wanted() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let options = ImportOptions { absent_leave_on: Some(day("2026-10-31")) };
        let plan = desk.plan_import(school.ente, &more(), options).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(plan.rows.iter().filter(|r| r.kind == Kind::Child && r.change == Change::Left).count(), 2);
        desk.apply_import(&clerk(&school), "elenco.csv", &more(), options, None).await.unwrap();
        let view = desk.view_child(school.children[0], day("2026-10-30"), day("2026-11-02")).await.unwrap();
        let stand: Vec<_> = view.days.iter().map(|d| d.state).collect();
        assert_eq!(stand, [DayState::Served, DayState::NoService, DayState::NoService, DayState::NoService]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clerks_at_one_child_lose_nothing() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = clerk(&school);
        let child = school.children[0];
        let file = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-16")).await.unwrap();
        let (base, version) = (ChildEdit::of(&file.found.state), file.found.version);
        let first = ChildEdit { diet: "vegetariana".into(), first_name: "Adele".into(), ..base.clone() };
        assert_eq!(desk.edit_child(&actor, child, version, &base, &first).await.unwrap(), Edited::Saved);
        let second = ChildEdit { last_name: "Provati".into(), first_name: "Ada Maria".into(), ..base.clone() };
        let Edited::Meanwhile { merged, version, theirs, both } = desk.edit_child(&actor, child, version, &base, &second).await.unwrap()
        else {
            panic!("the second was not told")
        };
        assert_eq!(theirs.iter().map(|f| (f.name, f.after.as_str())).collect::<Vec<_>>(), [("nome", "Adele"), ("dieta", "vegetariana")]);
        assert_eq!(both, ["nome"]);
        assert_eq!(merged, ChildEdit { diet: "vegetariana".into(), ..second });
        assert_eq!(desk.edit_child(&actor, child, version, &first, &merged).await.unwrap(), Edited::Saved);

        // Another office's child is not there.
        let stranger = Actor { ente: voceguida::canteen::EnteId(school.ente.0 + 1), ..actor.clone() };
        assert!(matches!(desk.edit_child(&stranger, child, version, &base, &first).await, Err(EditError::Gone)));
        let taken = ChildEdit { external_ref: Some("M1".into()), ..merged.clone() };
        let now = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap().found.version;
        assert!(matches!(desk.edit_child(&actor, child, now, &merged, &taken).await, Err(EditError::RefTaken)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adults_come_and_go_and_one_always_pays() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let (actor, child) = (clerk(&school), school.children[0]);
        let version = async || desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap().found.version;
        let person = |name: &str| AdultState {
            last_name: name.into(),
            first_name: "Anna".into(),
            fiscal_code: None,
            email: None,
            phone: None,
            address: None,
        };
        let one = desk.add_adult_to(&actor, child, version().await, &person("Uno"), false).await.unwrap();
        let two = desk.add_adult_to(&actor, child, version().await, &person("Due"), false).await.unwrap();
        let nonna = desk.add_adult_to(&actor, child, version().await, &person("Nonna"), true).await.unwrap();
        assert!(matches!(desk.set_payer(&actor, child, version().await - 1, two).await, Err(EditError::Stale)));
        desk.set_payer(&actor, child, version().await, two).await.unwrap();
        assert!(matches!(desk.set_payer(&actor, child, version().await, nonna).await, Err(EditError::Unfit)));
        let file = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap();
        assert_eq!(file.guardians.iter().map(|g| (g.id, g.payer)).collect::<Vec<_>>(), [(one, false), (two, true)]);
        assert_eq!(file.delegates.iter().map(|d| d.id).collect::<Vec<_>>(), [nonna]);
        desk.remove_adult_from(&actor, child, version().await, two).await.unwrap();
        let file = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap();
        assert_eq!(file.guardians.iter().map(|g| (g.id, g.payer)).collect::<Vec<_>>(), [(one, true)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_cut_off_the_office_needs_a_reason_and_the_record_stays() {
    each_database(async |school| {
        let actor = clerk(&school);
        let child = school.children[0];
        // Thursday noon: the day is over for families.
        let desk = school.desk_at("2026-10-15T12:00:00+02:00");
        let without = OfficeOrder { child, choice: Choice::Cancel, day: day("2026-10-15"), until: None, note: None };
        let outlook = desk.preview_for(&actor, &without).await.unwrap();
        assert!(outlook.late && outlook.verdict == Verdict::Accepted(day("2026-10-15")));
        let (refused, _) = desk.operate_for(&actor, &without, "k1").await.unwrap();
        assert_eq!(refused.verdict, Verdict::Refused(Reason::TooLate, Some(day("2026-10-15"))));

        let with = OfficeOrder { note: Some("La scuola ha chiamato alle 8:50"), ..without };
        let (done, outlook) = desk.operate_for(&actor, &with, "k2").await.unwrap();
        assert_eq!(done.verdict, Verdict::Accepted(day("2026-10-15")));
        assert_eq!(
            outlook.days.iter().map(|d| (d.was, d.becomes, d.closed)).collect::<Vec<_>>(),
            [(DayState::Served, DayState::Cancelled, true)]
        );
        let (again, _) = desk.operate_for(&actor, &with, "k2").await.unwrap();
        assert_eq!(again, done, "sent twice, done once");

        let file = desk.child_file(school.ente, child, day("2026-10-15"), day("2026-10-16")).await.unwrap();
        assert_eq!(
            file.days.iter().map(|d| (d.state, d.closed, d.corrected)).collect::<Vec<_>>(),
            [(DayState::Cancelled, true, true), (DayState::Served, false, false)]
        );
        assert_eq!(file.corrections[0].reason, "La scuola ha chiamato alle 8:50");
        // What the kitchen cooked stays; what changed afterwards stands beside it.
        assert_eq!(desk.head_counts(school.ente, day("2026-10-15"), day("2026-10-15")).await.unwrap()[0].meals, 2);
        let changed = school.db.read().await.unwrap().corrected_counts(school.ente, day("2026-10-15")).await.unwrap();
        assert_eq!(changed.iter().map(|c| c.3).collect::<Vec<_>>(), [-1]);

        let undo = OfficeOrder { choice: Choice::Undo, note: Some("Era un altro bambino"), ..with };
        desk.operate_for(&actor, &undo, "k3").await.unwrap();
        let file = desk.child_file(school.ente, child, day("2026-10-15"), day("2026-10-15")).await.unwrap();
        assert_eq!((file.days[0].state, file.corrections.len()), (DayState::Served, 2));
        assert_eq!(desk.audit(|_, _| {}).await.unwrap().1, [], "what stands follows from what was recorded");

        // A suspension that covers closed and coming days.
        let week =
            OfficeOrder { choice: Choice::Suspend, day: day("2026-10-15"), until: Some(day("2026-10-19")), note: Some("Ricovero"), ..with };
        let (_, outlook) = desk.operate_for(&actor, &week, "k4").await.unwrap();
        assert_eq!(outlook.days.iter().map(|d| d.closed).collect::<Vec<_>>(), [true, false, false]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_it_was_refused_is_told_as_it_was_then() {
    each_database(async |school| {
        let actor = clerk(&school);
        let desk = school.desk_at("2026-10-15T12:00:00+02:00");
        let order = OfficeOrder { child: school.children[0], choice: Choice::White, day: day("2026-10-15"), until: None, note: None };
        desk.operate_for(&actor, &order, "k1").await.unwrap();
        let tomorrow = OfficeOrder { day: day("2026-10-16"), ..order };
        desk.operate_for(&actor, &tomorrow, "k2").await.unwrap();
        desk.operate_for(&actor, &tomorrow, "k3").await.unwrap();
        let file = desk.child_file(school.ente, school.children[0], day("2026-10-15"), day("2026-10-15")).await.unwrap();
        let mut told = Vec::new();
        for operation in &file.operations {
            let (_, words) = desk.explain_operation(school.ente, school.children[0], operation.id).await.unwrap().unwrap();
            told.push(format!("{}\n{}", words.steps.join("\n"), words.conclusion));
        }
        insta::allow_duplicates! { insta::assert_snapshot!("explained", told.join("\n\n")) };
        assert!(desk.explain_operation(school.ente, school.children[1], file.operations[0].id).await.unwrap().is_none());
    })
    .await;
}

fn next_year(steps: &[(i64, Step)]) -> NewYear {
    NewYear {
        name: "2027/2028".into(),
        first: day("2027-09-13"),
        last: day("2028-06-08"),
        fresh_codes: true,
        steps: steps.iter().cloned().collect(),
    }
}

/// A desk in the summer, every day of the year closed.
async fn summer(school: &School) -> Desk {
    let desk = school.desk_at("2027-07-15T12:00:00+02:00");
    desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_year_takes_the_classes_up_and_is_undone_whole() {
    each_database(async |school| {
        let actor = clerk(&school);
        school.desk_at(MONDAY_EVENING).import(school.ente, &more()).await.unwrap();
        let early = school.desk_at(MONDAY_EVENING).plan_rollover(school.ente, &next_year(&[])).await.unwrap();
        assert_eq!(early.hindrances.len(), 1, "{:?}", early.hindrances);
        let shown = early.fingerprint();
        assert!(matches!(
            school.desk_at(MONDAY_EVENING).apply_rollover(&actor, &next_year(&[]), &shown).await,
            Err(RolloverError::Hindered(_))
        ));

        let desk = summer(&school).await;
        let before = states(&school).await;
        let proposed = desk.propose_year(school.ente).await.unwrap().unwrap();
        assert_eq!((proposed.name.as_str(), proposed.first), ("2027/2028", day("2027-09-13")));
        let plan = desk.plan_rollover(school.ente, &next_year(&[])).await.unwrap();
        assert_eq!(plan.hindrances, Vec::<String>::new());
        assert_eq!((plan.going_on, plan.leaving), (3, 2));
        let batch = desk.apply_rollover(&actor, &next_year(&[]), &plan.fingerprint()).await.unwrap();

        let filter = ChildFilter { year: desk.choices(school.ente).await.unwrap().years.first().map(|y| y.id), ..ChildFilter::default() };
        let (rows, _) = desk.list_children(school.ente, &filter, Order::Class, PAGE).await.unwrap();
        assert_eq!(
            rows.iter().map(|c| format!("{} {}", c.class, c.last_name)).collect::<Vec<_>>(),
            ["2A Prova0", "2A Prova1", "3A D'Angelo"]
        );
        assert_eq!(names(&desk, &school, "3a").await, ["D'Angelo Zoë"], "found in the new class");
        // The old code is nobody's.
        assert!(desk.child_by_code(school.ente, &school.codes[0]).await.is_err());
        let view = desk.view_child(school.children[0], day("2027-09-13"), day("2027-09-13")).await.unwrap();
        assert_eq!(view.days[0].state, DayState::Served);

        desk.undo_batch(&actor, batch).await.unwrap();
        assert_eq!(states(&school).await, before);
        assert_eq!(desk.child_by_code(school.ente, &school.codes[0]).await.unwrap(), school.children[0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_year_with_newcomers_in_it_is_not_undone() {
    each_database(async |school| {
        let actor = clerk(&school);
        let desk = summer(&school).await;
        let plan = desk.plan_rollover(school.ente, &next_year(&[])).await.unwrap();
        let batch = desk.apply_rollover(&actor, &next_year(&[]), &plan.fingerprint()).await.unwrap();
        let class = desk.choices(school.ente).await.unwrap().classes[0].id;
        let edit = ChildEdit { last_name: "Nuovo".into(), first_name: "Ugo".into(), class, diet: "normale".into(), ..ChildEdit::default() };
        desk.enter_child(&actor, &edit).await.unwrap();
        let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("it was undone") };
        insta::allow_duplicates! { insta::assert_snapshot!(why.join("\n"), @r"
        2027/2028: è già in uso.
        1A: è già in uso.
        ") };
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_taken_away_but_no_code() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        desk.import(school.ente, &more()).await.unwrap();
        let order = OfficeOrder { child: school.children[0], choice: Choice::Cancel, day: day("2026-10-15"), until: None, note: None };
        desk.operate_for(&clerk(&school), &order, "k1").await.unwrap();
        school.desk_at("2026-10-16T12:00:00+02:00").close_days(school.ente, None, |_, _| {}).await.unwrap();
        for (child, children, operations) in [(None, 5, 1), (Some(school.children[1]), 1, 0)] {
            let (to, mut from) = tokio::sync::mpsc::channel(4);
            let (desk, ente) = (desk.clone(), school.ente);
            let writing = tokio::spawn(async move { desk.archive(ente, child, &to).await });
            let mut bytes = Vec::new();
            while let Some(part) = from.recv().await {
                bytes.extend(part);
            }
            writing.await.unwrap().unwrap();
            let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
            let mut file = |name: &str| {
                let mut text = String::new();
                zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
                text
            };
            assert_eq!(file("bambini.csv").lines().count(), 1 + children);
            assert_eq!(file("operazioni.csv").lines().count(), 1 + operations);
            assert!(file("pasti.csv").lines().count() > 1);
            let all: String =
                ["bambini.csv", "adulti.csv", "operazioni.csv", "pasti.csv", "segnalazioni.csv", "chiamate.csv"].map(&mut file).concat();
            assert!(school.codes.iter().all(|code| !all.contains(code.as_str())), "no keypad code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_searches_use_the_indexes() {
    each_database(async |school| {
        let mut tx = school.db.read().await.unwrap();
        let page = Page { offset: 100, ..PAGE };
        for (order, text, index) in [
            (Order::Name, "", "COVERING INDEX child_by_name"),
            (Order::Diet, "", "COVERING INDEX child_by_diet"),
            (Order::Class, "", "COVERING INDEX child_in_class"),
            (Order::Name, "ros anna", "child_word"),
        ] {
            let filter = ChildFilter { text: text.into(), year: Some(1), ..ChildFilter::default() };
            let plan = tx.plan_of_children(school.ente, &filter, order, page).await.unwrap().join("\n");
            // PostgreSQL reads a table of two rows whole; that it can use the index is seen by the bench.
            if school.url.starts_with("sqlite:") {
                assert!(plan.contains(index), "{order:?} {text}:\n{plan}");
                assert_eq!(!text.is_empty(), plan.contains("word>"), "{plan}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_whom_anything_is_kept_is_never_deleted_by_an_undoing() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = clerk(&school);
        // A letter that was printed: somebody has the code on paper.
        let batch = desk.apply_import(&actor, "elenco.csv", &more(), ImportOptions::default(), None).await.unwrap().batch.unwrap();
        let (rows, _) = desk
            .list_children(school.ente, &ChildFilter { text: "esposito".into(), ..ChildFilter::default() }, Order::Name, PAGE)
            .await
            .unwrap();
        let sofia = ChildId(rows[0].id);
        desk.print_letters(&actor, Addressees::Child(sofia), &[]).await.unwrap();
        let before = states(&school).await;
        let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("it was undone") };
        assert!(why.iter().any(|line| line == "Esposito Sofia: ha già pasti, operazioni o lettere registrati."), "{why:?}");
        assert_eq!(states(&school).await, before, "nothing has changed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_history_keeps_a_child() {
    // What the pages cannot do to a new child without doing something else first is written past the program.
    const HISTORIES: [(&str, &str); 3] = [
        (
            "a correction",
            "INSERT INTO meal_correction (child_id, day, school_id, class_id, diet, was, becomes, reason, actor, at)
                SELECT k.id, '2026-10-12', c.school_id, c.id, k.diet, 'no_service', 'served', 'prova', 'anna', '2026-10-12 18:00:00+00:00'
                FROM child k JOIN school_class c ON c.id = k.class_id WHERE k.external_ref = 'M12'",
        ),
        (
            "a mailed letter",
            "INSERT INTO letter (ente_id, child_id, at, actor, way)
                SELECT ente_id, id, '2026-10-12 18:00:00+00:00', 'anna', 'mail' FROM child WHERE external_ref = 'M12'",
        ),
        (
            "a code that was its own",
            "INSERT INTO retired_code (ente_id, code, child_id) SELECT ente_id, '4729108', id FROM child WHERE external_ref = 'M12'",
        ),
    ];
    for (what, statement) in HISTORIES {
        each_database(async |school| {
            let desk = school.desk_at(MONDAY_EVENING);
            let actor = clerk(&school);
            let batch = desk.apply_import(&actor, "elenco.csv", &more(), ImportOptions::default(), None).await.unwrap().batch.unwrap();
            support::execute(&school.url, statement).await.unwrap();
            let before = states(&school).await;
            let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("{what}: it was undone") };
            assert!(why.iter().any(|line| line.starts_with("Esposito Sofia: ha già")), "{what}: {why:?}");
            assert_eq!(states(&school).await, before, "{what}");
        })
        .await;
    }
}

#[tokio::test]
async fn of_every_table_that_names_a_child_it_is_known_what_an_undoing_does_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("test.db").display());
    School::open(&url).await.db.close().await;
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let sql = "SELECT t.name || '.' || f.\"from\" FROM sqlite_master t JOIN pragma_foreign_key_list(t.name) f
        WHERE t.type = 'table' AND f.\"table\" = 'child' ORDER BY 1";
    let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    // A new one belongs into `has_history` (a child is kept for it) or into `delete_child` (it goes with the child); then here.
    insta::assert_snapshot!(found.join("\n"), @r"
    child_delegate.child_id
    child_guardian.child_id
    child_word.child_id
    letter.child_id
    mark.child_id
    meal.child_id
    meal_correction.child_id
    notice_line.child_id
    operation.child_id
    payment_share.child_id
    relief.child_id
    residence.child_id
    retired_code.child_id
    suspension.child_id
    ticket.child_id
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adult_to_whom_a_letter_went_is_kept() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = clerk(&school);
        let mut roster = more();
        // A known child gets a new adult; the letter is of that child, which the undoing only changes back.
        roster.children =
            vec![ChildRow { last_name: "Prova0".into(), first_name: "Ada".into(), ..child("M0", "Prova0", "Ada", "1A", &[1]) }];
        let batch = desk.apply_import(&actor, "elenco.csv", &roster, ImportOptions::default(), None).await.unwrap().batch.unwrap();
        let letter = "INSERT INTO letter (ente_id, child_id, at, actor, way, guardian_id)
            SELECT k.ente_id, k.id, '2026-10-12 18:00:00+00:00', 'anna', 'mail', g.guardian_id
            FROM child k JOIN child_guardian g ON g.child_id = k.id WHERE k.external_ref = 'M0'";
        support::execute(&school.url, letter).await.unwrap();
        let before = states(&school).await;
        let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("it was undone") };
        assert!(why.iter().any(|line| line.starts_with("Verdi Anna: è legato")), "{why:?}");
        assert_eq!(states(&school).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_code_is_told_to_the_other_clerk_and_outlives_a_new_year_and_its_undoing() {
    each_database(async |school| {
        // There are higher classes: the first one goes up.
        school.desk_at(MONDAY_EVENING).import(school.ente, &more()).await.unwrap();
        let (desk, actor, child) = (summer(&school).await, clerk(&school), school.children[0]);
        let code = async || desk.show_code(&actor, child).await.unwrap();
        let file = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap();
        let first = code().await;
        desk.replace_code(&actor, child).await.unwrap();
        let second = code().await;
        assert_ne!(first, second);
        // The version is raised: who has the child's adults open is told.
        let payer = desk.set_payer(&actor, child, file.found.version, 1).await;
        assert!(matches!(payer, Err(EditError::Stale)), "{payer:?}");
        let now = desk.child_file(school.ente, child, day("2026-10-12"), day("2026-10-12")).await.unwrap().found.version;
        assert!(now > file.found.version);

        // A new year with new codes, undone: the code of before comes back, those that were replaced do not, to nobody.
        let new = NewYear { fresh_codes: true, ..next_year(&[]) };
        let plan = desk.plan_rollover(school.ente, &new).await.unwrap();
        let batch = desk.apply_rollover(&actor, &new, &plan.fingerprint()).await.unwrap();
        let third = code().await;
        assert!(third != first && third != second);
        desk.undo_batch(&actor, batch).await.unwrap();
        assert_eq!(code().await, second);
        // Whoever was replaced since is not overruled by an undoing.
        let batch = desk.apply_rollover(&actor, &new, &desk.plan_rollover(school.ente, &new).await.unwrap().fingerprint()).await.unwrap();
        desk.replace_code(&actor, child).await.unwrap();
        let fourth = code().await;
        assert!(matches!(desk.undo_batch(&actor, batch).await, Err(UndoError::Touched(_))));
        assert_eq!(code().await, fourth);
        let mut tx = school.db.read().await.unwrap();
        let retired = tx.retired_codes(school.ente).await.unwrap();
        assert!([first, second, third].iter().all(|old| retired.iter().any(|(code, of)| code == old && *of == child.0)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_another_child_had_is_not_given_back() {
    each_database(async |school| {
        school.desk_at(MONDAY_EVENING).import(school.ente, &more()).await.unwrap();
        let (desk, actor) = (summer(&school).await, clerk(&school));
        let new = NewYear { fresh_codes: true, ..next_year(&[]) };
        let plan = desk.plan_rollover(school.ente, &new).await.unwrap();
        let batch = desk.apply_rollover(&actor, &new, &plan.fingerprint()).await.unwrap();
        // As if the first child's old code had been the second one's meanwhile, whose letter says so.
        let other = "UPDATE retired_code SET child_id = (SELECT MAX(id) FROM child) WHERE child_id = (SELECT MIN(id) FROM child)";
        support::execute(&school.url, other).await.unwrap();
        let before = states(&school).await;
        let Err(UndoError::Touched(why)) = desk.undo_batch(&actor, batch).await else { panic!("it was undone") };
        assert_eq!(why, ["Prova0 Ada: il suo codice disdetta di prima è di un altro bambino, o lo è stato."]);
        assert_eq!(states(&school).await, before, "nothing has changed");
    })
    .await;
}

/// A year of some children in some classes, and what becomes of each class.
fn year() -> impl Strategy<Value = (Vec<(u8, u8)>, Vec<u8>, bool)> {
    (prop::collection::vec((1u8..6, 0u8..3), 1..12), prop::collection::vec(0u8..4, 15), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is decided for the classes, undoing brings every child, code, class and year back; and nobody is lost or doubled meanwhile.
    #[test]
    fn a_roll_over_undone_leaves_no_trace((children, steps, fresh_codes) in year()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let school = School::open(&format!("sqlite:{}", dir.path().join("test.db").display())).await;
            let actor = clerk(&school);
            let mut roster = Roster::default();
            for (n, (year, section)) in children.iter().enumerate() {
                let class = format!("{year}{}", char::from(b'A' + section));
                if !roster.classes.iter().any(|c| c.name == class) {
                    roster.classes.push(ClassRow { school: "PRIM".into(), name: class.clone(), weekdays: chrono::WeekdaySet::EMPTY });
                }
                roster.children.push(child(&format!("N{n}"), &format!("Bambino{n}"), "Ugo", &class, &[]));
            }
            school.desk_at(MONDAY_EVENING).import(school.ente, &roster).await.unwrap();
            let desk = summer(&school).await;
            let before = states(&school).await;
            let classes = desk.choices(school.ente).await.unwrap().classes;
            let step = |(class, kind): (&voceguida::store::ClassSize, &u8)| {
                let step = match kind {
                    0 => Step::Stay,
                    1 => Step::Leave,
                    2 => Step::Promote("6Z".into()),
                    _ => return None,
                };
                Some((class.id, step))
            };
            let steps: Vec<_> = classes.iter().zip(&steps).filter_map(step).collect();
            let new = NewYear { fresh_codes, ..next_year(&steps) };
            let plan = desk.plan_rollover(school.ente, &new).await.unwrap();
            assert_eq!(plan.going_on + plan.leaving, children.len() as i64 + 2);
            let batch = desk.apply_rollover(&actor, &new, &plan.fingerprint()).await.unwrap();
            let filter = ChildFilter { year: Some(desk.choices(school.ente).await.unwrap().years[0].id), ..ChildFilter::default() };
            let (_, going_on) = desk.list_children(school.ente, &filter, Order::Name, PAGE).await.unwrap();
            assert_eq!(going_on, plan.going_on);
            let codes = desk.children_with_codes(school.ente).await.unwrap();
            assert!(codes.iter().all(|c| ChildCode::parse(&c.code).is_ok()));
            desk.undo_batch(&actor, batch).await.unwrap();
            assert_eq!(states(&school).await, before);
            school.db.close().await;
        });
    }
}

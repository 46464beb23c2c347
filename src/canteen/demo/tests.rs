use std::collections::{BTreeMap, HashSet};

use chrono::TimeDelta;

use super::*;
use crate::canteen::roster::Scope;

fn roster(first_year: i32) -> Roster {
    demo_roster(first_year, |index| format!("{index:07}")).expect("a roster")
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

#[test]
fn it_is_the_same_every_time() {
    assert_eq!(roster(2026), roster(2026));
}

#[test]
fn three_schools_twelve_classes_two_hundred_and_fifty_children() {
    let roster = roster(2026);
    assert_eq!(roster.schools.len(), 3);
    let mut seated: BTreeMap<(String, String), usize> = BTreeMap::new();
    for child in &roster.children {
        *seated.entry((child.school.clone(), child.class.clone())).or_default() += 1;
    }
    let table: Vec<String> = roster
        .classes
        .iter()
        .map(|class| {
            let children = seated.remove(&(class.school.clone(), class.name.clone())).unwrap_or_default();
            format!("{} {} {} {children}", class.school, class.name, class.weekdays)
        })
        .collect();
    assert!(seated.is_empty(), "every child is in a class that exists");
    assert_eq!(roster.children.len(), CHILDREN);
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn the_first_three_children_are_always_the_same_and_of_three_families() {
    for first_year in [2025, 2026, 2031] {
        let roster = roster(first_year);
        let first: Vec<String> = roster.children[..3]
            .iter()
            .map(|child| format!("{} {} {} {}", child.first_name, child.last_name, child.school, child.class))
            .collect();
        assert_eq!(
            first,
            ["Giulia Rossi PRI-RODARI 3A", "Matteo Bianchi SEC-MONTESSORI 2A", "Sofia Esposito INF-GIRASOLE Farfalle"],
            "{first_year}"
        );
        let guardians: Vec<_> = roster.children[..3].iter().flat_map(|child| &child.guardians).map(|one| one.guardian).collect();
        assert_eq!(guardians.iter().collect::<HashSet<_>>().len(), guardians.len(), "no guardian in common");
    }
}

#[test]
fn families_are_lifelike() {
    let roster = roster(2026);
    let mut children_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, child) in roster.children.iter().enumerate() {
        assert_eq!(child.guardians.iter().filter(|one| one.payer).count(), 1, "one adult pays for {child:?}");
        for one in &child.guardians {
            assert!(one.guardian < roster.guardians.len());
            children_of.entry(one.guardian).or_default().push(index);
        }
    }
    assert_eq!(children_of.len(), roster.guardians.len(), "no adult without a child");
    let schools = |children: &[usize]| children.iter().map(|&child| &roster.children[child].school).collect::<HashSet<_>>().len();
    assert!(children_of.values().filter(|children| children.len() > 1).count() > 50, "siblings");
    assert!(children_of.values().any(|children| schools(children) > 1), "siblings at two schools");
    assert!(children_of.values().any(|children| children.len() == 3), "three siblings");
    let paid_by_either = children_of.iter().filter(|(guardian, children)| {
        let pays = |child: &usize| roster.children[*child].guardians.iter().any(|one| one.payer && one.guardian == **guardian);
        children.iter().any(pays) && !children.iter().all(pays)
    });
    assert!(paid_by_either.count() > 0, "separated parents who pay for a child each");

    let names: HashSet<_> =
        roster.children.iter().map(|child| (&child.last_name, &child.first_name, &child.school, &child.class)).collect();
    assert_eq!(names.len(), CHILDREN, "no two children of one name in a class");
    let codes: Vec<_> = roster.children.iter().filter_map(|child| child.fiscal_code.as_ref()).collect();
    assert!((200..250).contains(&codes.len()), "most have a fiscal code, some have not: {}", codes.len());
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
    assert!(codes.iter().all(|code| code.as_str()[11..].starts_with("Y042")), "no real place of birth");
    assert!(roster.guardians.iter().filter_map(|guardian| guardian.email.as_ref()).all(|email| email.ends_with("@famiglie.example")));
    let diets: HashSet<_> = roster.children.iter().map(|child| child.diet.as_str()).collect();
    assert!(diets.len() >= 6, "{diets:?}");
    assert!(roster.children.iter().any(|child| child.enrolled_from.is_some()));
    assert!(roster.children.iter().any(|child| child.enrolled_to.is_some()));
}

#[test]
fn the_school_year_2026_2027_as_families_read_it() {
    let calendar = roster(2026).calendar;
    let mut lines: Vec<String> = calendar
        .terms
        .iter()
        .map(|term| format!("{} – {}  servizio: {}", term.first, term.last, term.school.as_deref().unwrap_or("tutte le scuole")))
        .collect();
    lines.extend(calendar.closures.iter().map(|closure| {
        let scope = match &closure.scope {
            Scope::Ente => "tutte le scuole".to_owned(),
            Scope::School { school } => school.clone(),
            Scope::Class { school, class } => format!("{school} {class}"),
        };
        format!("{} – {}  {scope}: {}", closure.first, closure.last, closure.reason)
    }));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_year_has_a_whole_calendar() {
    for first_year in 2000..2100 {
        let calendar = roster(first_year).calendar;
        assert_eq!(calendar.school_year, Some(format!("{first_year}/{}", first_year + 1)));
        for term in &calendar.terms {
            assert!(term.last - term.first > TimeDelta::days(250), "{term:?}");
        }
        for closure in &calendar.closures {
            assert!(closure.first <= closure.last && !closure.reason.is_empty(), "{closure:?}");
        }
    }
}

#[test]
fn years_without_a_demo_are_refused() {
    for first_year in [i32::MIN, 1999, 9001, i32::MAX] {
        assert_eq!(demo_roster(first_year, |_| String::new()), Err(YearOutOfRange(first_year)));
    }
}

#[test]
fn in_summer_the_coming_school_year_counts() {
    assert_eq!(school_year_on(day("2027-06-30")), 2026);
    assert_eq!(school_year_on(day("2027-07-01")), 2027);
    assert_eq!(school_year_on(day("2027-01-15")), 2026);
}

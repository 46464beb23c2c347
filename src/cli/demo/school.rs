//! The invented school in the database: its people, its past, and what the office has set.

use std::{collections::HashSet, sync::Arc};

use anyhow::Context;
use chrono::{DateTime, Days, TimeDelta, Utc};
use rand::{SeedableRng, rngs::StdRng};

use super::{desk_work, has_school_ahead};
use crate::{
    canteen::{
        code::ChildCode,
        demo::{
            ENTE_NAME, demo_roster,
            past::{self, CLERK, PastCall, invented_past},
            school_year_on,
        },
        roster::Roster,
        window::Window,
    },
    desk::{
        Desk,
        calls::{Flow, Outcome},
        people::{Person, PersonData, Role},
        trail::Actor,
    },
    ops::clock::Clock,
    store::Ente,
    voice::{
        path::{Answer, End, How, Path, Step, Travelled},
        plan::Plan,
    },
};

/// The demo's codes are always the same; real ones are drawn at random.
const SEED: u64 = 0x5eed_0000_c0de;

/// Who works in the office: login, name, role. The first one is the administrator.
pub const PEOPLE: [(&str, &str, Role); 5] = [
    ("anna", "Anna Ferrero", Role::Admin),
    (CLERK, "Carla Bruno", Role::Office),
    ("marta", "Marta Gallo", Role::Kitchen),
    ("dario", "Dario Costa", Role::Auditor),
    ("lucia", "Lucia Parodi", Role::ReadOnly),
];

/// Brings the invented school into the database, where it is not there yet: with a past of last school year and this one, or, without a plan, as it is on its first day. The plan is what
/// calls went by; `progress` hears
/// how much of the past is done, and of how much.
pub async fn prepare(desk: &Desk, past: Option<&Arc<Plan>>, progress: impl FnMut(usize, usize)) -> anyhow::Result<Ente> {
    let window = Window::default();
    let id = desk.put_ente("demo", ENTE_NAME, Some("0182970000"), &window).await?;
    let mut roster = roster_on(desk.clock().now(), &window)?;
    let known = desk.school_year(id).await?;
    if let Some(plan) = past.filter(|_| known.is_none()) {
        let now = desk.clock().now();
        let told = invented_past(&roster, now, &window, true)?;
        let beginning = told.past.events.first().map_or(now, |event| event.at) - TimeDelta::days(2);
        let then = Desk::new(desk.db().clone(), Clock::starting_at(beginning));
        people(&then, &Actor::command_line(id)).await?;
        furnish(&then, &actor(&then, PEOPLE[0].0).await?).await?;
        let clerk = actor(desk, CLERK).await?;
        desk.live_through(id, &clerk, &told, &|call| way_of(plan, call), progress).await?;
        desk_work::write(desk, &actor(desk, PEOPLE[0].0).await?, &clerk, &window).await?;
    } else if known.as_deref() < roster.calendar.school_year.as_deref() {
        if known.is_some() {
            // Who has a code keeps it, also where it was replaced meanwhile; a newcomer's is drawn past all that are or were given out.
            roster.children.iter_mut().for_each(|child| child.code = None);
        }
        desk.import(id, &roster).await?;
    }
    people(desk, &Actor::system(id)).await?;
    Ok(desk.ente(Some("demo")).await?)
}

/// The roster of the school year that concerns people at that time, with the demo's codes.
fn roster_on(now: DateTime<Utc>, window: &Window) -> anyhow::Result<Roster> {
    let today = window.local(now).date();
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut drawn = HashSet::new();
    let code = |_| loop {
        let code = ChildCode::random(&mut rng);
        if drawn.insert(code.clone()) {
            return code.as_str().to_owned();
        }
    };
    // In summer the school year that comes: who calls then gets its first day.
    let mut year = school_year_on(today);
    if !has_school_ahead(today.checked_add_days(Days::new(1)).unwrap_or(today)) {
        year += 1;
    }
    Ok(demo_roster(year, code)?)
}

/// What came of a call, and its way through the plan; `None` where the plan has other states than the demo's.
pub fn way_of(plan: &Arc<Plan>, call: &PastCall) -> Option<(Outcome, Flow)> {
    let answered = call.way.first()?.at;
    let mut path = Path::default();
    for stop in &call.way {
        let to = plan.states.iter().position(|state| state.name == stop.state)?;
        let how = match stop.how {
            past::How::Begun => How::Begun,
            past::How::Said => How::Said,
            past::How::Key(key) => How::Key(u8::try_from(key).ok()?),
            past::How::Number => How::Number,
            past::How::Answered(word) => How::Answered(Answer::of(word)),
            past::How::Refused(reason) => How::Answered(Answer::of(serde_json::to_value(reason).ok()?.as_str()?)),
        };
        let at = u32::try_from((stop.at - answered).num_milliseconds() / 100).unwrap_or_default();
        path.push(Step { how, to: u16::try_from(to).ok()?, at });
    }
    let travelled = Travelled { plan: Arc::clone(plan), path };
    let end = match call.end {
        past::End::Line => End::Line,
        past::End::Caller | past::End::Abandoned => End::Caller,
        past::End::DeadMedia => End::Failed,
    };
    Some((travelled.outcome(end), travelled.flow(end)))
}

/// Whoever is not there yet.
async fn people(desk: &Desk, by: &Actor) -> anyhow::Result<()> {
    for (login, name, role) in PEOPLE {
        if desk.person_by_login(login).await?.is_none() {
            let email = Some(format!("{login}@borgovalserena.example"));
            let data = PersonData { login: login.to_owned(), name: name.to_owned(), email, role, second_factor_required: false };
            desk.add_person(by, &data).await?;
        }
    }
    Ok(())
}

/// One of the demo's people.
pub async fn person(desk: &Desk, login: &str) -> anyhow::Result<Person> {
    desk.person_by_login(login).await?.with_context(|| format!("nobody is called {login}"))
}

async fn actor(desk: &Desk, login: &str) -> anyhow::Result<Actor> {
    let person = person(desk, login).await?;
    Ok(Actor { ente: person.ente, person: Some(person.id), name: login.to_owned(), address: "192.0.2.10".to_owned() })
}

/// What the office has set: letterhead, patron saint, who is sent the kitchen's count.
async fn furnish(desk: &Desk, by: &Actor) -> anyhow::Result<()> {
    let mut settings = desk.settings(by.ente).await?.settings;
    settings.office = Some("Ufficio scuola".to_owned());
    settings.heading = vec!["Piazza del Municipio 1, 17099 Borgo Valserena (SV)".to_owned(), "tel. 0182 970000".to_owned()];
    settings.place = Some("Borgo Valserena".to_owned());
    settings.email = Some("mensa@borgovalserena.example".to_owned());
    settings.signature = vec!["La responsabile del servizio".to_owned(), "Anna Ferrero".to_owned()];
    settings.portal = Some("https://mensa.borgovalserena.example".to_owned());
    settings.numbers = vec![("800 123 456".to_owned(), Some("gratuito da rete fissa e mobile".to_owned()))];
    desk.save_settings(by, &settings).await?;
    desk.set_patron(by, 11, 11, "San Martino").await?;
    desk.add_kitchen_recipient(by, None, "Centro cottura Valserena", "cucina@ristorazione.example").await?;
    Ok(())
}

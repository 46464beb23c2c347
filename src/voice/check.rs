//! Proves what can be proved of a dialplan before anybody calls (design §6). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    plan::{Action, Kind, PHONE_REASONS, Part, Plan, Problem, Prompting, State, option_word},
    speech,
};
use crate::canteen::{Choice, DayState};

const OPTIONS: [Choice; 5] = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo];

/// The prompt that says what stands on a day.
pub fn state_prompt(state: DayState) -> &'static str {
    match state {
        DayState::Served => "stato_served",
        DayState::Cancelled => "stato_cancelled",
        DayState::White => "stato_white",
        DayState::Suspended => "stato_suspended",
        // Only served days are told.
        DayState::NoService => "nessun_giorno",
    }
}

/// Everything that is wrong with a plan: prompts that are missing, states that nothing leads to,
/// states that never end. `has_prompt` tells whether there is a recording of that name.
pub fn check(file: &str, plan: &Plan, has_prompt: &dyn Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |line: usize, message: String| problems.push(Problem { file: file.to_owned(), line, message });
    for state in &plan.states {
        let missing = names_in(plan, state).into_iter().filter(|name| !has_prompt(name));
        for name in missing {
            wrong(state.line, format!("state {}: there is no prompt \"{name}\"", state.name));
        }
    }
    let reached = reachable(plan);
    for (index, state) in plan.states.iter().enumerate() {
        if !reached.contains(&index) {
            wrong(state.line, format!("state {}: nothing leads here", state.name));
        } else if !can_end(plan, index) {
            wrong(state.line, format!("state {}: from here the call never ends", state.name));
        }
    }
    problems
}

/// The prompts that a state may come to speak.
fn names_in(plan: &Plan, state: &State) -> BTreeSet<String> {
    let parts: Vec<&Part> = match &state.kind {
        Kind::Play { play, .. } | Kind::HangUp { play } => play.iter().collect(),
        Kind::Menu(menu) => prompting_parts(&menu.prompting).into_iter().chain(&menu.greet_partial).collect(),
        Kind::Digits(digits) => prompting_parts(&digits.prompting),
        Kind::Action { .. } => vec![],
    };
    let reasons = reasons_reaching(plan, state.name.as_str());
    parts.into_iter().flat_map(|part| names_of(plan, part, &reasons)).collect()
}

/// Which states speak each prompt, in the order of the plan.
pub fn uses(plan: &Plan) -> BTreeMap<String, Vec<&str>> {
    let mut uses: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for state in &plan.states {
        for name in names_in(plan, state) {
            uses.entry(name).or_default().push(&state.name);
        }
    }
    uses
}

fn prompting_parts(p: &Prompting) -> Vec<&Part> {
    [&p.greet_long, &p.greet_short, &p.invalid_sound, &p.timeout_sound, &p.exit_sound].into_iter().flatten().collect()
}

/// The prompts that a part may come to.
fn names_of(plan: &Plan, part: &Part, reasons: &BTreeSet<&'static str>) -> Vec<String> {
    match part {
        Part::Prompt(name) => vec![name.clone()],
        Part::ByOption(stem) | Part::ByOffered(stem) => offered(plan).into_iter().map(|o| format!("{stem}{}", option_word(o))).collect(),
        Part::ByReason(stem) => reasons.iter().map(|reason| format!("{stem}{reason}")).collect(),
        Part::Day | Part::Receipt | Part::Opens | Part::Closes => speech::all_names().collect(),
        Part::Outlook => {
            let states = [DayState::Served, DayState::Cancelled, DayState::White, DayState::Suspended];
            states.into_iter().map(|s| state_prompt(s).to_owned()).chain(speech::all_names()).collect()
        }
    }
}

/// The options that some menu offers.
fn offered(plan: &Plan) -> Vec<Choice> {
    let all: Vec<_> =
        plan.states.iter().filter_map(|s| if let Kind::Menu(menu) = &s.kind { Some(menu.options()) } else { None }).flatten().collect();
    OPTIONS.into_iter().filter(|o| all.contains(o)).collect()
}

/// The reasons that actions hand to the state of this name.
fn reasons_reaching(plan: &Plan, name: &str) -> BTreeSet<&'static str> {
    let leads_here = |to: &usize| plan.states.get(*to).is_some_and(|s| s.name == name);
    let actions = plan.states.iter().filter_map(|s| match &s.kind {
        Kind::Action { action: Action::Preview | Action::Operate, on } => Some(on),
        _ => None,
    });
    actions.flat_map(|on| PHONE_REASONS.into_iter().filter(|r| on.get(*r).is_some_and(leads_here))).collect()
}

fn reachable(plan: &Plan) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut todo = vec![plan.start];
    while let Some(index) = todo.pop() {
        if let Some(state) = plan.states.get(index).filter(|_| reached.insert(index)) {
            todo.extend(plan.ways(state).into_iter().map(|(_, to)| to));
        }
    }
    reached
}

fn can_end(plan: &Plan, from: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(index) = todo.pop() {
        let Some(state) = plan.states.get(index).filter(|_| seen.insert(index)) else { continue };
        if matches!(state.kind, Kind::HangUp { .. }) {
            return true;
        }
        todo.extend(plan.ways(state).into_iter().map(|(_, to)| to));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: &str = r#"name = "x"
title = "X"
start = "a"
max_call_ms = 1000

[state.a]
kind = "play"
play = ["manca"]
next = "b"

[state.b]
kind = "play"
play = ["c_e"]
next = "a"

[state.orfano]
kind = "hangup"
"#;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let plan = Plan::parse("x.toml", BROKEN).unwrap();
        let problems = check("x.toml", &plan, &|name| name == "c_e");
        let said: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            said,
            [
                "x.toml:6: state a: there is no prompt \"manca\"",
                "x.toml:6: state a: from here the call never ends",
                "x.toml:11: state b: from here the call never ends",
                "x.toml:16: state orfano: nothing leads here",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line_too() {
        let errors = |text: &str| Plan::parse("x.toml", text).unwrap_err().iter().map(Problem::to_string).collect::<Vec<_>>();
        assert_eq!(errors("name = \"x\"\ntitle ="), ["x.toml:2: string values must be quoted, expected literal string"]);
        let unknown = BROKEN.replace("next = \"b\"", "next = \"z\"").replace("[\"c_e\"]", "[\"{dai}\"]");
        assert_eq!(errors(&unknown), ["x.toml:6: there is no state \"z\"", "x.toml:11: unknown value in \"{dai}\""]);
        let action = "name='x'\ntitle='x'\nstart='a'\nmax_call_ms=1\n[state.a]\nkind='action'\ndo='identify'\non={known='a',oops='a'}\n";
        insta::assert_snapshot!(errors(action).join("\n"));
    }

    #[test]
    fn the_plans_that_ship_are_sound() {
        for file in ["dialplans/mensa.toml", "dialplans/carico.toml"] {
            let plan = Plan::load(std::path::Path::new(file)).unwrap();
            let manifest = std::fs::read_to_string("prompts/it/manifest.toml").unwrap();
            let has = |name: &str| manifest.contains(&format!("name = \"{name}\"\n"));
            assert_eq!(check(file, &plan, &has), []);
        }
    }
}

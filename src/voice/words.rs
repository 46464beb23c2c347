//! The line's plan and calls in plain Italian, for whoever has never seen a dialplan. Pure.

use super::{
    path::{How, Path},
    plan::{Action, Kind, Plan, State, Target, option_word},
};
use crate::canteen::Choice;

/// An option of a menu.
pub fn option_in_words(option: Choice) -> &'static str {
    match option {
        Choice::Cancel => "disdetta",
        Choice::White => "pasto in bianco",
        Choice::Suspend => "sospensione",
        Choice::Resume => "ripresa",
        Choice::Undo => "annullamento",
    }
}

/// An option by its word in prompts' names and in the database.
pub fn option_of_word(word: &str) -> Option<&'static str> {
    let all = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo];
    all.into_iter().find(|o| option_word(*o) == word).map(option_in_words)
}

/// What a state does.
pub fn kind_in_words(state: &State) -> String {
    match &state.kind {
        Kind::Play { .. } => "il servizio parla".to_owned(),
        Kind::Menu(menu) => format!("menù: {}", menu.keys.keys().map(char::to_string).collect::<Vec<_>>().join(" ")),
        Kind::Digits(digits) => format!("attende {} cifre", digits.digit_len),
        Kind::Action { action, .. } => match action {
            Action::Hours => "il servizio guarda l'orario",
            Action::Identify => "il servizio cerca il codice",
            Action::Preview => "il servizio cerca il giorno",
            Action::Operate => "il servizio registra",
            Action::Outlook { .. } => "il servizio legge i prossimi giorni",
        }
        .to_owned(),
        Kind::HangUp { .. } => "saluta e chiude".to_owned(),
    }
}

/// An answer of the desk.
pub fn answer_in_words(word: &str) -> &str {
    match word {
        "open" => "linea aperta",
        "closed" => "linea chiusa",
        "unavailable" => "servizio non disponibile",
        "known" => "codice riconosciuto",
        "unknown" => "codice sconosciuto",
        "too_many" => "troppi codici errati",
        "shut_out" => "numero bloccato",
        "accepted" => "possibile",
        "day_changed" => "il giorno è cambiato",
        "days" => "ci sono giorni",
        "none" => "nessun giorno",
        "outside_window" => "fuori orario",
        "no_service_day" => "nessun giorno di mensa",
        "suspended" => "pasti sospesi",
        "already_cancelled" => "già disdetto",
        "already_white" => "già in bianco",
        "already_suspended" => "già sospeso",
        "not_suspended" => "non sospeso",
        "nothing_to_undo" => "niente da annullare",
        other => other,
    }
}

/// A way out of a state by the word that it is counted under ([`How::word`]).
pub fn way_in_words(state: &State, way: &str) -> String {
    match (way, &state.kind) {
        ("", _) => "prosegue".to_owned(),
        ("number", _) => "numero completo".to_owned(),
        ("exit", _) => "troppi errori o silenzi".to_owned(),
        ("wrong", Kind::Digits(_)) => "numero incompleto".to_owned(),
        ("wrong", _) => "tasto sbagliato".to_owned(),
        ("silence", _) => "nessun tasto".to_owned(),
        ("again", _) => "ha voluto riascoltare".to_owned(),
        ("accepted", Kind::Action { action: Action::Operate, .. }) => "registrata".to_owned(),
        (answer, Kind::Action { .. }) => answer_in_words(answer).to_owned(),
        (key, Kind::Menu(menu)) => {
            let target = key.chars().next().and_then(|key| menu.keys.get(&key));
            match target {
                Some(Target::To(_, Some(option))) => format!("tasto {key}, {}", option_in_words(*option)),
                Some(Target::Back) => format!("tasto {key}, riascolta"),
                _ => format!("tasto {key}"),
            }
        }
        (other, _) => other.to_owned(),
    }
}

/// A step of a call, for its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInWords {
    /// When, in tenths of a second from the answer.
    pub at: u32,
    /// How it came here: "tasto 1, disdetta"; empty where it only went on.
    pub how: String,
    /// The state's title.
    pub title: String,
    /// What the state does.
    pub kind: String,
}

/// A call's steps, and how many are missing before the last one. A number that was typed shows as dots.
pub fn steps_in_words(plan: &Plan, path: &Path) -> (Vec<StepInWords>, u32) {
    let mut before: Option<&State> = None;
    let mut lines = Vec::with_capacity(path.steps.len() + 1);
    for step in path.steps.iter().chain(path.last.as_ref().map(|(_, step)| step)) {
        let Some(state) = plan.states.get(usize::from(step.to)) else { continue };
        let how = match (step.how, before.map(|b| (b, &b.kind))) {
            (How::Begun | How::Said, _) => String::new(),
            (How::Cut, _) => "ha premuto un tasto sulla voce".to_owned(),
            (How::Number, Some((_, Kind::Digits(digits)))) => format!("ha digitato {}", "•".repeat(digits.digit_len)),
            (how, Some((before, _))) => way_in_words(before, &how.word()),
            (how, None) => how.word(),
        };
        lines.push(StepInWords { at: step.at, how, title: state.title.clone(), kind: kind_in_words(state) });
        before = Some(state);
    }
    (lines, path.last.map_or(0, |(missing, _)| missing))
}

/// The ways of a state, by the words that they are counted under, and where each leads.
pub fn counted_ways(state: &State) -> Vec<(String, usize)> {
    match &state.kind {
        Kind::Play { next, .. } => vec![(String::new(), *next)],
        Kind::Menu(menu) => {
            let keys = menu.keys.iter().filter_map(|(key, target)| match target {
                Target::To(to, _) => Some((key.to_string(), *to)),
                // Where it leads depends on the call.
                Target::Back => None,
            });
            keys.chain([("exit".to_owned(), menu.prompting.exit)]).collect()
        }
        Kind::Digits(digits) => vec![("number".to_owned(), digits.next), ("exit".to_owned(), digits.prompting.exit)],
        Kind::Action { on, .. } => on.iter().map(|(answer, to)| (answer.clone(), *to)).collect(),
        Kind::HangUp { .. } => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::path::How;

    #[test]
    fn a_call_as_the_office_reads_it_without_the_code() {
        let plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        let index = |name: &str| plan.states.iter().position(|s| s.name == name).unwrap();
        let steps = "b>orario oopen>benvenuto p>codice s>codice w>codice n>riconosci ounknown>codice_errato p>codice n>riconosci oknown>menu a>menu k1>anteprima \
            oaccepted>conferma k1>registra oaccepted>registrata p>altro k*>registrata";
        let text = steps.split_whitespace().enumerate().map(|(n, word)| {
            let (how, name) = word.split_once('>').unwrap();
            format!("{how}>{}@{}", index(name), n * 35)
        });
        let path = Path::parse(&text.collect::<Vec<_>>().join(" ")).unwrap();
        let (steps, missing) = steps_in_words(&plan, &path);
        let lines: Vec<_> = steps.iter().map(|s| format!("{:>3} {:<32} {} ({})", s.at, s.how, s.title, s.kind)).collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(missing, 0);
    }

    #[test]
    fn every_way_of_the_line_that_ships_has_words() {
        let plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        for state in &plan.states {
            for (way, _) in counted_ways(state) {
                let words = way_in_words(state, &way);
                assert!(!words.is_empty() && !words.contains('_'), "{} {way}: {words}", state.name);
            }
        }
        assert_eq!(way_in_words(&plan.states[0], &How::TooMany.word()), "troppi errori o silenzi");
    }
}

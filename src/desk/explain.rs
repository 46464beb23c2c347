//! Which decision, and why, step by step: for the office's "perché è stata rifiutata?" (O6).

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::{Desk, DeskError, ente_of, operate::calendar_of};
pub use crate::canteen::words::day_in_words;
use crate::canteen::{
    ChildId, Choice, EnteId, Reason,
    calendar::{NoService, ServiceCalendar},
    marks::Marks,
    rule::{Decision, Request, Step, decide_step_by_step, replay},
    window::Window,
};
use crate::store::{StoredOperation, Verdict};

/// A decision explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The steps, in plain Italian.
    pub steps: Vec<String>,
    /// The decision, in plain Italian.
    pub conclusion: String,
    /// The decision itself.
    pub decision: Decision,
}

impl Desk {
    /// What the rule would say, with the marks as they stand now, had `request` come at `at`
    /// (`None`: now); writes nothing.
    pub async fn explain(
        &self,
        ente: EnteId,
        child: ChildId,
        at: Option<DateTime<Utc>>,
        request: Request,
    ) -> Result<Explanation, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let at = at.unwrap_or(now);
        let mut window = ente_of(&mut tx, ente).await?.window;
        if let Some((opens, cutoff)) = tx.window_before(ente, at).await? {
            window = Window { opens, cutoff, ..window };
        }
        let calendar = calendar_of(&mut tx, child).await?;
        let marks = tx.marks_of(child).await?;
        let mut steps = Vec::new();
        let decision = decide_step_by_step(at, &window, request, &calendar, &marks, &mut |step| steps.push(step));
        Ok(in_words(at, &window, request, decision, &steps))
    }
}

impl Desk {
    /// Why an operation was answered as it was: the rule once more, with the calendar as it was known then and the marks that stood then.
    /// `None` where the child of this ente has no such operation.
    pub async fn explain_operation(
        &self,
        ente: EnteId,
        child: ChildId,
        operation: i64,
    ) -> Result<Option<(StoredOperation, Explanation)>, DeskError> {
        let mut tx = self.db.read().await?;
        if tx.child_state(ente, child).await?.is_none() {
            return Ok(None);
        }
        let window = ente_of(&mut tx, ente).await?.window;
        let mut marks = Marks::default();
        let mut found = None;
        for past in tx.operations_of(child).await? {
            if past.id == operation {
                found = Some(past);
                break;
            }
            if let Verdict::Accepted(day) = past.verdict {
                marks = replay(past.choice, day, past.until, &marks).unwrap_or(marks);
            }
        }
        let Some(found) = found else { return Ok(None) };
        let calendar = tx.calendar_of(child, Some(found.at)).await?.unwrap_or_else(ServiceCalendar::never);
        let day = match found.verdict {
            Verdict::Accepted(day) | Verdict::DayChanged(day) => Some(day),
            Verdict::Refused(_, day) => day,
        };
        let (choice, until) = (found.choice, found.until);
        let request = match (found.channel.as_str(), day) {
            ("web", Some(day)) => Request::Web { choice, day, until },
            ("office", Some(day)) => Request::Office { choice, day, until, late: found.note.is_some() },
            _ => Request::Phone(choice),
        };
        let mut steps = Vec::new();
        let decision = decide_step_by_step(found.at, &window, request, &calendar, &marks, &mut |step| steps.push(step));
        let now_says = Verdict::from(&decision);
        let mut words = in_words(found.at, &window, request, decision, &steps);
        if found.late && matches!(found.verdict, Verdict::Accepted(_)) {
            words.steps.push("L'ufficio ha scritto il motivo: può cambiare il giorno anche dopo il termine.".to_owned());
        }
        if let Verdict::DayChanged(day) = found.verdict {
            words.conclusion = format!(
                "Non eseguita: mentre si confermava, il primo giorno utile è diventato {}. È stato chiesto di nuovo.",
                day_in_words(day)
            );
        } else if now_says != found.verdict {
            // Class, term or window have been changed since: only what was written down then is certain.
            words.steps = vec!["Da allora la classe, il periodo di servizio o gli orari sono cambiati: i passi di quel momento non si possono ripercorrere.".to_owned()];
            words.conclusion = match found.verdict {
                Verdict::Accepted(day) | Verdict::DayChanged(day) => {
                    format!("Accolta: {} per {}.", choice_in_words(choice), day_in_words(day))
                }
                Verdict::Refused(reason, day) => format!("Rifiutata: {}.", reason_in_words(reason, day, &window)),
            };
        }
        Ok(Some((found, words)))
    }
}

fn in_words(at: DateTime<Utc>, window: &Window, request: Request, decision: Decision, steps: &[Step]) -> Explanation {
    let local = window.local(at);
    let steps = steps.iter().map(|step| step_in_words(local, window, *step)).collect();
    let conclusion = match &decision {
        Decision::Accepted { day, .. } => format!("Accolta: {} per {}.", choice_in_words(request.choice()), day_in_words(*day)),
        Decision::Refused { reason, day } => format!("Rifiutata: {}.", reason_in_words(*reason, *day, window)),
    };
    Explanation { steps, conclusion, decision }
}

/// The operation's name.
pub fn choice_in_words(choice: Choice) -> &'static str {
    match choice {
        Choice::Cancel => "disdetta del pasto",
        Choice::White => "pasto in bianco",
        Choice::Suspend => "sospensione",
        Choice::Resume => "ripresa del servizio",
        Choice::Undo => "annullamento della disdetta",
    }
}

/// Why an operation was refused, as a half sentence.
pub fn reason_in_words(reason: Reason, day: Option<NaiveDate>, window: &Window) -> String {
    let on = day.map(|d| format!(" per {}", day_in_words(d))).unwrap_or_default();
    match reason {
        Reason::OutsideWindow => {
            format!("la linea accetta operazioni dalle {} alle {}", window.opens.format("%H:%M"), window.cutoff.format("%H:%M"))
        }
        Reason::NoServiceDay => "fino al termine del servizio non ci sono più giorni di mensa".to_owned(),
        Reason::NotAServiceDay => format!("la mensa non è prevista{on}"),
        Reason::TooLate => format!("il termine{on} è già trascorso"),
        Reason::InvalidRange => "la sospensione finirebbe prima di cominciare".to_owned(),
        Reason::Suspended => format!("il servizio è sospeso{on}"),
        Reason::AlreadyCancelled => format!("il pasto è già disdetto{on}"),
        Reason::AlreadyWhite => format!("il pasto in bianco è già richiesto{on}"),
        Reason::AlreadySuspended => format!("il servizio è già sospeso{on}"),
        Reason::NotSuspended => format!("il servizio non è sospeso{on}"),
        Reason::NothingToUndo => format!("non risulta nessuna disdetta e nessun pasto in bianco{on}"),
    }
}

/// Why there is no service on a day, as a half sentence.
pub fn no_service_in_words(why: NoService) -> &'static str {
    match why {
        NoService::OutsideTerm => "fuori dal periodo di servizio",
        NoService::NoReturn => "non è un giorno di rientro della classe",
        NoService::Closed => "festività o chiusura",
    }
}

fn step_in_words(local: NaiveDateTime, window: &Window, step: Step) -> String {
    let hours = format!("dalle {} alle {}", window.opens.format("%H:%M"), window.cutoff.format("%H:%M"));
    match step {
        Step::Window { search_from: None } => {
            format!("Ora locale {}: fuori dalla finestra {hours}.", local.format("%d/%m/%Y %H:%M:%S"))
        }
        Step::Window { search_from: Some(day) } => format!(
            "Ora locale {}: nella finestra {hours}; il primo giorno utile si cerca da {}.",
            local.format("%d/%m/%Y %H:%M:%S"),
            day_in_words(day)
        ),
        Step::Skipped { day, why } => format!("{}: saltato, {}.", day_in_words(day), no_service_in_words(why)),
        Step::Day { day } => format!("{}: la mensa è prevista.", day_in_words(day)),
        Step::NotServed { day, why } => format!("{}: la mensa non è prevista, {}.", day_in_words(day), no_service_in_words(why)),
        Step::Cutoff { day, open: true } => {
            format!("{} si può ancora cambiare (fino alle {}).", day_in_words(day), window.cutoff.format("%H:%M"))
        }
        Step::Cutoff { day, open: false } => {
            format!("{} non si può più cambiare (termine: ore {}).", day_in_words(day), window.cutoff.format("%H:%M"))
        }
        Step::Under { suspension } => match suspension.last {
            Some(last) => format!("Il servizio è sospeso da {} a {}.", day_in_words(suspension.first), day_in_words(last)),
            None => format!("Il servizio è sospeso da {}, senza una fine stabilita.", day_in_words(suspension.first)),
        },
        Step::Mark { mark } => format!("Per quel giorno risulta già: {}.", choice_in_words(mark)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_closed_tuesday_and_wednesday_of_the_manual() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let calendar = ServiceCalendar {
            first: day("2026-09-14"),
            last: day("2027-06-08"),
            weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
            weekdays_from: std::collections::BTreeMap::new(),
            closed: BTreeSet::from([day("2026-10-13"), day("2026-10-14")]),
        };
        let explain = |at: &str, marks: &Marks| {
            let at: DateTime<Utc> = at.parse().unwrap();
            let (window, request, mut steps) = (Window::default(), Request::Phone(Choice::Cancel), Vec::new());
            let decision = decide_step_by_step(at, &window, request, &calendar, marks, &mut |s| steps.push(s));
            let words = in_words(at, &window, request, decision, &steps);
            format!("{}\n{}", words.steps.join("\n"), words.conclusion)
        };
        let cancelled = Marks { cancelled: BTreeSet::from([day("2026-10-15")]), ..Marks::default() };
        insta::assert_snapshot!(
            [
                explain("2026-10-12T16:30:00Z", &Marks::default()),
                explain("2026-10-12T16:30:00Z", &cancelled),
                explain("2026-10-12T15:30:00Z", &Marks::default()),
                explain("2027-06-08T16:30:00Z", &Marks::default()),
            ]
            .join("\n\n")
        );
    }
}

//! The rule: the only place that decides which day an operation falls on and whether it stands (R2–R6).

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    Channel, Choice, Reason,
    calendar::{NoService, ServiceCalendar},
    marks::{Marks, Suspension},
    window::Window,
};

/// What is asked, on which channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// On the phone the rule finds the day; a suspension is open-ended (R3, R4).
    Phone(Choice),
    /// On the web the day is chosen (R5).
    Web {
        /// What.
        choice: Choice,
        /// The chosen day.
        day: NaiveDate,
        /// Last day of a suspension, `None` for open-ended; not looked at for other choices.
        until: Option<NaiveDate>,
    },
    /// The office does it on the family's behalf: as on the web.
    Office {
        /// What.
        choice: Choice,
        /// The chosen day.
        day: NaiveDate,
        /// Last day of a suspension, `None` for open-ended; not looked at for other choices.
        until: Option<NaiveDate>,
        /// The day may be changed after its cut-off: the office has written down why.
        late: bool,
    },
}

impl Request {
    /// What is asked for.
    pub fn choice(&self) -> Choice {
        match *self {
            Self::Phone(choice) | Self::Web { choice, .. } | Self::Office { choice, .. } => choice,
        }
    }

    /// The channel it came in on.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Phone(_) => Channel::Phone,
            Self::Web { .. } => Channel::Web,
            Self::Office { .. } => Channel::Office,
        }
    }

    /// Last day of a suspension, where one was given.
    pub fn until(&self) -> Option<NaiveDate> {
        match *self {
            Self::Phone(_) => None,
            Self::Web { until, .. } | Self::Office { until, .. } => until,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stands: `marks` is what stands from now on.
    Accepted {
        /// The day it falls on.
        day: NaiveDate,
        /// The child's marks after it.
        marks: Marks,
    },
    /// Nothing changes.
    Refused {
        /// Why.
        reason: Reason,
        /// The day it would have fallen on, where the rule got that far.
        day: Option<NaiveDate>,
    },
}

/// One step of a decision, for `explain` and for the office's "perché è stata rifiutata?" (O6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The local time at which it is judged, and the day from which the search starts (`None`: outside the window).
    Window {
        /// First day looked at.
        search_from: Option<NaiveDate>,
    },
    /// A day the search passed over.
    Skipped {
        /// The day.
        day: NaiveDate,
        /// Why there is no service on it.
        why: NoService,
    },
    /// The day on which the operation falls (phone) or that was chosen (web).
    Day {
        /// The day.
        day: NaiveDate,
    },
    /// The chosen day has no service.
    NotServed {
        /// The day.
        day: NaiveDate,
        /// Why.
        why: NoService,
    },
    /// Whether the chosen day can still be changed.
    Cutoff {
        /// The day.
        day: NaiveDate,
        /// Still before its cut-off.
        open: bool,
    },
    /// A suspension that covers the day.
    Under {
        /// The suspension.
        suspension: Suspension,
    },
    /// A mark that stands on the day.
    Mark {
        /// The mark: `Cancel` or `White`.
        mark: Choice,
    },
}

/// Decides. `at` is the instant at which the change is committed (R7).
pub fn decide(at: DateTime<Utc>, window: &Window, request: Request, calendar: &ServiceCalendar, marks: &Marks) -> Decision {
    decide_step_by_step(at, window, request, calendar, marks, &mut |_| {})
}

/// As [`decide`], telling each step.
pub fn decide_step_by_step(
    at: DateTime<Utc>,
    window: &Window,
    request: Request,
    calendar: &ServiceCalendar,
    marks: &Marks,
    tell: &mut dyn FnMut(Step),
) -> Decision {
    let found = match request {
        Request::Phone(_) => day_by_phone(at, window, calendar, tell).map(|day| (day, None)),
        Request::Web { choice, day, until } => day_on_web(at, window, calendar, choice, day, until, false, tell).map(|()| (day, until)),
        Request::Office { choice, day, until, late } => {
            day_on_web(at, window, calendar, choice, day, until, late, tell).map(|()| (day, until))
        }
    };
    match found {
        Ok((day, until)) => match change(request.choice(), day, until, marks, tell) {
            Ok(marks) => Decision::Accepted { day, marks },
            Err(reason) => Decision::Refused { reason, day: Some(day) },
        },
        Err((reason, day)) => Decision::Refused { reason, day },
    }
}

type Refusal = (Reason, Option<NaiveDate>);

fn day_by_phone(at: DateTime<Utc>, window: &Window, calendar: &ServiceCalendar, tell: &mut dyn FnMut(Step)) -> Result<NaiveDate, Refusal> {
    let search_from = window.search_start(at);
    tell(Step::Window { search_from });
    let start = search_from.ok_or((Reason::OutsideWindow, None))?;
    let mut day = start.max(calendar.first);
    while day <= calendar.last {
        match calendar.no_service(day) {
            None => {
                tell(Step::Day { day });
                return Ok(day);
            }
            Some(why) => tell(Step::Skipped { day, why }),
        }
        let Some(next) = day.succ_opt() else { break };
        day = next;
    }
    Err((Reason::NoServiceDay, None))
}

#[expect(clippy::too_many_arguments, reason = "what the web and the office have in common")]
fn day_on_web(
    at: DateTime<Utc>,
    window: &Window,
    calendar: &ServiceCalendar,
    choice: Choice,
    day: NaiveDate,
    until: Option<NaiveDate>,
    late: bool,
    tell: &mut dyn FnMut(Step),
) -> Result<(), Refusal> {
    if let Some(why) = calendar.no_service(day) {
        tell(Step::NotServed { day, why });
        return Err((Reason::NotAServiceDay, Some(day)));
    }
    tell(Step::Day { day });
    let open = window.day_is_open(day, at);
    tell(Step::Cutoff { day, open });
    if !open && !late {
        return Err((Reason::TooLate, Some(day)));
    }
    if choice == Choice::Suspend && until.is_some_and(|until| until < day) {
        return Err((Reason::InvalidRange, Some(day)));
    }
    Ok(())
}

/// What stands after an operation that was accepted for `day`: replays the record (R10).
pub fn replay(choice: Choice, day: NaiveDate, until: Option<NaiveDate>, marks: &Marks) -> Result<Marks, Reason> {
    change(choice, day, until, marks, &mut |_| {})
}

/// The change that `choice` makes on `day`, or why it makes none (design §3, R6).
fn change(choice: Choice, day: NaiveDate, until: Option<NaiveDate>, marks: &Marks, tell: &mut dyn FnMut(Step)) -> Result<Marks, Reason> {
    let covering = marks.suspensions.covering(day);
    if let Some(suspension) = covering {
        tell(Step::Under { suspension: *suspension });
    }
    let (cancelled, white) = (marks.cancelled.contains(&day), marks.white.contains(&day));
    for (stands, mark) in [(cancelled, Choice::Cancel), (white, Choice::White)] {
        if stands {
            tell(Step::Mark { mark });
        }
    }
    let mut after = marks.clone();
    match choice {
        Choice::Cancel | Choice::White | Choice::Undo if covering.is_some() => return Err(Reason::Suspended),
        Choice::Cancel if cancelled => return Err(Reason::AlreadyCancelled),
        Choice::White if white => return Err(Reason::AlreadyWhite),
        Choice::Undo if !cancelled && !white => return Err(Reason::NothingToUndo),
        Choice::Cancel => {
            after.cancelled.insert(day);
            after.white.remove(&day);
        }
        Choice::White => {
            after.white.insert(day);
            after.cancelled.remove(&day);
        }
        Choice::Undo => {
            after.cancelled.remove(&day);
            after.white.remove(&day);
        }
        Choice::Suspend => {
            after.suspensions = marks.suspensions.union(Suspension { first: day, last: until });
            if after.suspensions == marks.suspensions {
                return Err(Reason::AlreadySuspended);
            }
        }
        Choice::Resume if covering.is_none() => return Err(Reason::NotSuspended),
        Choice::Resume => after.suspensions = marks.suspensions.resumed(day),
    }
    Ok(after)
}

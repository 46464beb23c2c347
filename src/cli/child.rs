//! `voceguida child CODE`: what stands on each day.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context;
use chrono::{Days, NaiveDate};
use serde_json::json;

use super::place::Place;
use crate::{
    canteen::{DayState, calendar::NoService, code::ChildCode},
    desk::{
        child::{ChildView, DayView},
        explain::{choice_in_words, day_in_words, reason_in_words},
    },
    store::{Ente, StoredOperation, Verdict},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The child's keypad code.
    code: String,
    /// First day, YYYY-MM-DD; today where not given.
    #[arg(long)]
    from: Option<NaiveDate>,
    /// Last day; two weeks where not given.
    #[arg(long)]
    to: Option<NaiveDate>,
    /// For programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Shows the child.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let code = ChildCode::parse(&args.code).context("that is no code")?;
    let (desk, ente) = args.place.open().await?;
    let child = desk.child_by_code(ente.id, &code).await?;
    let (window, now) = desk.window(ente.id).await?;
    let first = args.from.unwrap_or_else(|| window.local(now).date());
    let last = args.to.unwrap_or_else(|| first.checked_add_days(Days::new(13)).unwrap_or(first));
    let view = desk.view_child(child, first, last).await?;
    if args.json {
        println!("{}", as_json(&view));
    } else {
        print!("{}", as_text(&view, &ente));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(view: &ChildView) -> serde_json::Value {
    json!({
        "child": { "last_name": view.child.last_name, "first_name": view.child.first_name,
                   "school": view.child.school, "class": view.child.class, "diet": view.child.diet },
        "days": view.days.iter().map(|d| json!({ "day": d.day, "state": d.state })).collect::<Vec<_>>(),
        "operations": view.operations.iter().map(operation_as_json).collect::<Vec<_>>(),
    })
}

fn operation_as_json(operation: &StoredOperation) -> serde_json::Value {
    let (decision, reason, day) = match operation.verdict {
        Verdict::Accepted(day) => ("accepted", json!(null), Some(day)),
        Verdict::Refused(reason, day) => ("refused", json!(reason), day),
        Verdict::DayChanged(day) => ("refused", json!("day_changed"), Some(day)),
    };
    json!({ "receipt": operation.receipt, "at": operation.at, "channel": operation.channel, "option": operation.choice,
            "until": operation.until, "decision": decision, "reason": reason, "day": day })
}

fn as_text(view: &ChildView, ente: &Ente) -> String {
    let child = &view.child;
    let mut text = format!("{} {}, {}, classe {}, dieta {}\n\n", child.last_name, child.first_name, child.school, child.class, child.diet);
    for day in &view.days {
        let _ = writeln!(text, "  {:<28} {}", day_in_words(day.day), state_in_words(*day));
    }
    if !view.operations.is_empty() {
        text.push_str("\nOperazioni:\n");
    }
    for operation in &view.operations {
        let at = ente.window.local(operation.at).format("%d/%m/%Y %H:%M:%S");
        let what = match operation.verdict {
            Verdict::Accepted(day) => format!("accolta per {}", day_in_words(day)),
            Verdict::Refused(reason, day) => format!("rifiutata: {}", reason_in_words(reason, day, &ente.window)),
            Verdict::DayChanged(day) => format!("non eseguita: il primo giorno utile era diventato {}", day_in_words(day)),
        };
        let choice = choice_in_words(operation.choice);
        let _ = writeln!(text, "  {at}  ricevuta {:<7} {:<6} {choice}: {what}", operation.receipt, operation.channel);
    }
    text
}

fn state_in_words(day: DayView) -> &'static str {
    match (day.state, day.no_service) {
        (DayState::Served, _) => "pasto previsto",
        (DayState::Cancelled, _) => "pasto disdetto",
        (DayState::White, _) => "pasto in bianco",
        (DayState::Suspended, _) => "servizio sospeso",
        (DayState::NoService, Some(NoService::OutsideTerm)) => "– fuori dal periodo di servizio",
        (DayState::NoService, Some(NoService::NoReturn)) => "– nessun rientro",
        (DayState::NoService, _) => "– servizio non erogato",
    }
}

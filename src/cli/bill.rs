//! `voceguida bill`: look at a month, or issue its notices.

use std::process::ExitCode;

use anyhow::Context;

use super::place::Place;
use crate::{
    billing::{Cents, Month, settings::BillingSettings},
    desk::{
        billing::run::{AT_ONCE, Issued, Order, Preview, Progress},
        trail::Actor,
    },
    ops::config::Config,
    store::Ente,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The month, YYYY-MM.
    #[arg(value_name = "MONTH")]
    month: Month,
    /// Only look: totals and oddities. Writes nothing.
    #[arg(long, conflicts_with = "issue", required_unless_present = "issue")]
    dry_run: bool,
    /// Issue the notices; run it again where it broke off.
    #[arg(long)]
    issue: bool,
    /// Amounts below the threshold too: at the end of the school year.
    #[arg(long)]
    also_small: bool,
    /// Payers in one transaction.
    #[arg(long, default_value_t = AT_ONCE, hide = true)]
    at_once: usize,
    #[command(flatten)]
    place: Place,
}

/// The ente's terms.
pub(super) fn settings<'a>(config: Option<&'a Config>, ente: &Ente) -> anyhow::Result<&'a BillingSettings> {
    let section = config.and_then(|config| config.ente.iter().map(serde_spanned::Spanned::get_ref).find(|e| e.slug == ente.slug));
    section.and_then(|section| section.billing()).with_context(|| {
        format!("{} does not bill: its [[ente]] needs a section [ente.billing] (deploy/voceguida.example.toml)", ente.slug)
    })
}

/// Looks, or issues.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente, config) = args.place.open_with_config().await?;
    let settings = settings(config.as_ref(), &ente)?;
    let order = Order { month: args.month, settings, also_small: args.also_small, at_once: args.at_once };
    if args.issue {
        let issued = desk.issue_month(&Actor::command_line(ente.id), &order, progress).await?;
        print_issued(args.month, &issued)?;
    } else {
        let preview = desk.look_at_month(ente.id, &order, progress).await?;
        print_preview(args.month, &preview)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn progress(at: Progress) {
    match at {
        Progress::Reading => eprintln!("Leggo pasti, tariffe e avvisi già emessi…"),
        Progress::Reckoning(children) => eprintln!("Calcolo {children} bambini…"),
        Progress::Writing(done, all) => eprintln!("{done} di {all} conti"),
    }
}

fn print_preview(month: Month, preview: &Preview) -> anyhow::Result<()> {
    let t = &preview.totals;
    println!("Prova di {month}: non è stato scritto nulla.");
    if !preview.month_is_over {
        println!("Il mese non è ancora finito: gli importi cambieranno.");
    }
    println!("Avvisi: {} per {} ({} pasti; {} rettifiche per {})", t.notices, t.issued, t.meals, t.adjustments, t.adjusted);
    println!("Riportati al prossimo mese: {}", t.carried()?);
    for (held, (payers, amount)) in &t.held {
        println!("  {payers} per {amount}: {}", held.in_words());
    }
    for (odd, notices) in &t.odd {
        println!("Da guardare: {notices} avvisi: {}", odd.in_words());
    }
    print_left_out(t.no_payer, t.no_tariff);
    println!("Dovuto in tutto {}, già emesso {}.", t.due, t.billed);
    Ok(())
}

fn print_left_out(no_payer: (usize, Cents), no_tariff: (usize, u64)) {
    if no_payer.0 > 0 {
        println!("Da completare: {} bambini senza nessuno che paghi, per {}", no_payer.0, no_payer.1);
    }
    if no_tariff.0 > 0 {
        println!("Da completare: {} bambini senza tariffa, per {} giorni", no_tariff.0, no_tariff.1);
    }
}

fn print_issued(month: Month, issued: &Issued) -> anyhow::Result<()> {
    let how = if issued.resumed { " (ripresa da dove si era interrotta)" } else { "" };
    println!("Emissione di {month}{how}: {} avvisi per {}.", issued.notices, issued.total);
    let carried = Cents::sum(issued.carried.iter().map(|(.., amount)| *amount))?;
    println!("Riportati al prossimo mese: {carried}");
    for (held, payers, amount) in &issued.carried {
        println!("  {payers} per {amount}: {}", held.in_words());
    }
    print_left_out(issued.no_payer, issued.no_tariff);
    Ok(())
}

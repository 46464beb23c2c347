//! The monthly run: looked at first, then issued.

use std::collections::HashMap;

use chrono::{Datelike as _, Days, NaiveDate, TimeDelta};
use serde_json::json;

use super::{
    BillError,
    load::{Picture, picture},
};
use crate::{
    billing::{
        Cents, Month, NoticeNumber,
        account::{Account, Reckoning, reckon},
        outcome::{Held, Outcome, Payer, Totals, outcome},
        price::Basis,
        settings::BillingSettings,
        world::World,
    },
    canteen::{EnteId, fiscal_code::FiscalCode},
    desk::{
        Desk, DeskError, ente_of,
        trail::{Actor, Subject, record},
    },
    store::{BilledAdult, NewNotice, OutcomeRow, RunRow, Tx},
};

/// For how long a run that is not heard of is left alone: longer than a picture takes to read.
const HOLD: TimeDelta = TimeDelta::seconds(30);
/// Payers settled in one transaction, where nothing else is told: a caller on the line waits for it no longer than a moment.
pub const AT_ONCE: usize = 500;
/// The longest subject that a notice prints.
const SUBJECT: usize = 60;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The month.
    pub month: Month,
    /// The ente's terms.
    pub settings: &'a BillingSettings,
    /// Amounts below the threshold too: the last run of a school year.
    pub also_small: bool,
    /// Payers in one transaction.
    pub at_once: usize,
}

impl Order<'_> {
    fn threshold(&self) -> Cents {
        if self.also_small { Cents(1) } else { self.settings.threshold }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It reads.
    Reading,
    /// It reckons so many children.
    Reckoning(usize),
    /// Of so many payers so many are settled.
    Writing(usize, usize),
}

/// What a run has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The run.
    pub run: i64,
    /// It went on where another one had broken off.
    pub resumed: bool,
    /// Notices that it issued, in all.
    pub notices: i64,
    /// What they ask for.
    pub total: Cents,
    /// What waits: why, how many payers, how much.
    pub carried: Vec<(Held, i64, Cents)>,
    /// Children without a payer, and what is due for them.
    pub no_payer: (usize, Cents),
    /// Children without a tariff, and their days.
    pub no_tariff: (usize, u64),
}

/// A look at a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Totals and oddities.
    pub totals: Totals,
    /// Is the month over? Before, amounts still change.
    pub month_is_over: bool,
}

impl Desk {
    /// What issuing the month would come to now; writes nothing.
    ///
    /// # Errors
    /// [`BillError`]
    pub async fn look_at_month(&self, ente: EnteId, order: &Order<'_>, mut told: impl FnMut(Progress)) -> Result<Preview, BillError> {
        told(Progress::Reading);
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let (first, last) = span(order.settings.first_day, order.month)?;
        let Picture { world, payers, .. } = picture(&mut tx, ente, &window, first, last).await?;
        drop(tx);
        told(Progress::Reckoning(world.children.len()));
        let reckoning = reckoned(world, first, last).await?;
        let nobody = Payer::default();
        let totals = Totals::of(&reckoning, |id| payers.get(&id).unwrap_or(&nobody), order.threshold())?;
        Ok(Preview { totals, month_is_over: last < window.local(now).date() })
    }

    /// Issues the month's notices, or goes on where a run of the month broke off.
    ///
    /// # Errors
    /// [`BillError`]; what was committed by then stays, and is gone on from.
    pub async fn issue_month(&self, actor: &Actor, order: &Order<'_>, mut told: impl FnMut(Progress)) -> Result<Issued, BillError> {
        let ente = actor.ente;
        self.close_days(ente, Some(order.month.last()), |_, _| {}).await?;
        let (run, resumed) = self.take_run(actor, order).await?;
        let done = self.settle(ente, order, &run, &mut told).await;
        let (no_payer, no_tariff) = match done {
            Ok(left_out) => left_out,
            Err(error) => {
                self.let_go(ente, &run).await;
                return Err(error);
            }
        };
        self.end_run(actor, order, &run, resumed, no_payer, no_tariff).await
    }

    /// Begins a run, or takes the one over that broke off.
    async fn take_run(&self, actor: &Actor, order: &Order<'_>) -> Result<(RunRow, bool), BillError> {
        let mut tx = self.db.write().await?;
        tx.bill_alone(actor.ente).await?;
        let now = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, actor.ente).await?.window.local(now).date();
        let (first_day, last) = span(order.settings.first_day, order.month)?;
        if last >= today {
            return Err(BillError::NotOver(order.month));
        }
        let holder = uuid::Uuid::new_v4().to_string();
        let held_until = now + HOLD;
        let mut resumed = true;
        let run = match tx.run_under_way(actor.ente).await? {
            Some(run) if run.held_until > now => return Err(BillError::Busy(run.held_until)),
            Some(run) if run.month != order.month.first() => return Err(BillError::Unfinished(Month::of(run.month))),
            Some(run) => {
                tx.hold_run(run.id, &holder, held_until).await?;
                RunRow { holder, held_until, ..run }
            }
            None => {
                resumed = false;
                let mut run = RunRow {
                    id: 0,
                    month: order.month.first(),
                    first_day,
                    threshold_cents: order.threshold().0,
                    issued_on: today,
                    due_day: today.checked_add_days(Days::new(order.settings.due_days.into())).unwrap_or(today),
                    actor: actor.name.clone(),
                    started_at: now,
                    holder,
                    held_until,
                    ended_at: None,
                };
                run.id = tx.add_run(actor.ente, &run).await?;
                run
            }
        };
        tx.commit().await?;
        Ok((run, resumed))
    }

    /// Settles every account that the run has not settled yet; gives what no account could be made of.
    async fn settle(
        &self,
        ente: EnteId,
        order: &Order<'_>,
        run: &RunRow,
        told: &mut impl FnMut(Progress),
    ) -> Result<((usize, Cents), (usize, u64)), BillError> {
        told(Progress::Reading);
        let mut tx = self.db.read().await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let settled = tx.settled_by(run.id).await?;
        let last = order.month.last();
        let Picture { world, people, payers } = picture(&mut tx, ente, &window, run.first_day, last).await?;
        drop(tx);
        told(Progress::Reckoning(world.children.len()));
        let (reckoning, world) = reckoned_keeping(world, run.first_day, last).await?;
        let people: HashMap<i64, BilledAdult> = people.into_iter().map(|adult| (adult.id, adult)).collect();
        let left: Vec<(i64, &Account)> =
            reckoning.accounts.iter().filter(|(id, _)| !settled.contains(id)).map(|(id, a)| (*id, a)).collect();
        let mut clerk = Clerk { ente, order, run, world: &world, people: &people, payers: &payers, bases: HashMap::new() };
        let mut written = 0;
        told(Progress::Writing(0, left.len()));
        for accounts in left.chunks(order.at_once.max(1)) {
            let mut tx = self.db.write().await?;
            tx.bill_alone(ente).await?;
            // Read under the lock: whoever has taken the run over since wrote its own name there.
            let mine = tx.run_under_way(ente).await?.is_some_and(|now| now.id == run.id && now.holder == run.holder);
            if !mine {
                return Err(BillError::TakenOver);
            }
            let now = tx.instant(&self.clock).await?;
            clerk.settle(&mut tx, accounts).await?;
            tx.hold_run(run.id, &run.holder, now + HOLD).await?;
            tx.commit().await?;
            written += accounts.len();
            told(Progress::Writing(written, left.len()));
        }
        let no_payer = (reckoning.no_payer.len(), Cents::sum(reckoning.no_payer.values().copied())?);
        let no_tariff = (reckoning.no_tariff.len(), reckoning.no_tariff.values().map(|days| u64::from(*days)).sum());
        Ok((no_payer, no_tariff))
    }

    /// A run that failed need not be waited for. If this fails too, it is over after a while.
    async fn let_go(&self, ente: EnteId, run: &RunRow) {
        let Ok(mut tx) = self.db.write().await else { return };
        let released = async {
            tx.bill_alone(ente).await?;
            let mine = tx.run_under_way(ente).await?.is_some_and(|now| now.id == run.id && now.holder == run.holder);
            if mine {
                tx.hold_run(run.id, &run.holder, run.started_at).await?;
            }
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, run = run.id, "a run that failed is held until its time is over");
        }
    }

    async fn end_run(
        &self,
        actor: &Actor,
        order: &Order<'_>,
        run: &RunRow,
        resumed: bool,
        no_payer: (usize, Cents),
        no_tariff: (usize, u64),
    ) -> Result<Issued, BillError> {
        let mut tx = self.db.write().await?;
        tx.bill_alone(actor.ente).await?;
        let mine = tx.run_under_way(actor.ente).await?.is_some_and(|now| now.id == run.id && now.holder == run.holder);
        if !mine {
            return Err(BillError::TakenOver);
        }
        let now = tx.instant(&self.clock).await?;
        let (notices, total) = tx.run_totals(run.id).await?;
        let mut carried = Vec::new();
        for (word, payers, cents) in tx.run_carried(run.id).await? {
            let held = Held::ALL.into_iter().find(|held| held.word() == word);
            carried.extend(held.map(|held| (held, payers, Cents(cents))));
        }
        let waiting: Vec<_> = carried.iter().map(|(held, payers, cents)| json!([held.word(), payers, cents])).collect();
        let summary = json!({
            "notices": notices, "total": total, "carried": waiting,
            "no_payer": [no_payer.0, no_payer.1], "no_tariff": [no_tariff.0, no_tariff.1],
        });
        tx.end_run(run.id, now, &summary.to_string()).await?;
        let name = format!("avvisi di {}", order.month);
        let subject = Subject { kind: "emissione", id: Some(run.id), name: &name };
        let after = json!({ "avvisi": notices, "importo": Cents(total).to_string() });
        record(&mut tx, now, actor, "ha emesso gli avvisi di pagamento", subject, None, Some(after)).await?;
        tx.commit().await?;
        Ok(Issued { run: run.id, resumed, notices, total: Cents(total), carried, no_payer, no_tariff })
    }
}

/// Writes accounts down.
struct Clerk<'a> {
    ente: EnteId,
    order: &'a Order<'a>,
    run: &'a RunRow,
    world: &'a World,
    people: &'a HashMap<i64, BilledAdult>,
    payers: &'a HashMap<i64, Payer>,
    /// Rows of bases: written down once, used by many lines.
    bases: HashMap<Basis, i64>,
}

impl Clerk<'_> {
    async fn settle(&mut self, tx: &mut Tx, accounts: &[(i64, &Account)]) -> Result<(), BillError> {
        let year = self.run.issued_on.year();
        let mut number = tx.last_number(self.ente, year).await?;
        let subject = subject(self.order.month);
        for (id, account) in accounts {
            let nobody = Payer::default();
            let payer = self.payers.get(id).unwrap_or(&nobody);
            let Some(becomes) = outcome(account, payer, Cents(self.run.threshold_cents))? else { continue };
            let (carried, held) = match becomes {
                Outcome::Issue(amount) => {
                    number += 1;
                    self.issue(tx, *id, account, amount, (year, number), &subject).await?;
                    (Cents::ZERO, None)
                }
                Outcome::Carry(amount, held) => (amount, Some(held.word().to_owned())),
            };
            let row = OutcomeRow {
                run_id: self.run.id,
                guardian_id: *id,
                due_cents: account.due.0,
                billed_cents: account.billed.0,
                carried_cents: carried.0,
                held,
                issued_cents: None,
            };
            tx.add_outcome(&row).await?;
        }
        Ok(())
    }

    async fn issue(
        &mut self,
        tx: &mut Tx,
        id: i64,
        account: &Account,
        total: Cents,
        number: (i32, i64),
        subject: &str,
    ) -> Result<(), BillError> {
        let settings = self.order.settings;
        let Some(adult) = self.people.get(&id) else { return Err(DeskError::NoChild.into()) };
        // A code that is typed with spaces is asked for without: `outcome` has read it.
        let fiscal_code =
            adult.fiscal_code.as_deref().and_then(|code| code.parse::<FiscalCode>().ok()).map(String::from).unwrap_or_default();
        let name = format!("{} {}", adult.first_name, adult.last_name);
        let notice = NewNotice {
            ente: self.ente,
            run: self.run.id,
            guardian: id,
            number,
            creditor: settings.creditor.as_str(),
            notice_number: NoticeNumber::of(settings.segregation, settings.series, number.0, number.1)?,
            subject,
            total,
            issued_on: self.run.issued_on,
            due_day: self.run.due_day,
            debtor: (name.trim(), &fiscal_code, adult.address.as_deref()),
        };
        let notice = tx.add_notice(&notice).await?;
        for line in &account.lines {
            let basis = match line.key.basis {
                Some(basis) => Some(self.basis_row(tx, basis).await?),
                None => None,
            };
            tx.add_notice_line(notice, line, line.total()?, basis).await?;
        }
        Ok(())
    }

    /// The row of a basis, written down at its first use.
    async fn basis_row(&mut self, tx: &mut Tx, basis: Basis) -> Result<i64, BillError> {
        if let Some(row) = self.bases.get(&basis) {
            return Ok(*row);
        }
        let row = tx.put_basis(basis, &self.world.prices.price(basis)?).await?;
        self.bases.insert(basis, row);
        Ok(row)
    }
}

/// "Mensa scolastica: pasti di ottobre 2026".
fn subject(month: Month) -> String {
    format!("Mensa scolastica: pasti di {month}").chars().take(SUBJECT).collect()
}

/// First and last day that a run of the month looks at.
fn span(first_day: NaiveDate, month: Month) -> Result<(NaiveDate, NaiveDate), BillError> {
    if month.last() < first_day { Err(BillError::TooEarly(month)) } else { Ok((first_day, month.last())) }
}

/// Reckons on a thread of its own: it takes a processor for a second or two.
pub(super) async fn reckoned(world: World, first: NaiveDate, last: NaiveDate) -> Result<Reckoning, BillError> {
    Ok(reckoned_keeping(world, first, last).await?.0)
}

async fn reckoned_keeping(world: World, first: NaiveDate, last: NaiveDate) -> Result<(Reckoning, World), BillError> {
    let done = tokio::task::spawn_blocking(move || reckon(&world, first, last).map(|reckoning| (reckoning, world))).await;
    Ok(done.map_err(|_| BillError::Broken)??)
}

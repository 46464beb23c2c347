//! `voceguida check`: do the accounts balance?

use std::collections::BTreeMap;

use super::{
    BillError,
    load::{Picture, picture},
    run::reckoned,
};
use crate::{
    billing::{Cents, DaySet, Month, NoticeNumber},
    canteen::EnteId,
    desk::{Desk, ente_of},
};

/// What the accounts of an ente came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Balance {
    /// Payers looked at.
    pub payers: usize,
    /// Notices issued, and what they ask for.
    pub notices: u64,
    /// What they ask for together.
    pub issued: Cents,
    /// What is due and has not been issued yet, up to the last month that was billed.
    pub open: Cents,
    /// What does not balance, in Italian.
    pub wrong: Vec<String>,
}

impl Desk {
    /// Proves the accounts of an ente: notices are numbered without gaps, lines add up to their notices, days to their lines, every account of every
    /// run to what was issued or carried; and for each payer what is due today is what was issued plus what is open. Reads only.
    ///
    /// # Errors
    /// [`BillError`]
    pub async fn balance(&self, ente: EnteId) -> Result<Balance, BillError> {
        let mut tx = self.db.read().await?;
        let mut wrong = Vec::new();
        for (school, day, told, recorded) in tx.miscounted_days(ente).await? {
            wrong.push(format!("{school}, {day}: {told} pasti contati, {recorded} registrati"));
        }
        for (year, count, lowest, highest) in tx.numbering_gaps(ente).await? {
            wrong.push(format!("{year}: {count} avvisi, numerati da {lowest} a {highest}"));
        }
        for (year, number, total, lines) in tx.unbalanced_notices(ente).await? {
            wrong.push(format!("avviso {number}/{year}: {}, ma le righe fanno {}", Cents(total), Cents(lines)));
        }
        for o in tx.unbalanced_outcomes(ente).await? {
            let (due, billed, carried) = (Cents(o.due_cents), Cents(o.billed_cents), Cents(o.carried_cents));
            let issued = o.issued_cents.map_or_else(|| "nessun avviso".to_owned(), |cents| Cents(cents).to_string());
            wrong.push(format!(
                "emissione {}, adulto {}: dovuto {due} − già emesso {billed}, ma avviso: {issued}, riportato: {carried}",
                o.run_id, o.guardian_id
            ));
        }
        let mut after = 0;
        loop {
            let page = tx.line_days(ente, after).await?;
            let Some((last, ..)) = page.last() else { break };
            after = *last;
            for (_, days, quantity, year, number) in page {
                if DaySet::from_bits(days).is_none_or(|days| i64::from(days.len()) != quantity) {
                    wrong.push(format!("avviso {number}/{year}: una riga non ha tanti giorni quanti ne conta"));
                }
            }
        }
        let (mut after, mut notices) = (0, 0);
        loop {
            let page = tx.notice_numbers(ente, after).await?;
            let Some((last, ..)) = page.last() else { break };
            after = *last;
            notices += page.len() as u64;
            for (_, year, number, text, iuv) in page {
                match text.parse::<NoticeNumber>() {
                    Ok(read) if read.iuv() == iuv => {}
                    Ok(_) => wrong.push(format!("avviso {number}/{year}: numero avviso e IUV non si corrispondono")),
                    Err(error) => wrong.push(format!("avviso {number}/{year}: {error}")),
                }
            }
        }
        let issued = tx.issued_to(ente).await?;
        let mut balance = Balance { notices, issued: Cents::sum(issued.values().map(|cents| Cents(*cents)))?, wrong, ..Balance::default() };
        let runs = tx.runs(ente).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let first = runs.iter().map(|run| run.first_day).min();
        let last = runs.iter().map(|run| Month::of(run.month).last()).max();
        if let (Some(first), Some(last)) = (first, last) {
            let Picture { world, .. } = picture(&mut tx, ente, &window, first, last).await?;
            drop(tx);
            let reckoning = reckoned(world, first, last).await?;
            balance.payers = reckoning.accounts.len();
            let mut billed: BTreeMap<i64, Cents> = issued.into_iter().map(|(who, cents)| (who, Cents(cents))).collect();
            for (who, account) in &reckoning.accounts {
                let asked = billed.remove(who).unwrap_or_default();
                let open = Cents::sum(account.lines.iter().map(crate::billing::account::NewLine::total).collect::<Result<Vec<_>, _>>()?)?;
                balance.open = balance.open.plus(open)?;
                if account.due != asked.plus(open)? {
                    balance.wrong.push(format!("adulto {who}: dovuto {}, ma emesso {asked} e da emettere {open}", account.due));
                }
            }
            for (who, asked) in billed.into_iter().filter(|(_, asked)| *asked != Cents::ZERO) {
                balance.wrong.push(format!("adulto {who}: emesso {asked}, ma nessuna riga lo spiega"));
            }
        }
        Ok(balance)
    }
}

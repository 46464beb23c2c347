//! Which accounts become notices, which wait, and what looks odd.

use super::{
    Cents,
    account::{Account, Reckoning},
    money::Overflow,
};
use crate::canteen::fiscal_code::FiscalCode;

/// What is known of a payer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payer {
    /// Fiscal code as it stands in the family's data.
    pub fiscal_code: Option<String>,
    /// Is there an e-mail address?
    pub has_email: bool,
    /// The last notice.
    pub last_notice: Option<Cents>,
}

/// Why a payer gets no notice this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Held {
    /// Less than the threshold.
    Small,
    /// Nothing to pay: the family has a credit, or the lines come to nothing.
    Credit,
    /// No fiscal code: pagoPA asks for it (B4).
    NoFiscalCode,
    /// The fiscal code is wrong.
    BadFiscalCode,
}

impl Held {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Small, Self::Credit, Self::NoFiscalCode, Self::BadFiscalCode];

    /// Its word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Credit => "credit",
            Self::NoFiscalCode => "no_fiscal_code",
            Self::BadFiscalCode => "bad_fiscal_code",
        }
    }

    /// In plain Italian.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Small => "importo sotto la soglia",
            Self::Credit => "credito della famiglia, o importo nullo",
            Self::NoFiscalCode => "manca il codice fiscale di chi paga",
            Self::BadFiscalCode => "il codice fiscale di chi paga è errato",
        }
    }
}

/// What becomes of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A notice of that amount.
    Issue(Cents),
    /// Waits for the next run.
    Carry(Cents, Held),
}

/// A notice that looks odd; it is issued all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Odd {
    /// No e-mail address: on paper only.
    NoEmail,
    /// Far from the last notice.
    FarFromLast,
    /// More than a family usually owes for a year.
    Huge,
}

impl Odd {
    /// In plain Italian.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NoEmail => "manca l'indirizzo e-mail: solo su carta",
            Self::FarFromLast => "importo molto diverso dall'ultimo avviso",
            Self::Huge => "importo insolitamente alto",
        }
    }
}

/// More than this is odd.
const HUGE: Cents = Cents(150_000);
/// Changes smaller than this are not odd, whatever their proportion.
const NOT_FAR: i64 = 5_000;

/// What becomes of an account with lines; `None` where there are none.
///
/// # Errors
/// [`Overflow`]
pub fn outcome(account: &Account, payer: &Payer, threshold: Cents) -> Result<Option<Outcome>, Overflow> {
    if account.lines.is_empty() {
        return Ok(None);
    }
    let amount = account.open()?;
    let held = if amount <= Cents::ZERO {
        Some(Held::Credit)
    } else if amount < threshold {
        Some(Held::Small)
    } else {
        match payer.fiscal_code.as_deref().map(str::parse::<FiscalCode>) {
            None => Some(Held::NoFiscalCode),
            Some(Err(_)) => Some(Held::BadFiscalCode),
            Some(Ok(_)) => None,
        }
    };
    Ok(Some(held.map_or(Outcome::Issue(amount), |held| Outcome::Carry(amount, held))))
}

/// What is odd about a notice of that amount.
pub fn oddities(amount: Cents, payer: &Payer) -> Vec<Odd> {
    let far = payer.last_notice.is_some_and(|last| {
        let (less, more) = (amount.0.min(last.0), amount.0.max(last.0));
        more.saturating_sub(less) > NOT_FAR && more > less.saturating_mul(2)
    });
    let found = [(!payer.has_email, Odd::NoEmail), (far, Odd::FarFromLast), (amount > HUGE, Odd::Huge)];
    found.into_iter().filter_map(|(is, odd)| is.then_some(odd)).collect()
}

/// Totals of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Payers who get a notice.
    pub notices: usize,
    /// What is asked for with them.
    pub issued: Cents,
    /// Meals on them, billed for the first time.
    pub meals: u64,
    /// Lines on them that correct what was billed.
    pub adjustments: usize,
    /// What they come to.
    pub adjusted: Cents,
    /// Payers who wait, by why.
    pub held: std::collections::BTreeMap<Held, (usize, Cents)>,
    /// Notices that look odd, by why.
    pub odd: std::collections::BTreeMap<Odd, usize>,
    /// Children without a payer, and what is due for them.
    pub no_payer: (usize, Cents),
    /// Children without a tariff, and their days.
    pub no_tariff: (usize, u64),
    /// All that is due, and all that had been billed before.
    pub due: Cents,
    /// See `due`.
    pub billed: Cents,
}

impl Totals {
    /// The totals of a reckoning whose payers are told by `payer`.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn of<'a>(reckoning: &Reckoning, payer: impl Fn(i64) -> &'a Payer, threshold: Cents) -> Result<Self, Overflow> {
        let mut totals = Self {
            no_payer: (reckoning.no_payer.len(), Cents::sum(reckoning.no_payer.values().copied())?),
            no_tariff: (reckoning.no_tariff.len(), reckoning.no_tariff.values().map(|days| u64::from(*days)).sum()),
            due: Cents::sum(reckoning.accounts.values().map(|a| a.due))?,
            billed: Cents::sum(reckoning.accounts.values().map(|a| a.billed))?,
            ..Self::default()
        };
        for (id, account) in &reckoning.accounts {
            let payer = payer(*id);
            match outcome(account, payer, threshold)? {
                None => {}
                Some(Outcome::Carry(amount, held)) => {
                    let entry = totals.held.entry(held).or_default();
                    *entry = (entry.0 + 1, entry.1.plus(amount)?);
                }
                Some(Outcome::Issue(amount)) => {
                    totals.notices += 1;
                    totals.issued = totals.issued.plus(amount)?;
                    for odd in oddities(amount, payer) {
                        *totals.odd.entry(odd).or_default() += 1;
                    }
                    for line in &account.lines {
                        if line.key.reason.is_some() {
                            totals.adjustments += 1;
                            totals.adjusted = totals.adjusted.plus(line.total()?)?;
                        } else if line.key.item == super::price::Item::Meal {
                            totals.meals += u64::from(line.quantity());
                        }
                    }
                }
            }
        }
        Ok(totals)
    }

    /// What waits for the next run.
    ///
    /// # Errors
    /// [`Overflow`]
    pub fn carried(&self) -> Result<Cents, Overflow> {
        Cents::sum(self.held.values().map(|(_, amount)| *amount))
    }
}

//! Entering what decides a price. Each entry is written with its line in the trail.

use chrono::NaiveDate;
use serde_json::json;

use crate::{
    billing::{
        Cents,
        family::{Isee, Relief, ReliefKind, Shares, SharesError},
        money::Overflow,
        tariff::{SchoolOrder, Tariff, TariffError},
    },
    canteen::{ChildId, EnteId},
    desk::{
        Desk, DeskError,
        trail::{Actor, Subject, record},
    },
    store::{Entered, StoreError, Tx},
};

/// Why something was not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The tariff.
    #[error(transparent)]
    Tariff(#[from] TariffError),
    /// The shares.
    #[error(transparent)]
    Shares(#[from] SharesError),
    /// No such child, adult or school of this ente, or it has been taken back.
    #[error("non c'è, o non è di questo ente")]
    Gone,
    /// The last day is before the first one.
    #[error("l'ultimo giorno viene prima del primo")]
    Days,
    /// A negative or absurd amount.
    #[error("importo fuori da ogni misura")]
    Amount,
    /// A reason is missing or too long.
    #[error("scriva il motivo, in non più di {MOST_WORDS} caratteri")]
    Reason,
}

impl From<StoreError> for EnterError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<Overflow> for EnterError {
    fn from(_: Overflow) -> Self {
        Self::Amount
    }
}

/// The longest name or reason.
pub const MOST_WORDS: usize = 200;
/// The highest ISEE.
const MOST_ISEE: Cents = Cents(10_000_000_000);
/// The highest fixed price of a meal.
const MOST_PRICE: Cents = Cents(100_000);

fn words(text: &str) -> Result<&str, EnterError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MOST_WORDS { Err(EnterError::Reason) } else { Ok(text) }
}

impl Desk {
    /// The ente's schools by short name.
    pub async fn school_codes(&self, ente: EnteId) -> Result<std::collections::BTreeMap<String, i64>, DeskError> {
        Ok(self.db.read().await?.school_codes(ente).await?)
    }

    /// Enters a tariff; gives its row. The row numbers in it are not looked at.
    ///
    /// # Errors
    /// [`EnterError`]
    pub async fn enter_tariff(&self, actor: &Actor, tariff: &Tariff, name: &str) -> Result<i64, EnterError> {
        tariff.check()?;
        let name = words(name)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let schools = tx.school_codes(actor.ente).await?;
        for rate in &tariff.rates {
            if let crate::billing::tariff::Scope::School(school) = rate.scope
                && !schools.values().any(|id| *id == school)
            {
                return Err(EnterError::Gone);
            }
        }
        let id = tx.add_tariff(actor.ente, tariff, name, Entered { at, by: &actor.name }).await?;
        let after = json!({ "da": tariff.valid_from, "righe": tariff.rates.len() });
        note(&mut tx, actor, at, "ha inserito una tariffa", ("tariffa", id, name), after).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Says of which order a school is.
    ///
    /// # Errors
    /// [`EnterError::Gone`]
    pub async fn set_school_order(&self, actor: &Actor, school: i64, order: Option<SchoolOrder>) -> Result<(), EnterError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if !tx.put_school_order(actor.ente, school, order).await? {
            return Err(EnterError::Gone);
        }
        let after = json!({ "ordine": order.map(SchoolOrder::word) });
        note(&mut tx, actor, at, "ha cambiato l'ordine di una scuola", ("scuola", school, "ordine di scuola"), after).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Enters a family's ISEE; gives its row. Its own row number is not looked at.
    ///
    /// # Errors
    /// [`EnterError`]
    pub async fn enter_isee(&self, actor: &Actor, guardian: i64, isee: &Isee) -> Result<i64, EnterError> {
        if isee.first > isee.last {
            return Err(EnterError::Days);
        }
        if !(Cents::ZERO..=MOST_ISEE).contains(&isee.value) {
            return Err(EnterError::Amount);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let id = tx.add_isee(actor.ente, guardian, isee, Entered { at, by: &actor.name }).await?.ok_or(EnterError::Gone)?;
        // The value is nobody's business but the office's: it is not in the trail.
        let after = json!({ "da": isee.first, "a": isee.last, "presentato": isee.filed_on });
        note(&mut tx, actor, at, "ha inserito un ISEE", ("adulto", guardian, "ISEE"), after).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes an ISEE back.
    ///
    /// # Errors
    /// [`EnterError::Gone`]
    pub async fn withdraw_isee(&self, actor: &Actor, id: i64) -> Result<(), EnterError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if !tx.withdraw_isee(actor.ente, id, Entered { at, by: &actor.name }).await? {
            return Err(EnterError::Gone);
        }
        note(&mut tx, actor, at, "ha ritirato un ISEE", ("ISEE", id, "ISEE"), json!({})).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Enters a relief; gives its row. Its own row number is not looked at.
    ///
    /// # Errors
    /// [`EnterError`]
    pub async fn enter_relief(&self, actor: &Actor, child: ChildId, relief: &Relief) -> Result<i64, EnterError> {
        words(&relief.reason)?;
        if relief.last.is_some_and(|last| last < relief.first) {
            return Err(EnterError::Days);
        }
        if matches!(relief.kind, ReliefKind::FixedPrice(price) if !(Cents::ZERO..=MOST_PRICE).contains(&price)) {
            return Err(EnterError::Amount);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let id = tx.add_relief(actor.ente, child, relief, Entered { at, by: &actor.name }).await?.ok_or(EnterError::Gone)?;
        let after = json!({ "da": relief.first, "a": relief.last });
        note(&mut tx, actor, at, "ha inserito un'agevolazione", ("bambino", child.0, "agevolazione"), after).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes a relief back.
    ///
    /// # Errors
    /// [`EnterError::Gone`]
    pub async fn withdraw_relief(&self, actor: &Actor, id: i64) -> Result<(), EnterError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if !tx.withdraw_relief(actor.ente, id, Entered { at, by: &actor.name }).await? {
            return Err(EnterError::Gone);
        }
        note(&mut tx, actor, at, "ha ritirato un'agevolazione", ("agevolazione", id, "agevolazione"), json!({})).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Enters whether a child lives in the comune, from a day on.
    ///
    /// # Errors
    /// [`EnterError::Gone`]
    pub async fn enter_residence(&self, actor: &Actor, child: ChildId, first: NaiveDate, resident: bool) -> Result<(), EnterError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if !tx.add_residence(actor.ente, child, first, resident, Entered { at, by: &actor.name }).await? {
            return Err(EnterError::Gone);
        }
        let after = json!({ "da": first, "residente": resident });
        note(&mut tx, actor, at, "ha inserito la residenza di un bambino", ("bambino", child.0, "residenza"), after).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Enters who pays for a child from a day on. The entry's own row number is not looked at.
    ///
    /// # Errors
    /// [`EnterError`]
    pub async fn enter_shares(&self, actor: &Actor, child: ChildId, shares: &Shares) -> Result<(), EnterError> {
        Shares::check(&shares.shares)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if !tx.add_shares(actor.ente, child, shares, Entered { at, by: &actor.name }).await? {
            return Err(EnterError::Gone);
        }
        let parts: Vec<_> = shares.shares.iter().map(|(who, share)| json!([who, share.to_string()])).collect();
        let after = json!({ "da": shares.first, "quote": parts });
        note(&mut tx, actor, at, "ha cambiato chi paga per un bambino", ("bambino", child.0, "quote di pagamento"), after).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn note(
    tx: &mut Tx,
    actor: &Actor,
    at: chrono::DateTime<chrono::Utc>,
    action: &'static str,
    (kind, id, name): (&'static str, i64, &str),
    after: serde_json::Value,
) -> Result<(), DeskError> {
    record(tx, at, actor, action, Subject { kind, id: Some(id), name }, None, Some(after)).await
}

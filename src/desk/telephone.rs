//! The desk as the telephone line sees it.

use chrono::NaiveDate;

use super::{
    Desk, DeskError, ente_of,
    guard::Typed,
    line::{Caller, DayOutlook, DeskUnavailable, Identification, Identified, LineDesk, LineHours, LineOutcome},
    operate::Order,
};
use crate::{
    canteen::{ChildId, Choice, EnteId, offer::Offered, rule::Request},
    store::Verdict,
};

/// What the record says of a caller whose number was withheld.
const WITHHELD: &str = "withheld";

impl From<DeskError> for DeskUnavailable {
    fn from(error: DeskError) -> Self {
        Self(error.to_string())
    }
}

impl LineOutcome {
    pub(super) fn of(verdict: Verdict, receipt: Option<String>) -> Self {
        match verdict {
            Verdict::Accepted(day) => Self::Accepted { day, receipt },
            Verdict::Refused(reason, day) => Self::Refused { reason, day },
            Verdict::DayChanged(day) => Self::DayChanged { day },
        }
    }
}

impl LineDesk for Desk {
    async fn hours(&self, ente: EnteId) -> Result<LineHours, DeskUnavailable> {
        let hours = async {
            let mut tx = self.db.read().await?;
            let window = ente_of(&mut tx, ente).await?.window;
            let now = tx.instant(&self.clock).await?;
            let offered = Offered::from_bits(tx.phone_options(ente).await?);
            Ok::<_, DeskError>(LineHours { open: window.search_start(now).is_some(), opens: window.opens, closes: window.cutoff, offered })
        };
        Ok(hours.await?)
    }

    async fn identify(&self, caller: &Caller, code: &str) -> Result<Identification, DeskUnavailable> {
        let number = caller.number.as_deref().unwrap_or_default();
        Ok(match self.type_code(caller.ente, number, &caller.call_id, code).await? {
            Typed::Child(child) => Identification::Known(Identified { child }),
            Typed::Wrong { delay_ms } => Identification::Unknown { delay_ms },
            Typed::ShutOut => Identification::ShutOut,
        })
    }

    async fn preview(&self, caller: &Caller, child: ChildId, choice: Choice) -> Result<LineOutcome, DeskUnavailable> {
        let verdict = Desk::preview(self, caller.ente, child, Request::Phone(choice)).await?;
        Ok(LineOutcome::of(verdict, None))
    }

    async fn operate(
        &self,
        caller: &Caller,
        child: ChildId,
        choice: Choice,
        expected: Option<NaiveDate>,
        sequence: u32,
    ) -> Result<LineOutcome, DeskUnavailable> {
        let order = Order {
            ente: caller.ente,
            child,
            request: Request::Phone(choice),
            actor: caller.number.as_deref().unwrap_or(WITHHELD),
            call_id: Some(&caller.call_id),
            key: &format!("{}/{sequence}", caller.call_id),
            expected,
        };
        let receipt = Desk::operate(self, &order).await?;
        Ok(LineOutcome::of(receipt.verdict, Some(receipt.number)))
    }

    async fn outlook(&self, _caller: &Caller, child: ChildId, days: usize) -> Result<Vec<DayOutlook>, DeskUnavailable> {
        Ok(self.next_days(child, days).await?)
    }
}

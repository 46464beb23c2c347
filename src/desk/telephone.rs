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

fn order<'a>(caller: &'a Caller, child: ChildId, choice: Choice, key: &'a str, expected: Option<NaiveDate>) -> Order<'a> {
    Order {
        ente: caller.ente,
        child,
        request: Request::Phone(choice),
        actor: caller.number.as_deref().unwrap_or(WITHHELD),
        call_id: Some(&caller.call_id),
        key,
        expected,
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
        // A key of its own each time: the same press later in the call may be refused for another reason.
        let key = format!("{}/{}", caller.call_id, uuid::Uuid::new_v4());
        let verdict = self.preview_or_refuse(&order(caller, child, choice, &key, None)).await?;
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
        let key = format!("{}/{sequence}", caller.call_id);
        let receipt = Desk::operate(self, &order(caller, child, choice, &key, expected)).await?;
        Ok(LineOutcome::of(receipt.verdict, Some(receipt.number)))
    }

    async fn outlook(&self, _caller: &Caller, child: ChildId, days: usize) -> Result<Vec<DayOutlook>, DeskUnavailable> {
        Ok(self.next_days(child, days).await?)
    }
}

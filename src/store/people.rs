//! Children and adults as whole rows: what an edit, an import and its undoing compare and write.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{StoreError, Tx, on, run, search::sort_name};
use crate::canteen::{ChildId, EnteId};

/// All that the office keeps of a child, its adults included. No `Debug`: it holds the keypad code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct ChildState {
    /// Class row.
    pub class: i64,
    /// The roster's own key.
    pub external_ref: Option<String>,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Fiscal code.
    pub fiscal_code: Option<String>,
    /// Diet.
    pub diet: String,
    /// Keypad code.
    pub code: String,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
    /// Adults who answer for the child, in order: row and whether they pay.
    pub guardians: Vec<(i64, bool)>,
    /// Adults with the same powers who are sent nothing, in order (F3).
    pub delegates: Vec<i64>,
}

/// All that the office keeps of an adult.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct AdultState {
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Fiscal code.
    pub fiscal_code: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Where they live.
    pub address: Option<String>,
}

/// A state and how often it was changed so far.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_debug_implementations)]
pub struct Versioned<T> {
    /// What stands.
    pub state: T,
    /// Counts its changes.
    pub version: i64,
}

#[derive(sqlx::FromRow)]
struct ChildColumns {
    id: i64,
    class_id: i64,
    external_ref: Option<String>,
    last_name: String,
    first_name: String,
    fiscal_code: Option<String>,
    diet: String,
    code: String,
    enrolled_first: Option<NaiveDate>,
    enrolled_last: Option<NaiveDate>,
    version: i64,
}

#[derive(sqlx::FromRow)]
struct GuardianLink {
    child_id: i64,
    guardian_id: i64,
    payer: bool,
}

#[derive(sqlx::FromRow)]
struct DelegateLink {
    child_id: i64,
    guardian_id: i64,
}

#[derive(sqlx::FromRow)]
struct AdultColumns {
    id: i64,
    version: i64,
    #[sqlx(flatten)]
    state: AdultState,
}

impl ChildColumns {
    fn bare(self) -> (i64, Versioned<ChildState>) {
        let state = ChildState {
            class: self.class_id,
            external_ref: self.external_ref,
            last_name: self.last_name,
            first_name: self.first_name,
            fiscal_code: self.fiscal_code,
            diet: self.diet,
            code: self.code,
            enrolled_first: self.enrolled_first,
            enrolled_last: self.enrolled_last,
            guardians: vec![],
            delegates: vec![],
        };
        (self.id, Versioned { state, version: self.version })
    }
}

macro_rules! child_columns {
    () => {
        "id, class_id, external_ref, last_name, first_name, fiscal_code, diet, code, enrolled_first, enrolled_last, version"
    };
}
macro_rules! adult_columns {
    () => {
        "id, version, last_name, first_name, fiscal_code, email, phone, address"
    };
}

impl Tx {
    /// Every child of an ente by row.
    pub async fn child_states(&mut self, ente: EnteId) -> Result<BTreeMap<i64, ChildState>, StoreError> {
        const CHILDREN: &str = concat!("SELECT ", child_columns!(), " FROM child WHERE ente_id = $1");
        const GUARDIANS: &str = "SELECT g.child_id, g.guardian_id, g.payer FROM child_guardian g JOIN child k ON k.id = g.child_id
            WHERE k.ente_id = $1 ORDER BY g.child_id, g.position";
        const DELEGATES: &str = "SELECT d.child_id, d.guardian_id FROM child_delegate d JOIN child k ON k.id = d.child_id
            WHERE k.ente_id = $1 ORDER BY d.child_id, d.position";
        let rows: Vec<ChildColumns> = on!(self, |c| sqlx::query_as(CHILDREN).bind(ente.0).fetch_all(c))?;
        let guardians: Vec<GuardianLink> = on!(self, |c| sqlx::query_as(GUARDIANS).bind(ente.0).fetch_all(c))?;
        let delegates: Vec<DelegateLink> = on!(self, |c| sqlx::query_as(DELEGATES).bind(ente.0).fetch_all(c))?;
        let mut children: BTreeMap<_, _> = rows.into_iter().map(ChildColumns::bare).map(|(id, v)| (id, v.state)).collect();
        for link in guardians {
            if let Some(child) = children.get_mut(&link.child_id) {
                child.guardians.push((link.guardian_id, link.payer));
            }
        }
        for link in delegates {
            if let Some(child) = children.get_mut(&link.child_id) {
                child.delegates.push(link.guardian_id);
            }
        }
        Ok(children)
    }

    /// One child of this ente.
    pub async fn child_state(&mut self, ente: EnteId, child: ChildId) -> Result<Option<Versioned<ChildState>>, StoreError> {
        const CHILD: &str = concat!("SELECT ", child_columns!(), " FROM child WHERE id = $1 AND ente_id = $2");
        const GUARDIANS: &str = "SELECT child_id, guardian_id, payer FROM child_guardian WHERE child_id = $1 ORDER BY position";
        const DELEGATES: &str = "SELECT child_id, guardian_id FROM child_delegate WHERE child_id = $1 ORDER BY position";
        let row: Option<ChildColumns> = on!(self, |c| sqlx::query_as(CHILD).bind(child.0).bind(ente.0).fetch_optional(c))?;
        let Some(row) = row else { return Ok(None) };
        let (_, mut found) = row.bare();
        let guardians: Vec<GuardianLink> = on!(self, |c| sqlx::query_as(GUARDIANS).bind(child.0).fetch_all(c))?;
        let delegates: Vec<DelegateLink> = on!(self, |c| sqlx::query_as(DELEGATES).bind(child.0).fetch_all(c))?;
        found.state.guardians = guardians.into_iter().map(|g| (g.guardian_id, g.payer)).collect();
        found.state.delegates = delegates.into_iter().map(|d| d.guardian_id).collect();
        Ok(Some(found))
    }

    /// Enters a child.
    pub async fn add_child(&mut self, ente: EnteId, child: &ChildState, at: DateTime<Utc>) -> Result<ChildId, StoreError> {
        const SQL: &str = "INSERT INTO child (ente_id, class_id, external_ref, last_name, first_name, fiscal_code, diet, code,
                enrolled_first, enrolled_last, sort_name, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id";
        let id: i64 = on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(child.class)
            .bind(child.external_ref.as_deref())
            .bind(&child.last_name)
            .bind(&child.first_name)
            .bind(child.fiscal_code.as_deref())
            .bind(&child.diet)
            .bind(&child.code)
            .bind(child.enrolled_first)
            .bind(child.enrolled_last)
            .bind(sort_name(&child.last_name, &child.first_name))
            .bind(at)
            .fetch_one(c))?;
        self.put_adults_of(ChildId(id), child).await?;
        self.index_child(ente, ChildId(id), child).await?;
        Ok(ChildId(id))
    }

    /// Brings a child up to date.
    pub async fn put_child(&mut self, ente: EnteId, id: ChildId, child: &ChildState) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE child SET class_id = $3, external_ref = $4, last_name = $5, first_name = $6, fiscal_code = $7,
            diet = $8, code = $9, enrolled_first = $10, enrolled_last = $11, sort_name = $12, version = version + 1
            WHERE id = $1 AND ente_id = $2";
        run!(
            self,
            sqlx::query(SQL)
                .bind(id.0)
                .bind(ente.0)
                .bind(child.class)
                .bind(child.external_ref.as_deref())
                .bind(&child.last_name)
                .bind(&child.first_name)
                .bind(child.fiscal_code.as_deref())
                .bind(&child.diet)
                .bind(&child.code)
                .bind(child.enrolled_first)
                .bind(child.enrolled_last)
                .bind(sort_name(&child.last_name, &child.first_name))
        );
        self.put_adults_of(id, child).await?;
        self.index_child(ente, id, child).await
    }

    /// Moves a child to a class, with this code. Nothing by which it is found depends on either.
    pub async fn move_child(&mut self, id: ChildId, class: i64, code: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE child SET class_id = $2, code = $3, version = version + 1 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(id.0).bind(class).bind(code));
        Ok(())
    }

    /// Gives a child a code, unless another child of the ente has it, or had it: that one's old letter would cancel this one's meals. Says
    /// whether it did.
    pub async fn give_code_back(&mut self, ente: EnteId, id: ChildId, code: &str) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE child SET code = $3 WHERE id = $1 AND ente_id = $2
            AND NOT EXISTS (SELECT 1 FROM child o WHERE o.ente_id = $2 AND o.code = $3 AND o.id <> $1)
            AND NOT EXISTS (SELECT 1 FROM retired_code r WHERE r.ente_id = $2 AND r.code = $3 AND r.child_id <> $1)";
        Ok(run!(self, sqlx::query(SQL).bind(id.0).bind(ente.0).bind(code)) > 0)
    }

    async fn put_adults_of(&mut self, id: ChildId, child: &ChildState) -> Result<(), StoreError> {
        const NO_GUARDIANS: &str = "DELETE FROM child_guardian WHERE child_id = $1";
        const NO_DELEGATES: &str = "DELETE FROM child_delegate WHERE child_id = $1";
        const GUARDIAN: &str = "INSERT INTO child_guardian (child_id, guardian_id, position, payer) VALUES ($1, $2, $3, $4)
            ON CONFLICT (child_id, guardian_id) DO NOTHING";
        const DELEGATE: &str = "INSERT INTO child_delegate (child_id, guardian_id, position) VALUES ($1, $2, $3)
            ON CONFLICT (child_id, guardian_id) DO NOTHING";
        run!(self, sqlx::query(NO_GUARDIANS).bind(id.0));
        run!(self, sqlx::query(NO_DELEGATES).bind(id.0));
        for (position, (guardian, payer)) in (0i64..).zip(&child.guardians) {
            run!(self, sqlx::query(GUARDIAN).bind(id.0).bind(guardian).bind(position).bind(payer));
        }
        for (position, delegate) in (0i64..).zip(&child.delegates) {
            run!(self, sqlx::query(DELEGATE).bind(id.0).bind(delegate).bind(position));
        }
        Ok(())
    }

    /// Is there anything of a child's that must not be lost: an operation (marks and suspensions come of them), a meal or what corrects it, a
    /// letter that was made or mailed, a code that somebody may still have on paper, a family's question, what decides its price?
    pub async fn has_history(&mut self, id: ChildId) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM operation WHERE child_id = $1) OR EXISTS (SELECT 1 FROM meal WHERE child_id = $1)
            OR EXISTS (SELECT 1 FROM meal_correction WHERE child_id = $1) OR EXISTS (SELECT 1 FROM letter WHERE child_id = $1)
            OR EXISTS (SELECT 1 FROM retired_code WHERE ente_id = (SELECT ente_id FROM child WHERE id = $1) AND child_id = $1)
            OR EXISTS (SELECT 1 FROM ticket WHERE child_id = $1) OR EXISTS (SELECT 1 FROM relief WHERE child_id = $1)
            OR EXISTS (SELECT 1 FROM residence WHERE child_id = $1) OR EXISTS (SELECT 1 FROM payment_share WHERE child_id = $1)
            OR EXISTS (SELECT 1 FROM notice_line WHERE child_id = $1)";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(id.0).fetch_one(c))?)
    }

    /// Takes away a child that has no history.
    pub async fn delete_child(&mut self, id: ChildId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM child_guardian WHERE child_id = $1",
            "DELETE FROM child_delegate WHERE child_id = $1",
            "DELETE FROM child_word WHERE child_id = $1",
            "DELETE FROM child WHERE id = $1",
        ] {
            run!(self, sqlx::query(sql).bind(id.0));
        }
        Ok(())
    }

    /// Every adult of an ente by row.
    pub async fn adult_states(&mut self, ente: EnteId) -> Result<BTreeMap<i64, AdultState>, StoreError> {
        const SQL: &str = concat!("SELECT ", adult_columns!(), " FROM guardian WHERE ente_id = $1");
        let rows: Vec<AdultColumns> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?;
        Ok(rows.into_iter().map(|row| (row.id, row.state)).collect())
    }

    /// One adult of this ente.
    pub async fn adult_state(&mut self, ente: EnteId, id: i64) -> Result<Option<Versioned<AdultState>>, StoreError> {
        const SQL: &str = concat!("SELECT ", adult_columns!(), " FROM guardian WHERE id = $1 AND ente_id = $2");
        let row: Option<AdultColumns> = on!(self, |c| sqlx::query_as(SQL).bind(id).bind(ente.0).fetch_optional(c))?;
        Ok(row.map(|row| Versioned { state: row.state, version: row.version }))
    }

    /// The adult of this ente with this fiscal code.
    pub async fn adult_by_fiscal_code(&mut self, ente: EnteId, fiscal_code: &str) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "SELECT id FROM guardian WHERE ente_id = $1 AND fiscal_code = $2 ORDER BY id LIMIT 1";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(fiscal_code).fetch_optional(c))?)
    }

    /// The child of this ente with this fiscal code.
    pub async fn child_by_fiscal_code(&mut self, ente: EnteId, fiscal_code: &str) -> Result<Option<ChildId>, StoreError> {
        const SQL: &str = "SELECT id FROM child WHERE ente_id = $1 AND fiscal_code = $2 ORDER BY id DESC LIMIT 1";
        let id: Option<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(fiscal_code).fetch_optional(c))?;
        Ok(id.map(ChildId))
    }

    /// Enters an adult.
    pub async fn add_adult(&mut self, ente: EnteId, adult: &AdultState) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO guardian (ente_id, last_name, first_name, fiscal_code, email, phone, address, sort_name)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
        let id = on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(&adult.last_name)
            .bind(&adult.first_name)
            .bind(adult.fiscal_code.as_deref())
            .bind(adult.email.as_deref())
            .bind(adult.phone.as_deref())
            .bind(adult.address.as_deref())
            .bind(sort_name(&adult.last_name, &adult.first_name))
            .fetch_one(c))?;
        self.index_adult(ente, id, adult).await?;
        Ok(id)
    }

    /// Brings an adult up to date; the children are found by the new name from now on.
    pub async fn put_adult(&mut self, ente: EnteId, id: i64, adult: &AdultState) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE guardian SET last_name = $3, first_name = $4, fiscal_code = $5, email = $6, phone = $7, address = $8,
            sort_name = $9, version = version + 1 WHERE id = $1 AND ente_id = $2";
        run!(
            self,
            sqlx::query(SQL)
                .bind(id)
                .bind(ente.0)
                .bind(&adult.last_name)
                .bind(&adult.first_name)
                .bind(adult.fiscal_code.as_deref())
                .bind(adult.email.as_deref())
                .bind(adult.phone.as_deref())
                .bind(adult.address.as_deref())
                .bind(sort_name(&adult.last_name, &adult.first_name))
        );
        self.index_adult(ente, id, adult).await?;
        for child in self.children_of_adult(id).await? {
            if let Some(found) = self.child_state(ente, child).await? {
                self.index_child(ente, child, &found.state).await?;
            }
        }
        Ok(())
    }

    /// The children for whom an adult answers or is delegated.
    pub async fn children_of_adult(&mut self, id: i64) -> Result<Vec<ChildId>, StoreError> {
        const SQL: &str = "SELECT child_id FROM child_guardian WHERE guardian_id = $1
            UNION SELECT child_id FROM child_delegate WHERE guardian_id = $1 ORDER BY child_id";
        let ids: Vec<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_all(c))?;
        Ok(ids.into_iter().map(ChildId).collect())
    }

    /// Takes away an adult who answers for nobody.
    pub async fn delete_adult(&mut self, id: i64) -> Result<(), StoreError> {
        for sql in ["DELETE FROM guardian_word WHERE guardian_id = $1", "DELETE FROM guardian WHERE id = $1"] {
            run!(self, sqlx::query(sql).bind(id));
        }
        Ok(())
    }

    /// The siblings of a child: whoever shares a guardian with it.
    pub async fn siblings_of(&mut self, child: ChildId) -> Result<Vec<ChildId>, StoreError> {
        const SQL: &str = "SELECT DISTINCT o.child_id FROM child_guardian m JOIN child_guardian o ON o.guardian_id = m.guardian_id
            WHERE m.child_id = $1 AND o.child_id <> $1 ORDER BY o.child_id";
        let ids: Vec<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(child.0).fetch_all(c))?;
        Ok(ids.into_iter().map(ChildId).collect())
    }
}

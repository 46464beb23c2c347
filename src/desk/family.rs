//! A child's page and what the office changes on it; two clerks at once lose nothing (O2).

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Desk, DeskError,
    codes::free_code,
    ente_of,
    import::{FieldChange, adult_fields, child_fields, field},
    operate::calendar_of,
    trail::{self, Actor},
};
use crate::{
    canteen::{ChildId, DayState, EnteId, calendar::NoService, window::Window},
    store::{
        AdultState, ChildCall, ChildFilter, ChildRow, ChildState, Correction, ListedAdult, ListedChild, Order, Page, StoreError,
        StoredOperation, Tx, Versioned,
    },
};

/// What of a child is edited in one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ChildEdit {
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// The roster's own key.
    pub external_ref: Option<String>,
    /// Fiscal code.
    pub fiscal_code: Option<String>,
    /// Class row.
    pub class: i64,
    /// Diet.
    pub diet: String,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

impl ChildEdit {
    /// What stands.
    pub fn of(state: &ChildState) -> Self {
        Self {
            last_name: state.last_name.clone(),
            first_name: state.first_name.clone(),
            external_ref: state.external_ref.clone(),
            fiscal_code: state.fiscal_code.clone(),
            class: state.class,
            diet: state.diet.clone(),
            enrolled_first: state.enrolled_first,
            enrolled_last: state.enrolled_last,
        }
    }

    fn over(&self, state: &ChildState) -> ChildState {
        ChildState {
            last_name: self.last_name.clone(),
            first_name: self.first_name.clone(),
            external_ref: self.external_ref.clone(),
            fiscal_code: self.fiscal_code.clone(),
            class: self.class,
            diet: self.diet.clone(),
            enrolled_first: self.enrolled_first,
            enrolled_last: self.enrolled_last,
            ..state.clone()
        }
    }
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited<T> {
    /// It stands.
    Saved,
    /// Somebody else was quicker; nothing is written. `merged` has their changes and, where both changed the same, mine.
    Meanwhile {
        /// To be shown again.
        merged: T,
        /// What the form is made from now.
        version: i64,
        /// What they changed meanwhile.
        theirs: Vec<FieldChange>,
        /// Names of the fields that both changed.
        both: Vec<&'static str>,
    },
}

/// Why an edit was refused; nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Somebody has changed it meanwhile.
    #[error("somebody else was quicker")]
    Stale,
    /// Another child has this number.
    #[error("another child has this number")]
    RefTaken,
    /// Another child, or another adult, has this fiscal code.
    #[error("somebody else has this fiscal code")]
    FiscalCodeTaken,
    /// It is linked to the child already, or it is not.
    #[error("that does not fit what stands")]
    Unfit,
    /// No such row of this ente.
    #[error("there is no such row")]
    Gone,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for EditError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// A day of a child's calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthDay {
    /// The day.
    pub day: NaiveDate,
    /// What stands; of a closed day what counts.
    pub state: DayState,
    /// Why there is no service, where it is known.
    pub why: Option<NoService>,
    /// The day is closed: what stands is its meal record, as corrected.
    pub closed: bool,
    /// Corrected after its cut-off.
    pub corrected: bool,
}

/// An adult beside a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Row.
    pub id: i64,
    /// Who.
    pub adult: AdultState,
    /// Receives the payment notices.
    pub payer: bool,
}

/// Everything that the page of a child shows. No `Debug`: it holds the keypad code.
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct ChildFile {
    /// Name, school and class.
    pub row: ChildRow,
    /// All of it, and its version.
    pub found: Versioned<ChildState>,
    /// Adults who answer for it.
    pub guardians: Vec<Beside>,
    /// Adults with the same powers who are sent nothing.
    pub delegates: Vec<Beside>,
    /// Who shares a guardian with it.
    pub siblings: Vec<ChildRow>,
    /// The days that were asked for.
    pub days: Vec<MonthDay>,
    /// Every operation, newest first.
    pub operations: Vec<StoredOperation>,
    /// Calls in which something was done for it, newest first.
    pub calls: Vec<ChildCall>,
    /// Corrections of its meals, newest first.
    pub corrections: Vec<Correction>,
    /// The ente's window.
    pub window: Window,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Calls shown on a child's page.
const CALLS: i64 = 50;

fn subject<'a>(kind: &'static str, id: i64, name: &'a str) -> trail::Subject<'a> {
    trail::Subject { kind, id: Some(id), name }
}

fn name_of(state: &ChildState) -> String {
    format!("{} {}", state.last_name, state.first_name)
}

/// Fields as the trail keeps them.
fn for_trail(fields: &[FieldChange]) -> (Option<Value>, Option<Value>) {
    let object = |of: fn(&FieldChange) -> &String| Value::Object(fields.iter().map(|f| (f.name.to_owned(), json!(of(f)))).collect());
    (Some(object(|f| &f.before)), Some(object(|f| &f.after)))
}

impl Desk {
    /// A part of the list of children, and how many there are.
    pub async fn list_children(
        &self,
        ente: EnteId,
        filter: &ChildFilter,
        order: Order,
        page: Page,
    ) -> Result<(Vec<ListedChild>, i64), DeskError> {
        let mut tx = self.db.read().await?;
        Ok((tx.list_children(ente, filter, order, page).await?, tx.count_children(ente, filter).await?))
    }

    /// One child as lists show it; `None` where it is not of this ente.
    pub async fn listed_child(&self, ente: EnteId, child: ChildId) -> Result<Option<ListedChild>, DeskError> {
        Ok(self.db.read().await?.listed_child(ente, child).await?)
    }

    /// A part of the list of adults, and how many there are.
    pub async fn list_adults(&self, ente: EnteId, text: &str, page: Page) -> Result<(Vec<ListedAdult>, i64), DeskError> {
        let mut tx = self.db.read().await?;
        Ok((tx.list_adults(ente, text, page).await?, tx.count_adults(ente, text).await?))
    }

    /// School years (newest first, row and name), classes of the newest with their schools, and diets, to choose from.
    pub async fn choices(&self, ente: EnteId) -> Result<Choices, DeskError> {
        let mut tx = self.db.read().await?;
        let years = tx.school_years(ente).await?;
        let classes = match years.first() {
            Some(year) => tx.class_sizes(year.id).await?,
            None => vec![],
        };
        Ok(Choices { years, classes, schools: tx.schools(ente).await?, diets: tx.diets(ente).await? })
    }

    /// As [`Self::choices`], without counting the children of the classes: for what is shown at each key typed.
    pub async fn filters(&self, ente: EnteId) -> Result<Choices, DeskError> {
        let mut tx = self.db.read().await?;
        let years = tx.school_years(ente).await?;
        let classes = match years.first() {
            Some(year) => tx.class_names(year.id).await?,
            None => vec![],
        };
        Ok(Choices { years, classes, schools: tx.schools(ente).await?, diets: tx.diets(ente).await? })
    }

    /// The page of a child, with its days from `first` to `last`. Who looked is noted by the caller.
    pub async fn child_file(&self, ente: EnteId, child: ChildId, first: NaiveDate, last: NaiveDate) -> Result<ChildFile, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let found = tx.child_state(ente, child).await?.ok_or(DeskError::NoChild)?;
        let row = tx.child(child).await?.ok_or(DeskError::NoChild)?;
        let mut guardians = Vec::new();
        for (id, payer) in &found.state.guardians {
            if let Some(adult) = tx.adult_state(ente, *id).await? {
                guardians.push(Beside { id: *id, adult: adult.state, payer: *payer });
            }
        }
        let mut delegates = Vec::new();
        for id in &found.state.delegates {
            if let Some(adult) = tx.adult_state(ente, *id).await? {
                delegates.push(Beside { id: *id, adult: adult.state, payer: false });
            }
        }
        let mut siblings = Vec::new();
        for id in tx.siblings_of(child).await? {
            siblings.extend(tx.child(id).await?);
        }
        let days = days_of(&mut tx, child, first, last).await?;
        let mut operations = tx.operations_of(child).await?;
        operations.reverse();
        let calls = tx.calls_for(child, CALLS).await?;
        let corrections = tx.corrections_of(child).await?;
        Ok(ChildFile { row, found, guardians, delegates, siblings, days, operations, calls, corrections, window, now })
    }

    /// The child with this keypad code or fiscal code, typed exactly.
    pub async fn child_by_number(&self, ente: EnteId, typed: &str) -> Result<Option<ChildId>, DeskError> {
        let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
        let mut tx = self.db.read().await?;
        if let Ok(code) = crate::canteen::code::ChildCode::parse(&typed) {
            return Ok(tx.child_by_code(ente, &code).await?);
        }
        Ok(tx.child_by_fiscal_code(ente, &typed).await?)
    }

    /// A child's keypad code, shown to somebody who asked for it; noted.
    pub async fn show_code(&self, actor: &Actor, child: ChildId) -> Result<String, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let found = tx.child_state(actor.ente, child).await?.ok_or(DeskError::NoChild)?;
        let name = name_of(&found.state);
        trail::record(&mut tx, at, actor, "ha guardato il codice disdetta", subject("bambino", child.0, &name), None, None).await?;
        tx.commit().await?;
        Ok(found.state.code)
    }

    /// Enters a child with a fresh code.
    pub async fn enter_child(&self, actor: &Actor, edit: &ChildEdit) -> Result<ChildId, EditError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        check_child(&mut tx, actor.ente, None, edit).await?;
        let code = free_code(&mut tx, actor.ente).await?;
        let empty = ChildState {
            class: edit.class,
            external_ref: None,
            last_name: String::new(),
            first_name: String::new(),
            fiscal_code: None,
            diet: String::new(),
            code: code.as_str().to_owned(),
            enrolled_first: None,
            enrolled_last: None,
            guardians: vec![],
            delegates: vec![],
        };
        let state = edit.over(&empty);
        let id = tx.add_child(actor.ente, &state, at).await.map_err(taken)?;
        let (_, after) = for_trail(&child_fields(None, &state));
        let name = name_of(&state);
        trail::record(&mut tx, at, actor, "ha iscritto un bambino", subject("bambino", id.0, &name), None, after).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes a child. `base` is what the form showed when it was opened, at `version`.
    pub async fn edit_child(
        &self,
        actor: &Actor,
        child: ChildId,
        version: i64,
        base: &ChildEdit,
        mine: &ChildEdit,
    ) -> Result<Edited<ChildEdit>, EditError> {
        let mut tx = self.db.write().await?;
        tx.lock_child(child).await?;
        let at = tx.instant(&self.clock).await?;
        let found = tx.child_state(actor.ente, child).await?.ok_or(EditError::Gone)?;
        let standing = ChildEdit::of(&found.state);
        if found.version != version && standing != *base {
            let theirs = fields_between(&mut tx, actor.ente, &base.over(&found.state), &found.state).await?;
            let (merged, both) = merge_child(base, &standing, mine);
            return Ok(Edited::Meanwhile { merged, version: found.version, theirs, both });
        }
        check_child(&mut tx, actor.ente, Some(child), mine).await?;
        let state = mine.over(&found.state);
        if state != found.state {
            let fields = fields_between(&mut tx, actor.ente, &found.state, &state).await?;
            tx.put_child(actor.ente, child, &state).await.map_err(taken)?;
            let (before, after) = for_trail(&fields);
            let name = name_of(&state);
            trail::record(&mut tx, at, actor, "ha cambiato i dati di un bambino", subject("bambino", child.0, &name), before, after)
                .await?;
            tx.commit().await?;
        }
        Ok(Edited::Saved)
    }

    /// An adult of this ente, and the children they answer for or are delegated for.
    pub async fn adult_file(&self, ente: EnteId, id: i64) -> Result<Option<(Versioned<AdultState>, Vec<ChildRow>)>, DeskError> {
        let mut tx = self.db.read().await?;
        let Some(found) = tx.adult_state(ente, id).await? else { return Ok(None) };
        let mut children = Vec::new();
        for child in tx.children_of_adult(id).await? {
            children.extend(tx.child(child).await?);
        }
        Ok(Some((found, children)))
    }

    /// Changes an adult. `base` is what the form showed when it was opened, at `version`.
    pub async fn edit_adult(
        &self,
        actor: &Actor,
        id: i64,
        version: i64,
        base: &AdultState,
        mine: &AdultState,
    ) -> Result<Edited<AdultState>, EditError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let found = tx.adult_state(actor.ente, id).await?.ok_or(EditError::Gone)?;
        if found.version != version && found.state != *base {
            let theirs = adult_fields(Some(base), &found.state);
            let (merged, both) = merge_adult(base, &found.state, mine);
            return Ok(Edited::Meanwhile { merged, version: found.version, theirs, both });
        }
        check_adult(&mut tx, actor.ente, Some(id), mine).await?;
        if *mine != found.state {
            tx.put_adult(actor.ente, id, mine).await?;
            let (before, after) = for_trail(&adult_fields(Some(&found.state), mine));
            let name = format!("{} {}", mine.last_name, mine.first_name);
            trail::record(&mut tx, at, actor, "ha cambiato i dati di un adulto", subject("adulto", id, &name), before, after).await?;
            tx.commit().await?;
        }
        Ok(Edited::Saved)
    }

    /// Puts an adult beside a child: an adult with the same fiscal code who is there already, else a new one.
    pub async fn add_adult_to(
        &self,
        actor: &Actor,
        child: ChildId,
        version: i64,
        adult: &AdultState,
        delegate: bool,
    ) -> Result<i64, EditError> {
        let mut tx = self.db.write().await?;
        let (at, mut state) = self.open_child(&mut tx, actor, child, version).await?;
        let known = match &adult.fiscal_code {
            Some(code) => tx.adult_by_fiscal_code(actor.ente, code).await?,
            None => None,
        };
        let id = match known {
            Some(id) => id,
            None => tx.add_adult(actor.ente, adult).await?,
        };
        if state.delegates.contains(&id) || state.guardians.iter().any(|(known, _)| *known == id) {
            return Err(EditError::Unfit);
        }
        if delegate {
            state.delegates.push(id);
        } else {
            state.guardians.push((id, state.guardians.is_empty()));
        }
        let action = if delegate { "ha aggiunto un delegato" } else { "ha aggiunto un genitore" };
        self.put_links(tx, at, actor, child, &state, action, &format!("{} {}", adult.last_name, adult.first_name)).await?;
        Ok(id)
    }

    /// Takes an adult away from a child; who paid is replaced by the first who is left.
    pub async fn remove_adult_from(&self, actor: &Actor, child: ChildId, version: i64, adult: i64) -> Result<(), EditError> {
        let mut tx = self.db.write().await?;
        let (at, mut state) = self.open_child(&mut tx, actor, child, version).await?;
        let before = state.guardians.len() + state.delegates.len();
        state.guardians.retain(|(id, _)| *id != adult);
        state.delegates.retain(|id| *id != adult);
        if state.guardians.len() + state.delegates.len() == before {
            return Err(EditError::Unfit);
        }
        if !state.guardians.iter().any(|(_, payer)| *payer)
            && let Some((_, payer)) = state.guardians.first_mut()
        {
            *payer = true;
        }
        let name = tx.adult_state(actor.ente, adult).await?.map(|a| format!("{} {}", a.state.last_name, a.state.first_name));
        self.put_links(tx, at, actor, child, &state, "ha tolto un adulto", &name.unwrap_or_default()).await
    }

    /// Says who of a child's guardians receives the payment notices.
    pub async fn set_payer(&self, actor: &Actor, child: ChildId, version: i64, adult: i64) -> Result<(), EditError> {
        let mut tx = self.db.write().await?;
        let (at, mut state) = self.open_child(&mut tx, actor, child, version).await?;
        if !state.guardians.iter().any(|(id, _)| *id == adult) {
            return Err(EditError::Unfit);
        }
        for (id, payer) in &mut state.guardians {
            *payer = *id == adult;
        }
        let name = tx.adult_state(actor.ente, adult).await?.map(|a| format!("{} {}", a.state.last_name, a.state.first_name));
        self.put_links(tx, at, actor, child, &state, "ha cambiato chi paga", &name.unwrap_or_default()).await
    }

    async fn open_child(&self, tx: &mut Tx, actor: &Actor, child: ChildId, version: i64) -> Result<(DateTime<Utc>, ChildState), EditError> {
        tx.lock_child(child).await?;
        let at = tx.instant(&self.clock).await?;
        let found = tx.child_state(actor.ente, child).await?.ok_or(EditError::Gone)?;
        if found.version != version {
            return Err(EditError::Stale);
        }
        Ok((at, found.state))
    }

    #[expect(clippy::too_many_arguments, reason = "the end of each change of a child's adults")]
    async fn put_links(
        &self,
        mut tx: Tx,
        at: DateTime<Utc>,
        actor: &Actor,
        child: ChildId,
        state: &ChildState,
        action: trail::Action,
        adult: &str,
    ) -> Result<(), EditError> {
        tx.put_child(actor.ente, child, state).await?;
        let name = name_of(state);
        let after = Some(json!({ "adulto": adult }));
        trail::record(&mut tx, at, actor, action, subject("bambino", child.0, &name), None, after).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// What forms and filters offer.
#[derive(Debug, Clone)]
pub struct Choices {
    /// School years, newest first.
    pub years: Vec<crate::store::SchoolYearRow>,
    /// Classes of the newest.
    pub classes: Vec<crate::store::ClassSize>,
    /// Schools.
    pub schools: Vec<crate::store::SchoolKey>,
    /// Diets.
    pub diets: Vec<String>,
}

/// A UNIQUE constraint on a child is its number's: codes are drawn free.
fn taken(error: StoreError) -> EditError {
    if error.is_duplicate() { EditError::RefTaken } else { error.into() }
}

async fn check_child(tx: &mut Tx, ente: EnteId, child: Option<ChildId>, edit: &ChildEdit) -> Result<(), EditError> {
    if !tx.is_class_of(ente, edit.class).await? {
        return Err(EditError::Gone);
    }
    if let Some(code) = &edit.fiscal_code
        && tx.child_by_fiscal_code(ente, code).await?.is_some_and(|other| Some(other) != child)
    {
        return Err(EditError::FiscalCodeTaken);
    }
    Ok(())
}

async fn check_adult(tx: &mut Tx, ente: EnteId, id: Option<i64>, adult: &AdultState) -> Result<(), EditError> {
    if let Some(code) = &adult.fiscal_code
        && tx.adult_by_fiscal_code(ente, code).await?.is_some_and(|other| Some(other) != id)
    {
        return Err(EditError::FiscalCodeTaken);
    }
    Ok(())
}

/// What differs between two states of a child, its class in words.
async fn fields_between(tx: &mut Tx, ente: EnteId, before: &ChildState, after: &ChildState) -> Result<Vec<FieldChange>, StoreError> {
    let mut fields = child_fields(Some(before), after);
    if before.class != after.class {
        let was = tx.class_title(ente, before.class).await?.unwrap_or_default();
        let is = tx.class_title(ente, after.class).await?.unwrap_or_default();
        fields.push(field("classe", was, is));
    }
    Ok(fields)
}

/// Takes theirs where I changed nothing; tells where both did.
pub(super) fn merge<T: Clone + PartialEq>(name: &'static str, base: &T, theirs: &T, mine: &T, both: &mut Vec<&'static str>) -> T {
    if mine == base {
        return theirs.clone();
    }
    if theirs != base && theirs != mine {
        both.push(name);
    }
    mine.clone()
}

fn merge_child(base: &ChildEdit, theirs: &ChildEdit, mine: &ChildEdit) -> (ChildEdit, Vec<&'static str>) {
    let mut both = Vec::new();
    let merged = ChildEdit {
        last_name: merge("cognome", &base.last_name, &theirs.last_name, &mine.last_name, &mut both),
        first_name: merge("nome", &base.first_name, &theirs.first_name, &mine.first_name, &mut both),
        external_ref: merge("matricola", &base.external_ref, &theirs.external_ref, &mine.external_ref, &mut both),
        fiscal_code: merge("codice fiscale", &base.fiscal_code, &theirs.fiscal_code, &mine.fiscal_code, &mut both),
        class: merge("classe", &base.class, &theirs.class, &mine.class, &mut both),
        diet: merge("dieta", &base.diet, &theirs.diet, &mine.diet, &mut both),
        enrolled_first: merge("iscritto dal", &base.enrolled_first, &theirs.enrolled_first, &mine.enrolled_first, &mut both),
        enrolled_last: merge("iscritto fino al", &base.enrolled_last, &theirs.enrolled_last, &mine.enrolled_last, &mut both),
    };
    (merged, both)
}

fn merge_adult(base: &AdultState, theirs: &AdultState, mine: &AdultState) -> (AdultState, Vec<&'static str>) {
    let mut both = Vec::new();
    let merged = AdultState {
        last_name: merge("cognome", &base.last_name, &theirs.last_name, &mine.last_name, &mut both),
        first_name: merge("nome", &base.first_name, &theirs.first_name, &mine.first_name, &mut both),
        fiscal_code: merge("codice fiscale", &base.fiscal_code, &theirs.fiscal_code, &mine.fiscal_code, &mut both),
        email: merge("e-mail", &base.email, &theirs.email, &mine.email, &mut both),
        phone: merge("telefono", &base.phone, &theirs.phone, &mine.phone, &mut both),
        address: merge("indirizzo", &base.address, &theirs.address, &mine.address, &mut both),
    };
    (merged, both)
}

/// What stands on each day: of a closed day what its meal record, as corrected, says; of others what the calendar and the marks say.
pub(super) async fn days_of(tx: &mut Tx, child: ChildId, first: NaiveDate, last: NaiveDate) -> Result<Vec<MonthDay>, DeskError> {
    let calendar = calendar_of(tx, child).await?;
    let marks = tx.marks_of(child).await?;
    let meals = tx.closed_days_of(child, first, last).await?;
    let closed_until = tx.closed_until(child).await?;
    let day_of = |day: NaiveDate| {
        if let Some((state, correction)) = meals.get(&day) {
            // Where the day was shut afterwards, the calendar says why.
            let why = if *state == DayState::NoService { calendar.no_service(day) } else { None };
            return MonthDay { day, state: *state, why, closed: true, corrected: correction.is_some() };
        }
        if closed_until.is_some_and(|until| day <= until) {
            // Closed without a record: nothing was served to this child, whatever the calendar says by now.
            return MonthDay { day, state: DayState::NoService, why: calendar.no_service(day), closed: true, corrected: false };
        }
        MonthDay { day, state: marks.state_on(day, &calendar), why: calendar.no_service(day), closed: false, corrected: false }
    };
    Ok(first.iter_days().take_while(|day| *day <= last).take(super::child::MOST_DAYS as usize).map(day_of).collect())
}

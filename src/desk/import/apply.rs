//! Writes a plan down, and keeps what it wrote for the way back.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rand::Rng;
use serde::Serialize;
use serde_json::json;

use super::{
    ImportError, Plan,
    known::Picture,
    plan::{ChildWork, Work},
};
use crate::{
    canteen::{ChildId, EnteId, code::ChildCode, roster::Scope, window::Window},
    desk::closing::live_from,
    store::{BatchEntry, StoreError, Tx},
};

/// More draws than a free code ever needs while at most half of the 900,000 are given out.
const CODE_DRAWS: usize = 64;

/// One import being written.
pub(super) struct Apply<'t> {
    tx: &'t mut Tx,
    ente: EnteId,
    at: DateTime<Utc>,
    window: &'t Window,
    picture: &'t Picture,
    rows: Vec<BatchEntry>,
}

/// A state as it is kept.
pub(crate) fn kept<T: Serialize>(state: &T) -> Result<String, StoreError> {
    serde_json::to_string(state).map_err(|error| StoreError::Unknown { what: "state", value: error.to_string() })
}

impl<'t> Apply<'t> {
    pub(super) fn new(tx: &'t mut Tx, ente: EnteId, at: DateTime<Utc>, window: &'t Window, picture: &'t Picture) -> Self {
        Self { tx, ente, at, window, picture, rows: vec![] }
    }

    /// Writes; gives what was written.
    pub(super) async fn run(mut self, plan: &Plan, rng: &mut (impl Rng + Send)) -> Result<Vec<BatchEntry>, ImportError> {
        let work = &plan.work;
        let classes = self.places(work).await?;
        let adults = self.adults(work).await?;
        self.children(work, &classes, &adults, rng).await?;
        Ok(self.rows)
    }

    fn keep(&mut self, kind: &str, row_id: i64, title: &str, before_state: Option<String>, after_state: String) {
        self.rows.push(BatchEntry { kind: kind.to_owned(), row_id, title: title.to_owned(), before_state, after_state });
    }

    /// Schools, classes and calendar; gives the classes' rows by school and name.
    async fn places(&mut self, work: &Work) -> Result<HashMap<(String, String), i64>, ImportError> {
        for (known, school) in &work.schools {
            let id = self.tx.put_school(self.ente, &school.code, &school.name, live_from(self.window, self.at)).await?;
            let before = known.as_ref().map(|(_, name)| json!(name).to_string());
            self.keep("school", id, &school.name, before, json!(school.name).to_string());
        }
        let schools: HashMap<String, i64> = self.tx.schools(self.ente).await?.into_iter().map(|s| (s.code, s.id)).collect();
        let year = match (&work.new_year, &self.picture.year) {
            (Some(name), _) => {
                let id = self.tx.put_school_year(self.ente, name).await?;
                self.keep("year", id, name, None, json!(name).to_string());
                id
            }
            (None, Some(year)) => year.id,
            // The plan has refused everything that would need one.
            (None, None) => return Ok(HashMap::new()),
        };
        for (known, class) in &work.classes {
            let Some(school) = schools.get(&class.school) else { continue };
            let id = self.tx.put_class(*school, year, &class.name, class.weekdays).await?;
            let bits = |days| json!(crate::store::weekdays_to_bits(days)).to_string();
            self.keep("class", id, &class.name, known.map(|(_, days)| bits(days)), bits(class.weekdays));
        }
        if !work.schools.is_empty() || !work.classes.is_empty() {
            self.tx.index_classes(self.ente).await?;
        }
        let classes: HashMap<(String, String), i64> =
            self.tx.classes(year).await?.into_iter().map(|c| ((c.school, c.name), c.id)).collect();
        for (known, term) in &work.terms {
            let school = term.school.as_ref().and_then(|code| schools.get(code)).copied();
            let id = self.tx.put_term(year, school, term.first, term.last).await?;
            let before = known.map(|(_, first, last)| json!([first, last]).to_string());
            self.keep("term", id, "periodo di servizio", before, json!([term.first, term.last]).to_string());
        }
        for closure in &work.closures {
            let (school, class) = match &closure.scope {
                Scope::Ente => (None, None),
                Scope::School { school } => (schools.get(school).copied(), None),
                Scope::Class { school, class } => (schools.get(school).copied(), classes.get(&(school.clone(), class.clone())).copied()),
            };
            let id = self.tx.add_closure(self.ente, school, class, closure.first, closure.last, &closure.reason, self.at).await?;
            if let Some(id) = id {
                self.keep("closure", id, &closure.reason, None, json!([closure.first, closure.last]).to_string());
            }
        }
        Ok(classes)
    }

    /// Adults; gives the row of each by its place in the roster.
    async fn adults(&mut self, work: &Work) -> Result<Vec<Option<i64>>, ImportError> {
        let mut rows = work.known_adults.clone();
        for (place, known, after) in &work.adults {
            let id = match known {
                Some(id) => {
                    self.tx.put_adult(self.ente, *id, after).await?;
                    *id
                }
                None => self.tx.add_adult(self.ente, after).await?,
            };
            let before = known.and_then(|id| self.picture.adults.get(&id)).map(kept).transpose()?;
            self.keep("adult", id, &format!("{} {}", after.last_name, after.first_name), before, kept(after)?);
            if let Some(slot) = rows.get_mut(*place) {
                *slot = Some(id);
            }
        }
        Ok(rows)
    }

    async fn children(
        &mut self,
        work: &Work,
        classes: &HashMap<(String, String), i64>,
        adults: &[Option<i64>],
        rng: &mut (impl Rng + Send),
    ) -> Result<(), ImportError> {
        let mut codes = Codes::new(self.picture, work);
        for child in &work.children {
            let mut state = child.state.clone();
            if let Some(class) = child.class.as_ref().and_then(|key| classes.get(key)) {
                state.class = *class;
            }
            if let Some(code) = codes.code_for(child, rng)? {
                code.as_str().clone_into(&mut state.code);
            }
            if let Some(links) = &child.links {
                let row = |(place, payer): &(usize, bool)| Some((adults.get(*place).copied().flatten()?, *payer));
                state.guardians = links.iter().filter_map(row).collect();
                // Whoever answers for a child now needs no delegation.
                let guardians: Vec<i64> = state.guardians.iter().map(|(id, _)| *id).collect();
                state.delegates.retain(|id| !guardians.contains(id));
            }
            let before = child.known.and_then(|id| self.picture.children.get(&id)).map(kept).transpose()?;
            let id = match child.known {
                Some(id) => {
                    self.tx.put_child(self.ente, ChildId(id), &state).await?;
                    id
                }
                None => self.tx.add_child(self.ente, &state, self.at).await?.0,
            };
            self.keep("child", id, &format!("{} {}", state.last_name, state.first_name), before, kept(&state)?);
        }
        Ok(())
    }
}

/// The codes that are given out.
pub(crate) struct Codes(HashSet<String>);

impl Codes {
    fn new(picture: &Picture, work: &Work) -> Self {
        let mut codes =
            Self::of(picture.children.values().map(|c| c.code.clone()).chain(picture.retired.iter().map(|(code, _)| code.clone())));
        // What the files give is not drawn for another child before.
        codes.0.extend(work.children.iter().filter_map(|c| c.code.as_ref()).map(|code| code.as_str().to_owned()));
        codes
    }

    /// With these given out.
    pub(crate) fn of(codes: impl Iterator<Item = String>) -> Self {
        Self(codes.collect())
    }

    /// A free one.
    pub(crate) fn draw(&mut self, rng: &mut impl Rng) -> Option<ChildCode> {
        (0..CODE_DRAWS).map(|_| ChildCode::random(rng)).find(|code| self.0.insert(code.as_str().to_owned()))
    }

    /// The code that the file gives, or that a new child draws; `None`: the child keeps its own.
    fn code_for(&mut self, child: &ChildWork, rng: &mut impl Rng) -> Result<Option<ChildCode>, ImportError> {
        if child.code.is_some() || child.known.is_some() {
            return Ok(child.code.clone());
        }
        let name = || format!("{} {}: non si trova un codice disdetta libero.", child.state.last_name, child.state.first_name);
        self.draw(rng).map(Some).ok_or_else(|| ImportError::Rows(vec![name()]))
    }
}

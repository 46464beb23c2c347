//! What families ask, and how the office answers (O8). Entered here after a call; the portal and the API use the same functions.

pub mod answer;
pub mod canned;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Desk, DeskError, ente_of,
    family::{Edited, merge},
    import::{FieldChange, field},
    mail::MailError,
    people::{Permission, Role},
    trail::{self, Actor, Subject},
};
pub use crate::store::{TicketFilter, TicketMessage, TicketOf, TicketOrder, TicketRow};
use crate::{
    canteen::{ChildId, EnteId, words::day_in_words},
    store::{ListedChild, PutMessage, PutTicket, StoreError, TicketChange, Tx},
};

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 150;
/// The longest message, in characters.
pub const LONGEST_TEXT: usize = 5_000;
/// The most messages of one ticket.
pub const MOST_MESSAGES: usize = 500;
/// Tickets that a child's or a family's page lists.
const MOST_LISTED: i64 = 20;

/// A word that stands in the database, and one that people read.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident: $word:literal, $shown:literal, $label:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the database.
            pub const fn stored(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The word in addresses and forms.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $shown,)+ }
            }

            /// What people read.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// From the database's word; what is not known is the last one.
            pub fn of(stored: &str) -> Self {
                match stored { $($word => Self::$variant,)+ _ => Self::LAST }
            }

            const LAST: Self = Self::ALL[Self::ALL.len() - 1];
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|one| one.word() == word).ok_or(())
            }
        }
    };
}

words! {
    /// What a ticket is about.
    Topic {
        /// Meals, cancellations.
        Meals: "meals", "pasti", "Pasti e disdette";
        /// The telephone line, codes.
        Line: "line", "telefono", "Telefono e codici";
        /// Payments.
        Payments: "payments", "pagamenti", "Pagamenti";
        /// Diets.
        Diet: "diet", "diete", "Diete";
        /// Enrolment, personal data.
        Enrolment: "enrolment", "iscrizione", "Iscrizione e dati";
        /// Anything else.
        Other: "other", "altro", "Altro";
    }
}

words! {
    /// How a ticket stands.
    TicketState {
        /// The office's turn.
        Open: "open", "aperta", "aperta";
        /// The family's turn.
        Waiting: "waiting", "attesa", "in attesa";
        /// Over.
        Closed: "closed", "chiusa", "chiusa";
    }
}

words! {
    /// Where a ticket came in.
    Origin {
        /// Entered by the office.
        Office: "office", "ufficio", "ufficio";
        /// By the family, on the portal.
        Portal: "portal", "portale", "portale";
        /// By another system.
        Api: "api", "api", "altro sistema";
    }
}

/// Who has written a message of this kind, in words.
pub fn said_by(kind: &str) -> &'static str {
    match kind {
        "family" => "Famiglia",
        "office" => "Risposta dell'ufficio",
        _ => "Nota interna",
    }
}

/// A ticket to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTicket {
    /// Where it comes in.
    pub origin: Origin,
    /// What it is about.
    pub topic: Topic,
    /// One line.
    pub title: String,
    /// What the family says.
    pub body: String,
    /// Who says it; empty where it is not known.
    pub author: String,
    /// The child it is about.
    pub child: Option<ChildId>,
    /// The adult who asks.
    pub adult: Option<i64>,
    /// Who looks after it.
    pub assigned: Option<i64>,
}

/// What of a ticket is edited in one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketEdit {
    /// One line.
    pub title: String,
    /// What it is about.
    pub topic: Topic,
    /// How it stands.
    pub state: TicketState,
    /// Who looks after it.
    pub assigned: Option<i64>,
}

impl TicketEdit {
    /// What stands.
    pub fn of(row: &TicketRow) -> Self {
        Self { title: row.title.clone(), topic: Topic::of(&row.topic), state: TicketState::of(&row.state), assigned: row.assigned_id }
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// A text is missing or too long.
    #[error("a text is missing or too long")]
    Text,
    /// A child, adult or person that is not this ente's, or that does not fit the others.
    #[error("that child, adult or person does not fit")]
    Unfit,
    /// There are too many messages in it.
    #[error("there are {MOST_MESSAGES} messages already")]
    Full,
    /// Somebody has changed it, or written into it, since it was shown.
    #[error("somebody else was quicker")]
    Stale,
    /// No such row of this ente.
    #[error("there is no such ticket")]
    Gone,
    /// No mail is sent from here.
    #[error("there is no mail server")]
    NoMail,
    /// The answer could not be queued.
    #[error(transparent)]
    Mail(MailError),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// An adult to whom an answer can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// Row.
    pub id: i64,
    /// First and last name.
    pub name: String,
    /// E-mail address; `None` where there is none that mail can be sent to.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
}

/// A ticket as the office sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketFile {
    /// The row.
    pub row: TicketRow,
    /// What can be edited of it.
    pub edit: TicketEdit,
    /// Its messages, the first ones first.
    pub messages: Vec<TicketMessage>,
    /// The child it is about.
    pub child: Option<ListedChild>,
    /// Who can be answered: the adult who asks, else the child's guardians.
    pub addressees: Vec<Addressee>,
    /// Now.
    pub now: DateTime<Utc>,
    /// What goes into the places of a canned answer to the first of them.
    pub values: canned::Values,
}

/// "n. 12: Codice perso"
fn name_of(id: i64, title: &str) -> String {
    format!("n. {id}: {title}")
}

fn subject(id: i64, name: &str) -> Subject<'_> {
    Subject { kind: "segnalazione", id: Some(id), name }
}

pub(super) fn for_trail(changes: &[FieldChange]) -> (Option<Value>, Option<Value>) {
    let of = |side: fn(&FieldChange) -> &str| Value::Object(changes.iter().map(|c| (c.name.to_owned(), side(c).into())).collect());
    (Some(of(|c| &c.before)), Some(of(|c| &c.after)))
}

fn is_text(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= longest
}

/// May this person look after tickets here?
async fn check_person(tx: &mut Tx, ente: EnteId, person: Option<i64>) -> Result<(), TicketError> {
    let Some(id) = person else { return Ok(()) };
    let row = tx.person(id).await?.filter(|p| p.ente_id == ente.0 && p.disabled_at.is_none());
    let role: Option<Role> = row.and_then(|p| p.role.parse().ok());
    if role.is_some_and(|role| role.may(Permission::AnswerTickets)) { Ok(()) } else { Err(TicketError::Unfit) }
}

async fn addressees(tx: &mut Tx, ente: EnteId, row: &TicketRow) -> Result<Vec<Addressee>, StoreError> {
    let ids = match (row.guardian_id, row.child_id) {
        (Some(adult), _) => vec![adult],
        (None, Some(child)) => match tx.child_state(ente, ChildId(child)).await? {
            Some(found) => found.state.guardians.iter().map(|(id, _)| *id).collect(),
            None => vec![],
        },
        (None, None) => vec![],
    };
    let mut all = Vec::new();
    for id in ids {
        let Some(found) = tx.adult_state(ente, id).await? else { continue };
        let adult = found.state;
        all.push(Addressee {
            id,
            name: format!("{} {}", adult.first_name, adult.last_name),
            email: adult.email.filter(|email| super::mail::is_address(email)),
            phone: adult.phone,
        });
    }
    Ok(all)
}

impl Desk {
    /// A page of the tickets, and how many there are.
    pub async fn list_tickets(
        &self,
        ente: EnteId,
        filter: &TicketFilter,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<TicketRow>, i64), DeskError> {
        Ok(self.db.read().await?.list_tickets(ente, filter, offset, limit).await?)
    }

    /// The latest tickets of a child, newest first.
    pub async fn tickets_of_child(&self, ente: EnteId, child: ChildId) -> Result<Vec<TicketRow>, DeskError> {
        let filter = TicketFilter { child: Some(child), descending: true, ..TicketFilter::default() };
        Ok(self.list_tickets(ente, &filter, 0, MOST_LISTED).await?.0)
    }

    /// The latest tickets of an adult and of their children, newest first.
    pub async fn tickets_of_adult(&self, ente: EnteId, adult: i64) -> Result<Vec<TicketRow>, DeskError> {
        let filter = TicketFilter { adult: Some(adult), descending: true, ..TicketFilter::default() };
        Ok(self.list_tickets(ente, &filter, 0, MOST_LISTED).await?.0)
    }

    /// How many tickets wait for the office, and how many of them for this person or for nobody in particular.
    pub async fn open_tickets(&self, ente: EnteId, person: Option<i64>) -> Result<(i64, i64), DeskError> {
        Ok(self.db.read().await?.open_tickets(ente, person).await?)
    }

    /// One ticket; `None` where it is not this ente's. Who looked is noted by the caller.
    pub async fn ticket_file(&self, ente: EnteId, id: i64) -> Result<Option<TicketFile>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let Some(row) = tx.ticket(ente, id).await? else { return Ok(None) };
        let today = ente_of(&mut tx, ente).await?.window.local(now).date();
        let addressees = addressees(&mut tx, ente, &row).await?;
        let child = match row.child_id {
            Some(child) => tx.listed_child(ente, ChildId(child)).await?,
            None => None,
        };
        let values = canned::Values {
            name: addressees.first().map_or_else(|| "famiglia".to_owned(), |a| a.name.clone()),
            child: child.as_ref().map_or_else(|| "il bambino".to_owned(), |c| format!("{} {}", c.first_name, c.last_name)),
            day: day_in_words(today),
        };
        let messages = tx.ticket_messages(id).await?;
        Ok(Some(TicketFile { edit: TicketEdit::of(&row), messages, child, addressees, now, values, row }))
    }

    /// The adults beside a child, guardians first, by row and name: who may be calling.
    pub async fn adults_beside(&self, ente: EnteId, child: ChildId) -> Result<Vec<(i64, String)>, DeskError> {
        let mut tx = self.db.read().await?;
        let Some(found) = tx.child_state(ente, child).await? else { return Ok(vec![]) };
        let mut adults = Vec::new();
        for id in found.state.guardians.iter().map(|(id, _)| *id).chain(found.state.delegates) {
            if let Some(adult) = tx.adult_state(ente, id).await? {
                adults.push((id, format!("{} {}", adult.state.first_name, adult.state.last_name)));
            }
        }
        Ok(adults)
    }

    /// Enters a ticket with what the family says.
    pub async fn open_ticket(&self, actor: &Actor, new: &NewTicket) -> Result<i64, TicketError> {
        if !is_text(&new.title, LONGEST_TITLE) || !is_text(&new.body, LONGEST_TEXT) || new.author.chars().count() > LONGEST_TITLE {
            return Err(TicketError::Text);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        check_person(&mut tx, actor.ente, new.assigned).await?;
        let mut author = new.author.trim().to_owned();
        if let Some(child) = new.child {
            let state = tx.child_state(actor.ente, child).await?.ok_or(TicketError::Unfit)?.state;
            let beside = |adult: i64| state.delegates.contains(&adult) || state.guardians.iter().any(|(id, _)| *id == adult);
            if new.adult.is_some_and(|adult| !beside(adult)) {
                return Err(TicketError::Unfit);
            }
        }
        if let Some(adult) = new.adult {
            let state = tx.adult_state(actor.ente, adult).await?.ok_or(TicketError::Unfit)?.state;
            if author.is_empty() {
                author = format!("{} {}", state.first_name, state.last_name);
            }
        }
        let put = PutTicket {
            origin: new.origin.stored(),
            topic: new.topic.stored(),
            title: new.title.trim(),
            child: new.child,
            guardian: new.adult,
            assigned: new.assigned,
            actor: &actor.name,
            at,
        };
        let id = tx.add_ticket(actor.ente, &put).await?;
        let author = if author.is_empty() { "famiglia" } else { &author };
        tx.add_ticket_message(actor.ente, id, &PutMessage { kind: "family", author, at, body: new.body.trim(), mail: None }).await?;
        let name = name_of(id, put.title);
        let after = json!({ "argomento": new.topic.label(), "da": new.origin.label() });
        trail::record(&mut tx, at, actor, "ha aperto una segnalazione", subject(id, &name), None, Some(after)).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes title, topic, state or who looks after it. `base` is what the form showed when it was opened, at `version`.
    pub async fn change_ticket(
        &self,
        actor: &Actor,
        id: i64,
        version: i64,
        base: &TicketEdit,
        mine: &TicketEdit,
    ) -> Result<Edited<TicketEdit>, TicketError> {
        if !is_text(&mine.title, LONGEST_TITLE) {
            return Err(TicketError::Text);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.ticket(actor.ente, id).await?.ok_or(TicketError::Gone)?;
        let found = TicketEdit::of(&row);
        if row.version != version && found != *base {
            let mut both = Vec::new();
            let merged = TicketEdit {
                title: merge("titolo", &base.title, &found.title, &mine.title, &mut both),
                topic: merge("argomento", &base.topic, &found.topic, &mine.topic, &mut both),
                state: merge("stato", &base.state, &found.state, &mine.state, &mut both),
                assigned: merge("chi se ne occupa", &base.assigned, &found.assigned, &mine.assigned, &mut both),
            };
            return Ok(Edited::Meanwhile { merged, version: row.version, theirs: changes(&mut tx, base, &found).await?, both });
        }
        if *mine == found {
            return Ok(Edited::Saved);
        }
        if mine.assigned != found.assigned {
            check_person(&mut tx, actor.ente, mine.assigned).await?;
        }
        if !tx.change_ticket(actor.ente, id, row.version, &change(&row, mine, at, row.touched_at)).await? {
            return Err(TicketError::Stale);
        }
        let (before, after) = for_trail(&changes(&mut tx, &found, mine).await?);
        trail::record(&mut tx, at, actor, "ha cambiato una segnalazione", subject(id, &name_of(id, &mine.title)), before, after).await?;
        tx.commit().await?;
        Ok(Edited::Saved)
    }
}

fn change<'a>(row: &TicketRow, edit: &'a TicketEdit, at: DateTime<Utc>, touched_at: DateTime<Utc>) -> TicketChange<'a> {
    TicketChange {
        topic: edit.topic.stored(),
        title: edit.title.trim(),
        state: edit.state.stored(),
        assigned: edit.assigned,
        closed_at: (edit.state == TicketState::Closed).then(|| row.closed_at.unwrap_or(at)),
        touched_at,
    }
}

async fn changes(tx: &mut Tx, before: &TicketEdit, after: &TicketEdit) -> Result<Vec<FieldChange>, StoreError> {
    let mut list = vec![
        field("titolo", before.title.clone(), after.title.clone()),
        field("argomento", before.topic.label().to_owned(), after.topic.label().to_owned()),
        field("stato", before.state.label().to_owned(), after.state.label().to_owned()),
    ];
    if before.assigned != after.assigned {
        let mut names = [String::new(), String::new()];
        for (name, id) in names.iter_mut().zip([before.assigned, after.assigned]) {
            let person = match id {
                Some(id) => tx.person(id).await?,
                None => None,
            };
            *name = person.map_or_else(|| "nessuno".to_owned(), |p| p.name);
        }
        let [was, is] = names;
        list.push(field("chi se ne occupa", was, is));
    }
    list.retain(|change| change.before != change.after);
    Ok(list)
}

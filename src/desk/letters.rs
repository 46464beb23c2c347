//! Letters with codes and credentials: whose they are, printed or mailed, and what was made when.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Desk, DeskError, ente_of,
    mail::{self, Attachment, MailError, MailKind, NewMail, is_address},
    trail::{Actor, Subject, record},
};
pub use crate::store::{Addressees, LetterClass, LetterRow};
use crate::{
    canteen::{ChildId, EnteId, code::ChildCode, offer::Offered},
    papers::{
        Heading, Logo, PaperError,
        letter::{self, Child, Family, Letters, LineGuide, MOST_LETTERS, MenuKey},
    },
    store::{LetterChild, LetterGuardian, Tx},
};

/// The most families that are mailed at once.
pub const MOST_MAILED: usize = 400;
/// Children read for letters: brothers and sisters of the most letters there can be.
const MOST_CHILDREN: i64 = 4_000;

/// A family that a letter would go to, as it is shown beforehand: without codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterFamily {
    /// Children: row, name, school and class.
    pub children: Vec<(ChildId, String, String)>,
    /// Guardians: row, name, and the address that mail can be sent to.
    pub guardians: Vec<(i64, String, Option<String>)>,
}

impl LetterFamily {
    /// Can a letter be mailed?
    pub fn has_address(&self) -> bool {
        self.guardians.iter().any(|(_, _, email)| email.is_some())
    }
}

/// What mailing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mailed {
    /// Mails queued.
    pub mails: usize,
    /// Families that they go to.
    pub families: usize,
    /// Families without an address: their letter has to be printed.
    pub without_address: usize,
}

/// Why there are no letters.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// Nobody to write to.
    #[error("there is nobody to write to")]
    Nobody,
    /// Too many at once.
    #[error("{0} letters are too many at once")]
    TooMany(usize),
    /// A code was replaced while the letters were being made.
    #[error("a code has changed meanwhile")]
    Changed,
    /// They could not be set.
    #[error(transparent)]
    Paper(#[from] PaperError),
    /// They could not be queued.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<crate::store::StoreError> for LetterError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// A family with its codes.
struct Household {
    shown: LetterFamily,
    printed: Family,
}

/// All that letters need, read in one picture.
struct Batch {
    letters: Letters,
    households: Vec<Household>,
    at: DateTime<Utc>,
    name: String,
}

impl Batch {
    fn codes(&self) -> BTreeSet<&str> {
        self.households.iter().flat_map(|h| &h.printed.children).filter_map(|c| Some(c.code.as_ref()?.as_str())).collect()
    }
}

impl Desk {
    /// The classes that letters can be made for.
    pub async fn letter_classes(&self, ente: EnteId) -> Result<Vec<LetterClass>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, ente).await?.window.local(now).date();
        Ok(tx.letter_classes(ente, today).await?)
    }

    /// The families that letters would go to.
    pub async fn letter_families(&self, ente: EnteId, addressees: Addressees) -> Result<Vec<LetterFamily>, DeskError> {
        let mut tx = self.db.read().await?;
        let batch = read(&mut tx, self, ente, addressees, &[]).await?;
        Ok(batch.households.into_iter().map(|h| h.shown).collect())
    }

    /// Letters that were made, newest first, of one child or of all; and how many there are.
    pub async fn letters(&self, ente: EnteId, child: Option<ChildId>, offset: i64, limit: i64) -> Result<(Vec<LetterRow>, i64), DeskError> {
        Ok(self.db.read().await?.letters(ente, child, offset, limit).await?)
    }

    /// Sets the letters as one PDF, and notes that they were printed. `keys` is what the line's menu offers.
    pub async fn print_letters(&self, actor: &Actor, addressees: Addressees, keys: &[MenuKey]) -> Result<Vec<u8>, LetterError> {
        let mut tx = self.db.read().await?;
        let batch = read(&mut tx, self, actor.ente, addressees, keys).await?;
        drop(tx);
        check_number(&batch, MOST_LETTERS)?;
        let mut letters = batch.letters.clone();
        letters.families = batch.households.iter().map(|h| h.printed.clone()).collect();
        let at = batch.at;
        let pdf = on_a_thread(move || letter::pdf(&letters, at)).await?;
        let mut tx = self.db.write().await?;
        let at = unchanged(&mut tx, self, actor.ente, addressees, &batch).await?;
        for (child, _, _) in batch.households.iter().flat_map(|h| &h.shown.children) {
            tx.add_letter(actor.ente, *child, at, &actor.name, None).await?;
        }
        note(&mut tx, at, actor, "ha stampato lettere con i codici", addressees, &batch, batch.households.len()).await?;
        tx.commit().await?;
        Ok(pdf)
    }

    /// The first family's letter with dots in place of its codes: to look at, before any is made. Nothing is noted.
    pub async fn specimen_letter(&self, ente: EnteId, addressees: Addressees, keys: &[MenuKey]) -> Result<Vec<u8>, LetterError> {
        let mut tx = self.db.read().await?;
        let batch = read(&mut tx, self, ente, addressees, keys).await?;
        drop(tx);
        let Batch { mut letters, households, at, .. } = batch;
        let mut family = households.into_iter().next().ok_or(LetterError::Nobody)?.printed;
        family.children.iter_mut().for_each(|child| child.code = None);
        letters.families = vec![family];
        Ok(on_a_thread(move || letter::pdf(&letters, at)).await?)
    }

    /// Queues each family's letter to every guardian who has an address. `form` is drawn once for the page on which it is asked for: the
    /// same page sent twice queues nothing more.
    pub async fn mail_letters(&self, actor: &Actor, addressees: Addressees, keys: &[MenuKey], form: &str) -> Result<Mailed, LetterError> {
        let mut tx = self.db.read().await?;
        let batch = read(&mut tx, self, actor.ente, addressees, keys).await?;
        drop(tx);
        check_number(&batch, MOST_MAILED)?;
        let reached: Vec<&Household> = batch.households.iter().filter(|h| h.shown.has_address()).collect();
        let mut pdfs = Vec::with_capacity(reached.len());
        for household in &reached {
            let mut letters = batch.letters.clone();
            letters.families = vec![household.printed.clone()];
            let at = batch.at;
            pdfs.push(on_a_thread(move || letter::pdf(&letters, at)).await?);
        }
        let mut tx = self.db.write().await?;
        let at = unchanged(&mut tx, self, actor.ente, addressees, &batch).await?;
        let mut done = Mailed { without_address: batch.households.len() - reached.len(), ..Mailed::default() };
        for (household, pdf) in reached.iter().zip(pdfs) {
            let mut sent = false;
            for (guardian, name, email) in &household.shown.guardians {
                let Some(email) = email else { continue };
                let mail = letter_mail(&batch, household, name, email, &pdf, form);
                let Some(id) = mail::queue(&mut tx, at, actor, &mail).await? else { continue };
                sent = true;
                done.mails += 1;
                for (child, _, _) in &household.shown.children {
                    tx.add_letter(actor.ente, *child, at, &actor.name, Some((*guardian, id))).await?;
                }
            }
            done.families += usize::from(sent);
        }
        if done.mails > 0 {
            note(&mut tx, at, actor, "ha spedito lettere con i codici", addressees, &batch, done.mails).await?;
        }
        tx.commit().await?;
        Ok(done)
    }
}

fn check_number(batch: &Batch, most: usize) -> Result<(), LetterError> {
    match batch.households.len() {
        0 => Err(LetterError::Nobody),
        n if n > most => Err(LetterError::TooMany(n)),
        _ => Ok(()),
    }
}

/// Setting a page takes the processor: not on the threads that serve everybody.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, PaperError> + Send + 'static) -> Result<T, PaperError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(PaperError::Setting(error.to_string())),
    }
}

fn letter_mail(batch: &Batch, household: &Household, name: &str, email: &str, pdf: &[u8], form: &str) -> NewMail {
    let children: Vec<&str> = household.shown.children.iter().map(|(_, name, _)| name.as_str()).collect();
    let first = household.shown.children.first().map_or(0, |(child, _, _)| child.0);
    NewMail {
        kind: MailKind::Letter,
        cause: Some(format!("lettera:{form}:{first}:{email}")),
        recipient: email.to_owned(),
        recipient_name: name.to_owned(),
        subject: "Servizio mensa: lettera codici e credenziali".to_owned(),
        body: format!(
            "Gentile {name},\n\nin allegato trova la lettera con i codici per disdire i pasti della mensa scolastica ({}) e le istruzioni per \
             usare il servizio telefonico.\n\nI codici sono riservati: La preghiamo di conservarli con cura. In caso di smarrimento l'ufficio \
             li sostituisce subito.\n\nCordiali saluti\n{}\n{}\n",
            children.join(", "),
            batch.name,
            batch.letters.contact.join(", "),
        ),
        attachments: vec![Attachment {
            name: "lettera-codici-e-credenziali.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            content: pdf.to_vec(),
        }],
    }
}

async fn note(
    tx: &mut Tx,
    at: DateTime<Utc>,
    actor: &Actor,
    action: &'static str,
    addressees: Addressees,
    batch: &Batch,
    letters: usize,
) -> Result<(), DeskError> {
    let (kind, id, name) = match addressees {
        Addressees::School(id) => ("scuola", id, "lettere della scuola".to_owned()),
        Addressees::Class(id) => ("classe", id, tx.class_title(actor.ente, id).await?.unwrap_or_default()),
        Addressees::Child(child) => {
            let found = batch.households.iter().flat_map(|h| &h.shown.children).find(|(id, ..)| *id == child);
            ("bambino", child.0, found.map_or_else(String::new, |(_, name, _)| name.clone()))
        }
    };
    record(tx, at, actor, action, Subject { kind, id: Some(id), name: &name }, None, Some(json!({ "lettere": letters }))).await
}

/// The letters were set outside a transaction: within this one, every code has still to be the one that was printed.
async fn unchanged(tx: &mut Tx, desk: &Desk, ente: EnteId, addressees: Addressees, batch: &Batch) -> Result<DateTime<Utc>, LetterError> {
    let again = read(tx, desk, ente, addressees, &[]).await?;
    if again.codes() == batch.codes() { Ok(again.at) } else { Err(LetterError::Changed) }
}

async fn read(tx: &mut Tx, desk: &Desk, ente: EnteId, addressees: Addressees, keys: &[MenuKey]) -> Result<Batch, DeskError> {
    let at = tx.instant(&desk.clock).await?;
    let row = ente_of(tx, ente).await?;
    let today = row.window.local(at).date();
    let settings = tx.settings(ente).await?.unwrap_or_default();
    let logo = tx.logo(ente).await?.and_then(|(media_type, picture)| Logo::kept(&media_type, picture));
    let children = tx.letter_children(ente, addressees, today, MOST_CHILDREN).await?;
    let ids: Vec<i64> = children.iter().map(|child| child.id).collect();
    let guardians = tx.letter_guardians(&ids).await?;
    // A change of the window that has been decided is what the letter tells: it will be read for months.
    let (opens, cutoff) = match tx.window_change(ente).await? {
        Some(change) => (change.opens, change.cutoff),
        None => (row.window.opens, row.window.cutoff),
    };
    let lines = |text: &Option<String>| text.as_deref().unwrap_or_default().lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    let offered = Offered::from_bits(settings.phone_options);
    let letters = Letters {
        heading: Heading { name: row.name.clone(), office: settings.office.clone(), lines: lines(&settings.heading), logo },
        place: settings.place.clone(),
        day: today,
        school_year: tx.latest_school_year(ente).await?.map(|year| year.name),
        line: LineGuide { numbers: tx.printed_numbers(ente).await?, opens, cutoff, keys: offered_keys(keys, offered) },
        portal: settings.portal.clone(),
        contact: row.office_phone.iter().map(|phone| format!("tel. {phone}")).chain(settings.email.clone()).collect(),
        signature: lines(&settings.signature),
        families: vec![],
    };
    Ok(Batch { letters, households: households(children, &guardians), at, name: row.name })
}

/// The keys of options that are not offered are left out.
fn offered_keys(keys: &[MenuKey], offered: Offered) -> Vec<MenuKey> {
    let usual;
    let keys = if keys.is_empty() {
        usual = letter::usual_keys();
        &usual
    } else {
        keys
    };
    keys.iter().filter(|key| key.option.is_none_or(|option| offered.contains(option))).cloned().collect()
}

/// Children who have the same guardians are a family; a child without guardians is one by itself. In the order of the children.
fn households(children: Vec<LetterChild>, guardians: &[LetterGuardian]) -> Vec<Household> {
    let mut of_child: HashMap<i64, Vec<&LetterGuardian>> = HashMap::new();
    for guardian in guardians {
        of_child.entry(guardian.child_id).or_default().push(guardian);
    }
    let mut place: HashMap<BTreeSet<i64>, usize> = HashMap::new();
    let mut wanted: Vec<bool> = Vec::new();
    let mut households: Vec<Household> = Vec::new();
    for child in children {
        // A code that is none cannot be printed; `voceguida check` tells of it.
        let Ok(code) = ChildCode::parse(&child.code) else { continue };
        let own = of_child.remove(&child.id).unwrap_or_default();
        let key: BTreeSet<i64> = own.iter().map(|guardian| guardian.id).collect();
        let known = if key.is_empty() { None } else { place.get(&key).copied() };
        let index = known.unwrap_or_else(|| {
            place.insert(key, households.len());
            wanted.push(false);
            households.push(household(&own));
            households.len() - 1
        });
        let (Some(household), Some(wanted)) = (households.get_mut(index), wanted.get_mut(index)) else { continue };
        *wanted |= child.wanted;
        let name = format!("{} {}", child.last_name, child.first_name);
        let class = format!("{}, {}", child.school, child.class);
        household.shown.children.push((ChildId(child.id), name.clone(), class.clone()));
        household.printed.children.push(Child { name, class, code: Some(code) });
    }
    let mut wanted = wanted.into_iter();
    households.retain(|_| wanted.next().unwrap_or(false));
    households
}

fn household(guardians: &[&LetterGuardian]) -> Household {
    let name = |g: &LetterGuardian| format!("{} {}", g.first_name, g.last_name);
    let address = |g: &LetterGuardian| g.email.clone().filter(|email| is_address(email));
    Household {
        shown: LetterFamily { children: vec![], guardians: guardians.iter().map(|g| (g.id, name(g), address(g))).collect() },
        printed: Family { guardians: guardians.iter().map(|g| name(g)).collect(), ..Family::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(id: i64, wanted: bool) -> LetterChild {
        let code = ChildCode::random(&mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(id as u64));
        LetterChild {
            id,
            last_name: format!("Prova{id}"),
            first_name: "Ada".into(),
            school: "Primaria".into(),
            class: "1A".into(),
            code: code.as_str().into(),
            wanted,
        }
    }

    fn guardian(child_id: i64, id: i64) -> LetterGuardian {
        LetterGuardian { child_id, id, last_name: format!("Rossi{id}"), first_name: "Leo".into(), email: Some("leo@rossi.example".into()) }
    }

    #[test]
    fn children_with_the_same_guardians_are_one_family() {
        let children = vec![child(1, true), child(2, false), child(3, false), child(4, true), child(5, true)];
        // 1 and 2 share both; 3 has one of them only, with another partner; 4 and 5 have nobody.
        let guardians = [guardian(1, 10), guardian(1, 11), guardian(2, 11), guardian(2, 10), guardian(3, 11), guardian(3, 12)];
        let families: Vec<Vec<i64>> =
            households(children, &guardians).iter().map(|h| h.shown.children.iter().map(|(id, _, _)| id.0).collect()).collect();
        assert_eq!(families, [vec![1, 2], vec![4], vec![5]], "brothers come along, half-brothers get a letter of their own");
    }
}

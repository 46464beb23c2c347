//! News to families (O4): written, decided on, seen in their time, mailed once.
//!
//! What the office decides (draft, public, withdrawn) is kept; whether families see it follows from that and the time ([`NewsState::at`]), so nothing has to happen
//! when a time comes. Mail is queued a little later by whoever looks first ([`mailing`]).

pub mod mailing;
pub mod state;
pub mod text;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::state::NewsState;
use super::{
    Desk, DeskError, ente_of,
    family::{Edited, merge},
    import::{FieldChange, field},
    trail::{self, Actor, Subject, difference},
};
pub use crate::store::{NewsFilter, NewsKind, NewsOrder, NewsRow, NewsTarget, Reach};
use crate::{
    canteen::{
        EnteId,
        book::Place,
        window::Window,
        words::{day_in_words, time_in_words},
    },
    store::{Decision, PutNews, StoreError, Tx},
};

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 150;
/// The longest text, in characters, as it is written and as it is mailed.
pub const LONGEST_TEXT: usize = 10_000;
/// The most schools and classes that one news item names.
pub const MOST_TARGETS: usize = 200;
/// The most news that an adult is shown.
const MOST_SHOWN: i64 = 100;

/// What of a news item is edited in one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct NewsEdit {
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Whom it is for, sorted; nobody in particular is everybody.
    pub targets: Vec<NewsTarget>,
    /// From when on it is seen; `None`: as soon as it is decided on.
    pub from: Option<DateTime<Utc>>,
    /// Until when; this instant is not in any more.
    pub until: Option<DateTime<Utc>>,
    /// Above the others.
    pub pinned: bool,
    /// Goes out by mail as well.
    pub by_mail: bool,
}

impl NewsEdit {
    /// What stands.
    pub fn of(row: &NewsRow, targets: Vec<NewsTarget>) -> Self {
        Self {
            title: row.title.clone(),
            body: row.body.clone(),
            targets,
            from: row.from_at,
            until: row.until_at,
            pinned: row.pinned,
            by_mail: row.by_mail,
        }
    }

    fn check(&self) -> Result<(), NewsError> {
        if self.from.zip(self.until).is_some_and(|(from, until)| until <= from) {
            return Err(NewsError::Backwards);
        }
        let long = |text: &str, most: usize| text.chars().count() > most;
        // Links may make the plain text longer than what was written.
        if long(&self.title, LONGEST_TITLE)
            || long(&self.body, LONGEST_TEXT)
            || long(&text::plain(&self.body), LONGEST_TEXT + LONGEST_TEXT / 2)
        {
            return Err(NewsError::TooLong);
        }
        if self.targets.len() > MOST_TARGETS {
            return Err(NewsError::Target);
        }
        Ok(())
    }

    fn put<'a>(&'a self, actor: &'a Actor, at: DateTime<Utc>) -> PutNews<'a> {
        PutNews {
            title: &self.title,
            body: &self.body,
            from_at: self.from,
            until_at: self.until,
            pinned: self.pinned,
            by_mail: self.by_mail,
            actor: &actor.name,
            at,
        }
    }
}

/// Why a news item was not written or decided on; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NewsError {
    /// It is over before it begins.
    #[error("it ends before it begins")]
    Backwards,
    /// Its time is over already.
    #[error("its time is over")]
    Over,
    /// Title or text is too long.
    #[error("title or text is too long")]
    TooLong,
    /// A school or class that is not this ente's, or too many of them.
    #[error("there is no such school or class")]
    Target,
    /// Somebody has changed it since it was shown, or it is not in a state in which this can be done.
    #[error("somebody else was quicker")]
    Stale,
    /// No such row of this ente.
    #[error("there is no such news item")]
    Gone,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for NewsError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// A news item as the office sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsFile {
    /// The row.
    pub row: NewsRow,
    /// What can be edited of it.
    pub edit: NewsEdit,
    /// How it stands now.
    pub state: NewsState,
    /// Whom it is for, in words.
    pub whom: String,
    /// Now.
    pub now: DateTime<Utc>,
}

/// News as a family reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdultNews {
    /// Row.
    pub id: i64,
    /// One line, plain text.
    pub title: String,
    /// Safe HTML ([`text::html`]).
    pub html: String,
    /// Above the others.
    pub pinned: bool,
    /// Since when it is public.
    pub from: DateTime<Utc>,
}

/// "giovedì 12 ottobre 2026, 8:55".
fn moment(window: &Window, at: DateTime<Utc>) -> String {
    let local = window.local(at);
    format!("{}, {}", day_in_words(local.date()), time_in_words(local.time()))
}

/// What stands, in words: for whoever compares two states of it.
async fn fields(tx: &mut Tx, ente: EnteId, window: &Window, before: &NewsEdit, after: &NewsEdit) -> Result<Vec<FieldChange>, StoreError> {
    let when = |at: Option<DateTime<Utc>>| at.map(|at| moment(window, at)).unwrap_or_default();
    let yes = |yes: bool| if yes { "sì".to_owned() } else { "no".to_owned() };
    let mut changes = vec![
        field("titolo", before.title.clone(), after.title.clone()),
        field("testo", before.body.clone(), after.body.clone()),
        field("da", when(before.from), when(after.from)),
        field("fino a", when(before.until), when(after.until)),
        field("in evidenza", yes(before.pinned), yes(after.pinned)),
        field("per posta", yes(before.by_mail), yes(after.by_mail)),
    ];
    if before.targets != after.targets {
        changes.push(field("per chi", whom(tx, ente, &before.targets).await?, whom(tx, ente, &after.targets).await?));
    }
    changes.retain(|change| change.before != change.after);
    Ok(changes)
}

/// "tutte le famiglie", "Scuola primaria; classe 1A (Scuola primaria, 2026/2027)".
async fn whom(tx: &mut Tx, ente: EnteId, targets: &[NewsTarget]) -> Result<String, StoreError> {
    if targets.is_empty() {
        return Ok("tutte le famiglie".to_owned());
    }
    let schools = tx.schools(ente).await?;
    let mut names = Vec::new();
    for target in targets {
        names.push(match target.class {
            Some(class) => format!("classe {}", tx.class_title(ente, class).await?.unwrap_or_default()),
            None => schools.iter().find(|s| s.id == target.school).map(|s| s.name.clone()).unwrap_or_default(),
        });
    }
    Ok(names.join("; "))
}

/// Are these schools and classes this ente's?
async fn check_targets(tx: &mut Tx, ente: EnteId, targets: &[NewsTarget]) -> Result<(), NewsError> {
    if targets.is_empty() {
        return Ok(());
    }
    let schools = tx.schools(ente).await?;
    let mut classes = Vec::new();
    for year in tx.school_years(ente).await? {
        classes.extend(tx.class_names(year.id).await?);
    }
    let fits = |target: &NewsTarget| match target.class {
        Some(class) => classes.iter().any(|c| c.id == class && c.school_id == target.school),
        None => schools.iter().any(|s| s.id == target.school),
    };
    if targets.iter().all(fits) { Ok(()) } else { Err(NewsError::Target) }
}

fn merge_news(base: &NewsEdit, theirs: &NewsEdit, mine: &NewsEdit) -> (NewsEdit, Vec<&'static str>) {
    let mut both = Vec::new();
    let merged = NewsEdit {
        title: merge("titolo", &base.title, &theirs.title, &mine.title, &mut both),
        body: merge("testo", &base.body, &theirs.body, &mine.body, &mut both),
        targets: merge("per chi", &base.targets, &theirs.targets, &mine.targets, &mut both),
        from: merge("da", &base.from, &theirs.from, &mine.from, &mut both),
        until: merge("fino a", &base.until, &theirs.until, &mine.until, &mut both),
        pinned: merge("in evidenza", &base.pinned, &theirs.pinned, &mine.pinned, &mut both),
        by_mail: merge("per posta", &base.by_mail, &theirs.by_mail, &mine.by_mail, &mut both),
    };
    (merged, both)
}

fn subject(id: i64, title: &str) -> Subject<'_> {
    Subject { kind: "avviso", id: Some(id), name: title }
}

fn for_trail(changes: &[FieldChange]) -> (Option<Value>, Option<Value>) {
    let of = |side: fn(&FieldChange) -> &str| Value::Object(changes.iter().map(|c| (c.name.to_owned(), side(c).into())).collect());
    (Some(of(|c| &c.before)), Some(of(|c| &c.after)))
}

impl Desk {
    /// A page of the news, each with how it stands now and whom it is for; and how many there are.
    pub async fn list_news(
        &self,
        ente: EnteId,
        filter: NewsFilter,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<(NewsRow, NewsState, String)>, i64), DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let (rows, total) = tx.list_news(ente, filter, now, offset, limit).await?;
        let mut news = Vec::with_capacity(rows.len());
        for row in rows {
            let targets = tx.news_targets(row.id).await?;
            let state = NewsState::at(&row.state, row.from_at, row.until_at, now);
            news.push((row, state, whom(&mut tx, ente, &targets).await?));
        }
        Ok((news, total))
    }

    /// One news item; `None` where it is not this ente's.
    pub async fn news_file(&self, ente: EnteId, id: i64) -> Result<Option<NewsFile>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let Some(row) = tx.news(ente, id).await? else { return Ok(None) };
        let targets = tx.news_targets(id).await?;
        let whom = whom(&mut tx, ente, &targets).await?;
        let state = NewsState::at(&row.state, row.from_at, row.until_at, now);
        Ok(Some(NewsFile { edit: NewsEdit::of(&row, targets), row, state, whom, now }))
    }

    /// Whom a news item of this ente reaches now: every child concerned is counted.
    pub async fn news_reach(&self, ente: EnteId, id: i64) -> Result<Reach, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, ente).await?.window.local(now).date();
        Ok(tx.news_reach(id, today).await?)
    }

    /// What an adult may read now: news for the schools and classes of their children.
    pub async fn news_for_adult(&self, ente: EnteId, adult: i64) -> Result<Vec<AdultNews>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, ente).await?.window.local(now).date();
        let rows = tx.news_of_adult(ente, adult, now, today, MOST_SHOWN).await?;
        let shown = |row: crate::store::FamilyNews| AdultNews {
            id: row.id,
            html: text::html(&row.body),
            title: row.title,
            pinned: row.pinned,
            from: row.from_at,
        };
        Ok(rows.into_iter().map(shown).collect())
    }

    /// A new draft.
    pub async fn draft_news(&self, actor: &Actor, edit: &NewsEdit) -> Result<i64, NewsError> {
        edit.check()?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let id = draft(&mut tx, at, actor, edit, None).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The draft that tells families of a closure: the one that there is, or a new one with the text filled in. `None` where there is no such closure.
    pub async fn news_of_closure(&self, actor: &Actor, closure: i64) -> Result<Option<i64>, NewsError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if let Some(id) = tx.news_of_closure(actor.ente, closure).await? {
            return Ok(Some(id));
        }
        let book = tx.calendar_book(actor.ente, None).await?;
        let Some(found) = book.closures.iter().find(|c| c.id == closure) else { return Ok(None) };
        let window = ente_of(&mut tx, actor.ente).await?.window;
        let notice = super::calendar::words::notice(&book, found);
        let targets = match found.place {
            Place::Ente => vec![],
            Place::School(school) => vec![NewsTarget { school, class: None }],
            Place::Class { school, class } => vec![NewsTarget { school, class: Some(class) }],
        };
        let after = found.last.succ_opt().map(|day| window.instant(day.and_time(chrono::NaiveTime::MIN)));
        let edit = NewsEdit {
            title: notice.title.chars().take(LONGEST_TITLE).collect(),
            body: text::literal(&notice.text).chars().take(LONGEST_TEXT).collect(),
            targets,
            from: None,
            until: after.filter(|after| *after > at),
            pinned: false,
            by_mail: self.has_mail,
        };
        let id = draft(&mut tx, at, actor, &edit, Some(closure)).await?;
        tx.commit().await?;
        Ok(Some(id))
    }

    /// Changes a news item. `base` is what the form showed when it was opened, at `version`.
    pub async fn edit_news(
        &self,
        actor: &Actor,
        id: i64,
        version: i64,
        base: &NewsEdit,
        mine: &NewsEdit,
    ) -> Result<Edited<NewsEdit>, NewsError> {
        mine.check()?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.news(actor.ente, id).await?.ok_or(NewsError::Gone)?;
        let window = ente_of(&mut tx, actor.ente).await?.window;
        let found = NewsEdit::of(&row, tx.news_targets(id).await?);
        if row.version != version && found != *base {
            let theirs = fields(&mut tx, actor.ente, &window, base, &found).await?;
            let (merged, both) = merge_news(base, &found, mine);
            return Ok(Edited::Meanwhile { merged, version: row.version, theirs, both });
        }
        let mut mine = mine.clone();
        if row.state == "public" {
            // Since when it is public is known.
            mine.from = mine.from.or(row.from_at);
            mine.check()?;
        }
        if mine == found {
            return Ok(Edited::Saved);
        }
        check_targets(&mut tx, actor.ente, &mine.targets).await?;
        tx.put_news(actor.ente, id, &mine.put(actor, at)).await?;
        tx.put_news_targets(id, &mine.targets).await?;
        let (before, after) = for_trail(&fields(&mut tx, actor.ente, &window, &found, &mine).await?);
        trail::record(&mut tx, at, actor, "ha cambiato un avviso", subject(id, &mine.title), before, after).await?;
        tx.commit().await?;
        Ok(Edited::Saved)
    }

    /// Makes a news item public: now, or when its time comes. Gives the instant.
    pub async fn publish_news(&self, actor: &Actor, id: i64, version: i64) -> Result<DateTime<Utc>, NewsError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.news(actor.ente, id).await?.ok_or(NewsError::Gone)?;
        if row.state == "public" {
            return Err(NewsError::Stale);
        }
        let from = row.from_at.filter(|from| *from > at).unwrap_or(at);
        if row.until_at.is_some_and(|until| until <= from) {
            return Err(NewsError::Over);
        }
        if !tx.decide_news(actor.ente, id, version, &Decision { state: "public", from_at: Some(from), actor: &actor.name, at }).await? {
            return Err(NewsError::Stale);
        }
        let targets = tx.news_targets(id).await?;
        let whom = whom(&mut tx, actor.ente, &targets).await?;
        let window = ente_of(&mut tx, actor.ente).await?.window;
        let after = json!({ "da": moment(&window, from), "per chi": whom, "per posta": row.by_mail && row.mailed_at.is_none() });
        trail::record(&mut tx, at, actor, "ha pubblicato un avviso", subject(id, &row.title), None, Some(after)).await?;
        tx.commit().await?;
        Ok(from)
    }

    /// Takes a news item back: families do not see it any more, and mail that is not queued yet is not.
    pub async fn withdraw_news(&self, actor: &Actor, id: i64, version: i64) -> Result<(), NewsError> {
        self.decide(actor, id, version, ("public", "withdrawn"), "ha ritirato un avviso").await
    }

    /// Makes a draft of a news item that was taken back.
    pub async fn redraft_news(&self, actor: &Actor, id: i64, version: i64) -> Result<(), NewsError> {
        self.decide(actor, id, version, ("withdrawn", "draft"), "ha riportato un avviso in bozza").await
    }

    async fn decide(
        &self,
        actor: &Actor,
        id: i64,
        version: i64,
        (was, becomes): (&str, &str),
        action: trail::Action,
    ) -> Result<(), NewsError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.news(actor.ente, id).await?.ok_or(NewsError::Gone)?;
        if row.state != was
            || !tx.decide_news(actor.ente, id, version, &Decision { state: becomes, from_at: None, actor: &actor.name, at }).await?
        {
            return Err(NewsError::Stale);
        }
        trail::record(&mut tx, at, actor, action, subject(id, &row.title), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a draft that nobody outside has seen.
    pub async fn delete_news(&self, actor: &Actor, id: i64, version: i64) -> Result<(), NewsError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.news(actor.ente, id).await?.ok_or(NewsError::Gone)?;
        if !tx.delete_news(actor.ente, id, version).await? {
            return Err(NewsError::Stale);
        }
        let (before, _) = difference(&json!({ "testo": row.body }), &json!({}));
        trail::record(&mut tx, at, actor, "ha eliminato una bozza di avviso", subject(id, &row.title), before, None).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn draft(tx: &mut Tx, at: DateTime<Utc>, actor: &Actor, edit: &NewsEdit, closure: Option<i64>) -> Result<i64, NewsError> {
    check_targets(tx, actor.ente, &edit.targets).await?;
    let id = tx.add_news(actor.ente, &edit.put(actor, at), closure).await?;
    tx.put_news_targets(id, &edit.targets).await?;
    trail::record(tx, at, actor, "ha scritto una bozza di avviso", subject(id, &edit.title), None, None).await?;
    Ok(id)
}

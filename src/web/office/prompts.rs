//! The messages of the line: read, heard, recorded anew, put back (the prompt studio).
//!
//! A new recording is examined and listened to as a draft before it is spoken; what was spoken before stays as a version.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use chrono::{DateTime, Utc};

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page,
    files::{self, FileKind},
    line, redirect,
    trial::LineRoom,
};
use crate::{
    canteen::words::day_in_words,
    desk::{
        people::Permission,
        recordings::{MOST_VERSIONS, NewDraft, RecordingRow, VoiceError, VoiceRow},
    },
    voice::{
        check,
        prompts::{
            PromptLibrary, clip_of,
            examine::{Expected, Finding, LONGEST_S, Weight, examine, seconds},
            wav,
        },
        speech,
    },
};

const HERE: &str = "/ufficio/linea/messaggi";
/// The longest name of a file that is kept.
const LONGEST_FILE_NAME: usize = 80;

pub(super) fn area() -> Area {
    Area::new()
        .get(HERE, Permission::SeeLine, list)
        .get("/ufficio/linea/messaggi/{name}", Permission::SeeLine, show)
        .get("/ufficio/linea/messaggi/{name}/suono/{which}", Permission::SeeLine, sound)
        .files("/ufficio/linea/messaggi/{name}/carica", Permission::ChangeLine, bring)
        .get("/ufficio/linea/messaggi/{name}/nuova/{id}", Permission::ChangeLine, preview)
        .post("/ufficio/linea/messaggi/{name}/usa", Permission::ChangeLine, take)
        .post("/ufficio/linea/messaggi/{name}/scarta", Permission::ChangeLine, discard)
}

/// The pieces that days, times and numbers are made of, each kind with its title.
const PIECES: [(&str, &str); 5] = [
    ("settimana_", "Giorni della settimana"),
    ("giorno_", "Giorni del mese"),
    ("mese_", "Mesi"),
    ("numero_", "Ore e minuti"),
    ("cifra_", "Cifre delle ricevute"),
];

/// A prompt as it is listed.
struct Row {
    name: String,
    text: String,
    /// Who speaks it: steps of the plans.
    uses: Vec<String>,
    length: String,
    /// Since when a recording of the office's is spoken, and whose.
    own: Option<String>,
}

/// A group of prompts.
struct Group {
    title: String,
    rows: Vec<Row>,
    own: usize,
}

/// The line, and what this ente's calls hear.
fn room<'a>(office: &'a Office, page: &Page) -> Result<(&'a LineRoom, Arc<PromptLibrary>), Oops> {
    let line = office.line.as_ref().ok_or(Oops::NotFound)?;
    let library = line.shelf.library(page.ente.id);
    Ok((line, library))
}

/// Which steps of this ente's plans speak each prompt.
#[derive(Default)]
struct Uses {
    of: BTreeMap<String, Vec<String>>,
    /// The prompts in the order in which a call comes to them.
    order: Vec<String>,
}

impl Uses {
    fn of(line: &LineRoom, page: &Page) -> Self {
        let mut plans = Vec::new();
        for (_, number) in line.numbers_of(page.ente.id) {
            let plan = number.plan.load_full();
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
        let mut all = Self::default();
        for plan in &plans {
            let uses = check::uses(plan);
            for state in &plan.states {
                let first_here = uses.iter().filter(|(_, states)| states.first() == Some(&state.name.as_str()));
                let fresh: Vec<_> = first_here.map(|(name, _)| name.clone()).filter(|name| !all.of.contains_key(name)).collect();
                all.order.extend(fresh);
            }
            for (name, states) in uses {
                let steps = states.into_iter().map(|state| state.replace('_', " "));
                let steps = steps.map(|step| if plans.len() > 1 { format!("{step} ({})", plan.title) } else { step });
                all.of.entry(name).or_default().extend(steps);
            }
        }
        all
    }
}

/// A text as a step of the way here.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { format!("{}…", text.chars().take(38).collect::<String>().trim_end()) }
}

fn moment(page: &Page, at: DateTime<Utc>) -> String {
    let local = page.ente.window.local(at);
    format!("{}, ore {}", day_in_words(local.date()), local.format("%-H:%M"))
}

#[derive(Template)]
#[template(path = "office/prompts.html")]
struct Prompts<'a> {
    page: &'a Page,
    groups: Vec<Group>,
    pieces: Vec<Group>,
    search: String,
    total: usize,
    has_line: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let page = page.under("Linea", line::HERE).titled("Messaggi della linea");
    let asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(name, _)| name == "cerca").map(|(_, v)| v.into_owned());
    let search: String = asked.unwrap_or_default().trim().chars().take(100).collect();
    let Ok((line, library)) = room(&office, &page) else {
        return page.show(&Prompts { page: &page, groups: vec![], pieces: vec![], search, total: 0, has_line: false });
    };
    let voices = office.desk.voices(page.ente.id).await?;
    let uses = Uses::of(line, &page);
    let sought = search.to_lowercase();
    let row = |name: &str| {
        let text = library.text(name)?;
        if !text.to_lowercase().contains(&sought) && !name.contains(&sought) {
            return None;
        }
        let own = voices.iter().find(|voice| voice.prompt == name);
        Some(Row {
            name: name.to_owned(),
            text: text.to_owned(),
            uses: uses.of.get(name).cloned().unwrap_or_default(),
            length: seconds(library.clip(name).map_or(0, |clip| clip.duration_ms())).replace(" second", "\u{a0}second"),
            own: own.map(|voice| format!("dell'ufficio, da {}", moment(&page, voice.since))),
        })
    };
    let group = |title: &str, names: &mut dyn Iterator<Item = &str>| {
        let rows: Vec<_> = names.filter_map(row).collect();
        let own = rows.iter().filter(|row| row.own.is_some()).count();
        (!rows.is_empty()).then(|| Group { title: title.to_owned(), rows, own })
    };
    let spoken: Vec<String> = speech::all_names().collect();
    let is_piece = |name: &str| spoken.iter().any(|piece| piece == name);
    let used = |name: &str| uses.of.contains_key(name);
    let groups = [
        group("Messaggi, nell'ordine della chiamata", &mut uses.order.iter().map(String::as_str).filter(|name| !is_piece(name))),
        group("Non usati da nessun passo", &mut library.names().filter(|name| !is_piece(name)).filter(|name| !used(name))),
    ];
    let of = |stem: &'static str| spoken.iter().map(String::as_str).filter(move |name| name.starts_with(stem));
    let pieces = PIECES.iter().map(|(stem, title)| group(title, &mut of(stem)));
    let joins =
        group("Altri pezzi", &mut spoken.iter().map(String::as_str).filter(|name| !PIECES.iter().any(|(stem, _)| name.starts_with(stem))));
    let pieces: Vec<_> = pieces.chain([joins]).flatten().collect();
    let groups: Vec<_> = groups.into_iter().flatten().collect();
    let total = groups.iter().chain(&pieces).map(|group| group.rows.len()).sum();
    page.show(&Prompts { page: &page, groups, pieces, search, total, has_line: true })
}

/// A version of a prompt as it is shown.
struct Version {
    id: i64,
    what: String,
    length: String,
    notes: Vec<String>,
    spoken: bool,
}

#[derive(Template)]
#[template(path = "office/prompt.html")]
struct Shown<'a> {
    page: &'a Page,
    form: &'a Form,
    name: &'a str,
    text: &'a str,
    uses: Vec<String>,
    piece: bool,
    length: String,
    /// The row of the recording that is spoken; 0 for the delivered one.
    spoken: i64,
    since: Option<String>,
    versions: Vec<Version>,
}

fn findings_of(row: &RecordingRow) -> Vec<Finding> {
    serde_json::from_str(&row.findings).unwrap_or_default()
}

fn version(page: &Page, row: &RecordingRow, spoken: i64) -> Version {
    let warnings = findings_of(row).into_iter().filter(|finding| finding.weight() == Weight::Warning);
    Version {
        id: row.id,
        what: format!("{}, portata da {} {}", row.file_name, row.actor, moment(page, row.made_at)),
        length: seconds(row.duration_ms.unsigned_abs()),
        notes: warnings.map(Finding::words).collect(),
        spoken: row.id == spoken,
    }
}

async fn voice_of(office: &Office, page: &Page, name: &str) -> Result<Option<VoiceRow>, Oops> {
    Ok(office.desk.voices(page.ente.id).await?.into_iter().find(|voice| voice.prompt == name))
}

async fn page_of(office: &Office, page: Page, name: &str, form: &Form) -> Answer {
    let (line, library) = room(office, &page)?;
    let text = library.text(name).ok_or(Oops::NotFound)?;
    let voice = voice_of(office, &page, name).await?;
    let spoken = voice.as_ref().map_or(0, |voice| voice.recording_id);
    let rows = office.desk.recordings(page.ente.id, name).await?;
    let page = page.under("Linea", line::HERE).under("Messaggi della linea", HERE).titled(&shortened(text));
    let template = Shown {
        page: &page,
        form,
        name,
        text,
        uses: Uses::of(line, &page).of.remove(name).unwrap_or_default(),
        piece: library.is_part(name) || speech::all_names().any(|piece| piece == name),
        length: seconds(library.clip(name).map_or(0, |clip| clip.duration_ms())),
        spoken,
        since: voice.map(|voice| format!("{}, scelta da {}", moment(&page, voice.since), voice.actor)),
        versions: rows.iter().map(|row| version(&page, row, spoken)).collect(),
    };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

async fn show(State(office): State<Arc<Office>>, page: Page, Path(name): Path<String>) -> Answer {
    page_of(&office, page, &name, &Form::empty()).await
}

/// What a caller hears of a prompt: `uso` (what is spoken now), `serie` (what came with the line), or a recording's row.
async fn sound(State(office): State<Arc<Office>>, page: Page, Path((name, which)): Path<(String, String)>) -> Answer {
    let (line, library) = room(&office, &page)?;
    let clip = match which.as_str() {
        "uso" => library.clip(&name),
        "serie" => line.shelf.delivered().clip(&name),
        id => {
            let id: i64 = id.parse().map_err(|_| Oops::NotFound)?;
            office.desk.recording(page.ente.id, id).await?.filter(|row| row.prompt == name).ok_or(Oops::NotFound)?;
            let samples = office.desk.recording_sound(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
            tokio::task::spawn_blocking(move || clip_of("", &samples, false)).await.map_err(anyhow::Error::from)?.map(Arc::new)
        }
    };
    files::shown(FileKind::Wav, &name, wav(&[clip.ok_or(Oops::NotFound)?]))
}

/// A recording comes in: examined, kept as a draft, and on to where it is listened to.
async fn bring(State(office): State<Arc<Office>>, page: Page, Path(name): Path<String>, mut form: Form) -> Answer {
    let (line, library) = room(&office, &page)?;
    if !library.contains(&name) {
        return Err(Oops::NotFound);
    }
    let file = form.take_file("registrazione", "Registrazione");
    if let Some(file) = file.filter(|_| !form.is_bad()) {
        let delivered = line.shelf.delivered();
        let expected = Expected {
            duration_ms: delivered.clip(&name).map_or(0, |clip| clip.duration_ms()),
            part: delivered.is_part(&name),
            loudness_dbfs: delivered.loudness_dbfs(),
        };
        let turn = office.decoders.acquire().await.map_err(|_| Oops::Busy)?;
        let file_name: String = file.name.chars().take(LONGEST_FILE_NAME).collect();
        let (bytes, hint) = (file.bytes.to_vec(), file_name.clone());
        let examined = tokio::task::spawn_blocking(move || examine(bytes, &hint, &expected)).await;
        drop(turn);
        match examined {
            Ok(Ok(examined)) => {
                let findings = serde_json::to_string(&examined.findings).map_err(anyhow::Error::from)?;
                let draft = NewDraft { prompt: name.clone(), file_name, samples: examined.samples, findings };
                let id = office.desk.keep_draft(&page.actor(), &draft).await?;
                return redirect(&format!("{HERE}/{name}/nuova/{id}"));
            }
            Ok(Err(unusable)) => form.wrong("registrazione", "Registrazione", unusable.words()),
            // The decoder has fallen over it.
            Err(_) => form.wrong("registrazione", "Registrazione", "Il file è rovinato: non si riesce a leggerlo."),
        }
    }
    page_of(&office, page, &name, &form).await
}

#[derive(Template)]
#[template(path = "office/prompt_new.html")]
struct Preview<'a> {
    page: &'a Page,
    name: &'a str,
    text: &'a str,
    id: i64,
    file_name: String,
    length: String,
    old_length: String,
    warnings: Vec<String>,
    notes: Vec<String>,
    spoken: i64,
}

async fn preview(State(office): State<Arc<Office>>, page: Page, Path((name, id)): Path<(String, i64)>) -> Answer {
    let (_, library) = room(&office, &page)?;
    let text = library.text(&name).ok_or(Oops::NotFound)?;
    let row = office.desk.recording(page.ente.id, id).await?.filter(|row| row.prompt == name).ok_or(Oops::NotFound)?;
    let spoken = voice_of(&office, &page, &name).await?.map_or(0, |voice| voice.recording_id);
    let (warnings, notes): (Vec<_>, Vec<_>) = findings_of(&row).into_iter().partition(|finding| finding.weight() == Weight::Warning);
    let words = |findings: Vec<Finding>| findings.into_iter().map(Finding::words).collect();
    let page = page
        .under("Linea", line::HERE)
        .under("Messaggi della linea", HERE)
        .under(&shortened(text), &format!("{HERE}/{name}"))
        .titled("Nuova registrazione");
    page.show(&Preview {
        page: &page,
        name: &name,
        text,
        id,
        file_name: row.file_name,
        length: seconds(row.duration_ms.unsigned_abs()),
        old_length: seconds(library.clip(&name).map_or(0, |clip| clip.duration_ms())),
        warnings: words(warnings),
        notes: words(notes),
        spoken,
    })
}

/// A recording, or the delivered one (`id` 0), is spoken from the next call on.
async fn take(State(office): State<Arc<Office>>, page: Page, Path(name): Path<String>, form: Form) -> Answer {
    let (line, library) = room(&office, &page)?;
    if !library.contains(&name) {
        return Err(Oops::NotFound);
    }
    let here = format!("{HERE}/{name}");
    if form.is_bad() {
        return page.on_with(&here, FlashKind::Warning, "La sessione era finita: non è cambiato nulla. Scelga di nuovo.");
    }
    let row = |field: &str| form.value(field).parse::<i64>().ok().map(|id| Some(id).filter(|id| *id != 0));
    let (Some(id), Some(instead_of)) = (row("registrazione"), row("al_posto_di")) else { return Err(Oops::Bad("no recording")) };
    match office.desk.speak(&page.actor(), &name, id, instead_of).await {
        Ok(()) => {}
        Err(VoiceError::Changed) => {
            let text = "Nel frattempo qualcun altro ha cambiato questo messaggio: non è stato cambiato di nuovo. Ascolti quello che c'è ora e, se serve, scelga ancora: la Sua registrazione è qui sotto o fra le bozze.";
            let back = id.map_or_else(|| here.clone(), |id| format!("{here}/nuova/{id}"));
            return page.on_with(&back, FlashKind::Warning, text);
        }
        Err(VoiceError::NoRecording) => return Err(Oops::NotFound),
        Err(VoiceError::Desk(error)) => return Err(error.into()),
    }
    // This node's calls hear it at once; the others ask every few seconds.
    line.shelf.refresh(&office.desk).await?;
    let text = if id.is_some() {
        "Fatto: le prossime chiamate sentiranno questa registrazione. Quella di prima è fra le versioni."
    } else {
        "Fatto: le prossime chiamate sentiranno di nuovo il messaggio di serie."
    };
    page.done(&here, text)
}

async fn discard(State(office): State<Arc<Office>>, page: Page, Path(name): Path<String>, form: Form) -> Answer {
    let here = format!("{HERE}/{name}");
    let Ok(id) = form.value("registrazione").parse() else { return Err(Oops::Bad("no recording")) };
    if form.is_bad() || !office.desk.discard_draft(&page.actor(), id).await? {
        return page.on_with(&here, FlashKind::Warning, "Non è stato scartato nulla.");
    }
    page.done(&here, "La registrazione è scartata: il messaggio resta com'era.")
}

/// What a page says of bounds.
const fn most_megabytes() -> usize {
    files::LARGEST_UPLOAD / 1024 / 1024
}

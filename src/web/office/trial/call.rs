//! A call from the browser: the dialplan machine in real time, what it says as words and as the address of a sound.
//!
//! The browser plays the sound and says when it has ended, as the media engine does for a telephone. If it does not say so, the line goes on by itself.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::{Asked, LineRoom, places::Place, said, sound_of};
use crate::{
    desk::dry::DryDesk,
    voice::{
        line::ask,
        machine::{Input, Machine, Output},
        plan::{Kind, Plan},
        prompts::PromptLibrary,
    },
    web::office::{Form, Office, Page},
};

/// The longest message from a browser, in bytes.
pub(super) const LONGEST_MESSAGE: usize = 1_024;
/// How long the first message, which says what is to be tried, may take.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// After so long without a sign of whoever tries it, the call is over.
const IDLE: Duration = Duration::from_mins(2);
/// How much longer than its sound a play may take before the line goes on by itself.
const LOADING: Duration = Duration::from_secs(15);
/// How long a message to the browser may take.
const SENDING: Duration = Duration::from_secs(20);
/// More than any call of people has.
const MOST_MESSAGES: u32 = 5_000;

/// What a browser sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Sent {
    /// Call; the fields of the form.
    Start { giorno: String, ora: String, numero: String, chiamante: String },
    /// A key.
    Key { key: char },
    /// The sound of this play has ended.
    Played { id: u64 },
    /// Do not wait: end what plays, or let the patience run out.
    Skip,
    /// Hang up.
    HangUp,
}

/// What it is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'a> {
    /// Something in the form is wrong.
    Wrong { errors: Vec<(&'a str, &'a str)> },
    /// The call has begun.
    Began { text: &'a str },
    /// The line speaks.
    Say { id: u64, text: &'a str, sound: &'a str, ms: u64 },
    /// It is cut short.
    Stop,
    /// A key has come in.
    Key { key: char },
    /// Something to know.
    Note { text: &'a str },
    /// Where the call is in the plan, and for how long it waits there (ms).
    Step { name: &'a str, wait_ms: Option<u64> },
    /// The call is over.
    Over { text: &'a str },
}

/// The browser has gone.
struct Gone;

async fn tell(socket: &mut WebSocket, told: &Told<'_>) -> Result<(), Gone> {
    let text = serde_json::to_string(told).map_err(|_| Gone)?;
    match timeout(SENDING, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

/// The next message that says something; `None` for one that does not make sense.
async fn hear(socket: &mut WebSocket) -> Result<Option<Sent>, Gone> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).ok()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Ok(None),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
        }
    }
}

/// Runs a trial on a socket that has just been opened.
pub(super) async fn run(office: Arc<Office>, page: Page, place: Place, mut socket: WebSocket) {
    // Nothing is left to be done where the browser has gone.
    let _ = begin(&office, &page, &mut socket).await;
    // The browser may have gone already.
    let _ = timeout(SENDING, socket.send(Message::Close(None))).await;
    drop(place);
}

async fn begin(office: &Office, page: &Page, socket: &mut WebSocket) -> Result<(), Gone> {
    let Ok(Ok(Some(Sent::Start { giorno, ora, numero, chiamante }))) = timeout(START_PATIENCE, hear(socket)).await else {
        return Err(Gone);
    };
    let Some(line) = &office.line else { return Err(Gone) };
    let mut form = Form::showing([("giorno", giorno), ("ora", ora), ("numero", numero), ("chiamante", chiamante)]);
    let Some(asked) = Asked::take(&mut form, page, line) else {
        let errors = form.errors().iter().map(|e| (e.label.as_str(), e.message.as_str())).collect();
        return tell(socket, &Told::Wrong { errors }).await;
    };
    if let Err(error) = asked.note(office, page).await {
        warn!(%error, "a trial of the line");
        return tell(socket, &Told::Over { text: "In questo momento non si può provare la linea. Riprovi fra poco." }).await;
    }
    let began = format!("Chiamata di prova: {}.", asked.when(page));
    tell(socket, &Told::Began { text: &began }).await?;
    let mut talk = Talk::new(office, page, line, asked);
    let text = talk.run(socket).await?;
    tell(socket, &Told::Over { text }).await
}

/// A trial under way.
struct Talk<'a> {
    office: &'a Office,
    person: i64,
    machine: Machine,
    plan: Arc<Plan>,
    desk: DryDesk,
    library: Arc<PromptLibrary>,
    caller: crate::desk::line::Caller,
    began: Instant,
    /// How much waiting was skipped, in ms: the machine's clock is ahead by it.
    skipped: u64,
    /// What plays, and when the line goes on by itself.
    playing: Option<(u64, Instant)>,
    /// Wrong codes that the person's count knows of.
    wrong: i64,
    step: (String, Option<u64>),
}

impl<'a> Talk<'a> {
    fn new(office: &'a Office, page: &Page, line: &LineRoom, asked: Asked) -> Self {
        Self {
            office,
            person: page.person.id,
            machine: Machine::new(Arc::clone(&asked.plan)),
            plan: asked.plan,
            desk: office.desk.dry_run(asked.at),
            library: line.shelf.library(page.ente.id),
            caller: asked.caller,
            began: Instant::now(),
            skipped: 0,
            playing: None,
            wrong: 0,
            step: (String::new(), None),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + self.skipped
    }

    /// The instant of a time of the machine's.
    fn instant(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms.saturating_sub(self.skipped))
    }

    /// Until the end; how it ended.
    async fn run(&mut self, socket: &mut WebSocket) -> Result<&'static str, Gone> {
        self.machine.handle(0, Input::Start);
        let mut heard = Instant::now();
        for _ in 0..MOST_MESSAGES {
            while let Some(output) = self.machine.poll() {
                if let Some(end) = self.obey(socket, output).await? {
                    return Ok(end);
                }
            }
            self.tell_step(socket).await?;
            let deadline = self.machine.deadline().map(|ms| self.instant(ms));
            let played = self.playing.map(|(_, by)| by);
            let at = |instant: Option<Instant>| async move {
                match instant {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                sent = hear(socket) => {
                    heard = Instant::now();
                    match sent? {
                        Some(Sent::Key { key }) if matches!(key, '0'..='9' | '*' | '#') => {
                            tell(socket, &Told::Key { key }).await?;
                            Some(Input::Digit(key))
                        }
                        Some(Sent::Played { id }) => self.played(id),
                        Some(Sent::Skip) => self.skip(socket).await?,
                        Some(Sent::HangUp) => return Ok("Ha riagganciato."),
                        Some(Sent::Start { .. } | Sent::Key { .. }) | None => None,
                    }
                }
                () = at(deadline) => Some(self.tick(socket).await?),
                () = at(played) => self.playing.and_then(|(id, _)| self.played(id)),
                () = sleep_until(heard + IDLE) => return Ok("La prova è finita: per due minuti non è successo nulla."),
            };
            if let Some(input) = input {
                let now = self.now();
                self.machine.handle(now, input);
            }
        }
        Ok("La prova è finita: è durata troppo.")
    }

    /// Does what the machine asks; how the call ended, where it did.
    async fn obey(&mut self, socket: &mut WebSocket, output: Output) -> Result<Option<&'static str>, Gone> {
        match output {
            Output::Play { id, prompts } => {
                let ms = prompts.iter().filter_map(|name| self.library.clip(name)).map(|clip| clip.duration_ms()).sum();
                self.playing = Some((id, Instant::now() + Duration::from_millis(ms) + LOADING));
                let (text, sound) = (said(&self.library, &prompts), sound_of(&prompts));
                tell(socket, &Told::Say { id, text: &text, sound: &sound, ms }).await?;
            }
            Output::Stop => {
                self.playing = None;
                tell(socket, &Told::Stop).await?;
            }
            Output::Ask { id, request } => {
                let reply = ask(&self.desk, &self.caller, request).await;
                let wrong = self.desk.wrong_codes();
                let may_go_on = self.office.trials.note_wrong(self.person, wrong - self.wrong, Instant::now());
                self.wrong = wrong;
                if !may_go_on {
                    return Ok(Some("La prova è finita: troppi codici sbagliati. Riprovi fra un'ora."));
                }
                let now = self.now();
                self.machine.handle(now, Input::Reply(id, reply));
            }
            Output::HangUp => return Ok(Some("La linea ha riagganciato.")),
        }
        Ok(None)
    }

    fn played(&mut self, id: u64) -> Option<Input> {
        // What was cut short, or has ended already, is nothing any more.
        self.playing.take_if(|(playing, _)| *playing == id).map(|(id, _)| Input::Played(id))
    }

    /// The machine's patience is at its end.
    async fn tick(&mut self, socket: &mut WebSocket) -> Result<Input, Gone> {
        let kind = self.plan.states.iter().find(|state| state.name == self.machine.state_name()).map(|state| &state.kind);
        if self.playing.is_none() && matches!(kind, Some(Kind::Menu(_) | Kind::Digits(_))) {
            tell(socket, &Told::Note { text: "Nessun tasto." }).await?;
        }
        Ok(Input::Tick)
    }

    async fn skip(&mut self, socket: &mut WebSocket) -> Result<Option<Input>, Gone> {
        if let Some((id, _)) = self.playing {
            tell(socket, &Told::Stop).await?;
            return Ok(self.played(id));
        }
        let Some(deadline) = self.machine.deadline() else { return Ok(None) };
        self.skipped += deadline.saturating_sub(self.now());
        self.tick(socket).await.map(Some)
    }

    /// Tells where the call is, where it has changed.
    async fn tell_step(&mut self, socket: &mut WebSocket) -> Result<(), Gone> {
        let deadline = self.machine.deadline().filter(|_| self.playing.is_none());
        let step = (self.machine.state_name().to_owned(), deadline);
        if step != self.step {
            self.step = step;
            let name = self.step.0.replace('_', " ");
            let wait_ms = deadline.map(|ms| ms.saturating_sub(self.now()));
            tell(socket, &Told::Step { name: &name, wait_ms }).await?;
        }
        Ok(())
    }
}

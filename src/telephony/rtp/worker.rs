//! A media thread: its clock, its calls, its orders.
//!
//! While it has calls it wakes only when one of them is due, and does everything then: takes its orders, reads
//! what has come in, sends what is due. So a caller's packets wake nobody, and whoever gives an order pays
//! for no wake-up; an order or a key waits at most 20 ms, and a millisecond under load.

use std::{
    collections::HashMap,
    io,
    net::UdpSocket,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, unix::SourceFd};
use slab::Slab;
use tokio::sync::oneshot;
use tracing::warn;

use super::{
    engine::{EngineCounters, MediaReport},
    outbox::Outbox,
    session::{Channel, Session},
    tally::Tally,
    wheel::Wheel,
};
use crate::{
    ops::clock::Clock,
    telephony::{clip::Clip, sip::sdp::Agreed},
};

/// Later than this and a tick is counted as late.
const LATE: Duration = Duration::from_millis(20);
/// So far behind (the machine slept) that time is left out instead of packets being sent in a burst.
const HOPELESS: Duration = Duration::from_millis(200);
/// How often a thread without calls looks whether the engine is gone.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// Sockets told readable at a time; the rest is told at the next wake-up.
const EVENTS: usize = 1_024;

/// What a thread is told.
pub(super) enum Command {
    Open(Box<Session>),
    Start(u64, Box<Agreed>),
    Play(u64, u64, Vec<Arc<Clip>>),
    Stop(u64),
    /// The call is over; whoever asks is told how it was.
    Close(u64, Option<oneshot::Sender<MediaReport>>),
}

/// The way to a thread.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    queue: mpsc::Sender<Command>,
    /// The thread has no calls and sleeps until it is woken.
    idle: Arc<AtomicBool>,
    thread: Thread,
    /// Calls that have been given to it and are not over.
    load: Arc<AtomicUsize>,
}

/// Calls that one thread takes before another one is given any: what is sent together costs less, and
/// a thousand calls take a fifth of a core.
const PER_THREAD: usize = 1_000;

/// The thread for one more call: the first that is not busy yet, else the least busy one.
pub(super) fn choose(threads: &[Orders]) -> Option<&Orders> {
    let load = |orders: &&Orders| orders.load.load(Ordering::Relaxed);
    threads.iter().find(|orders| load(orders) < PER_THREAD).or_else(|| threads.iter().min_by_key(load))
}

impl Orders {
    /// Counts a call in; [`Orders::release`] counts it out.
    pub fn engage(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call out.
    pub fn release(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives an order; wakes the thread only where it would not wake by itself.
    pub fn send(&self, command: Command) {
        // A thread ends only after every sender is gone.
        let _ = self.queue.send(command);
        if self.idle.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// Starts a thread.
pub(super) fn spawn(number: usize, counters: Arc<EngineCounters>) -> io::Result<Orders> {
    let (queue, commands) = mpsc::channel();
    let idle = Arc::new(AtomicBool::new(false));
    let poll = Poll::new()?;
    let flag = Arc::clone(&idle);
    // Made on its own thread: io_uring is of the thread that made it.
    let work = move || Worker::new(commands, flag, counters, poll).run();
    let handle = thread::Builder::new().name(format!("media-{number}")).spawn(work)?;
    Ok(Orders { queue, idle, thread: handle.thread().clone(), load: Arc::default() })
}

/// A call on the wheel: its place, and its number, since the place may be another call's by then.
type Place = (usize, u64);

struct Worker {
    commands: mpsc::Receiver<Command>,
    idle: Arc<AtomicBool>,
    counters: Arc<EngineCounters>,
    tally: Tally,
    sessions: Slab<Box<Session>>,
    places: HashMap<u64, usize>,
    wheel: Wheel<Place>,
    due: Vec<Place>,
    outbox: Outbox,
    poll: Poll,
    events: Events,
    /// Sockets in which there may be more than was read.
    unread: Vec<Token>,
    /// The clock: absolute, so that no error adds up.
    began: Instant,
    /// The next millisecond to be served, counted from `began`.
    next: u64,
    micros: Micros,
}

/// The time in µs since 1970 when the thread began, and from then on forward only: what arrivals, reports and
/// silence are measured by.
#[derive(Debug, Clone, Copy)]
struct Micros {
    began: Instant,
    since_1970: u64,
}

impl Micros {
    fn new() -> Self {
        let since_1970 = u64::try_from(Clock::real().now().timestamp_micros()).unwrap_or_default();
        Self { began: Instant::now(), since_1970 }
    }

    fn at(self, now: Instant) -> u64 {
        self.since_1970 + now.saturating_duration_since(self.began).as_micros() as u64
    }
}

/// The token of a call's socket.
fn token(place: usize, channel: Channel) -> Token {
    Token(place << 2 | channel as usize)
}

fn watch(registry: &Registry, place: usize) -> impl FnMut(Channel, &UdpSocket) {
    move |channel, socket| {
        let watched = registry.register(&mut SourceFd(&socket.as_raw_fd()), token(place, channel), Interest::READABLE);
        if let Err(error) = watched {
            warn!(%error, "a call's socket cannot be watched");
        }
    }
}

impl Worker {
    fn new(commands: mpsc::Receiver<Command>, idle: Arc<AtomicBool>, counters: Arc<EngineCounters>, poll: Poll) -> Self {
        Self {
            commands,
            idle,
            counters,
            tally: Tally::default(),
            sessions: Slab::new(),
            places: HashMap::new(),
            wheel: Wheel::new(),
            due: Vec::new(),
            outbox: Outbox::new(),
            poll,
            events: Events::with_capacity(EVENTS),
            unread: Vec::new(),
            began: Instant::now(),
            next: 0,
            micros: Micros::new(),
        }
    }

    fn run(mut self) {
        while self.take_orders() {
            let now = Instant::now();
            let Some(due) = self.wheel.next_due(self.next) else {
                self.sleep_until_called();
                continue;
            };
            let wait = self.time_of(due).saturating_duration_since(now);
            if !wait.is_zero() {
                self.tally.publish(&self.counters);
                thread::park_timeout(wait);
                continue;
            }
            self.read(now);
            self.serve(due, now);
        }
        self.tally.publish(&self.counters);
    }

    /// Obeys everything that waits; `false` once nobody can order anything any more.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Without calls on the wheel: until an order comes.
    fn sleep_until_called(&mut self) {
        self.tally.publish(&self.counters);
        self.idle.store(true, Ordering::SeqCst);
        // Whoever ordered before it saw us idle has not woken us: look once more.
        match self.commands.try_recv() {
            Ok(command) => {
                self.idle.store(false, Ordering::SeqCst);
                self.obey(command);
            }
            // Now and then it looks whether anybody is left to call it.
            Err(mpsc::TryRecvError::Empty) => thread::park_timeout(IDLE_LOOK),
            Err(mpsc::TryRecvError::Disconnected) => {}
        }
    }

    fn time_of(&self, tick: u64) -> Instant {
        self.began + Duration::from_millis(tick)
    }

    fn session(&mut self, id: u64) -> Option<&mut Session> {
        let place = *self.places.get(&id)?;
        self.sessions.get_mut(place).map(AsMut::as_mut)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(session) => {
                let id = session.id;
                let place = self.sessions.insert(session);
                self.places.insert(id, place);
                self.counters.calls.fetch_add(1, Ordering::Relaxed);
            }
            Command::Start(id, agreed) => self.start(id, &agreed),
            Command::Play(id, play, clips) => {
                let mut tally = std::mem::take(&mut self.tally);
                if let Some(session) = self.session(id) {
                    session.play(play, clips, &mut tally);
                }
                self.tally = tally;
            }
            Command::Stop(id) => {
                if let Some(session) = self.session(id) {
                    session.stop();
                }
            }
            Command::Close(id, report) => {
                if let Some(session) = self.places.remove(&id).map(|place| self.sessions.remove(place)) {
                    if session.ticking {
                        self.wheel.leave(session.phase);
                    }
                    self.counters.calls.fetch_sub(1, Ordering::Relaxed);
                    let told = session.finish(self.micros.at(Instant::now()));
                    if let Some(report) = report {
                        // Nobody may wait for it any more.
                        let _ = report.send(told);
                    }
                }
            }
        }
    }

    fn start(&mut self, id: u64, agreed: &Agreed) {
        let now = self.micros.at(Instant::now());
        let Some(place) = self.places.get(&id).copied() else { return };
        let Some(session) = self.sessions.get_mut(place) else { return };
        if let Err(error) = session.start(agreed, now, &mut watch(self.poll.registry(), place)) {
            // The call's user hears of dead media; nothing else can be done for it here.
            warn!(%error, "a call's media cannot start");
        }
        if !session.ticking {
            session.ticking = true;
            if self.wheel.next_due(self.next).is_none() {
                // The clock stood still while there was nothing to do.
                self.next = self.began.elapsed().as_millis() as u64;
            }
            session.phase = self.wheel.join();
            self.wheel.put(Wheel::<Place>::first(session.phase, self.next), (place, id));
        }
    }

    /// Reads whatever has come in.
    fn read(&mut self, now: Instant) {
        // Interrupted or not: what is not told now is told at the next wake-up.
        let _ = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        let now = self.micros.at(now);
        let again = std::mem::take(&mut self.unread);
        for token in again.into_iter().chain(self.events.iter().map(mio::event::Event::token)) {
            let Some(channel) = Channel::ALL.get(token.0 & 3).copied() else { continue };
            if let Some(session) = self.sessions.get_mut(token.0 >> 2)
                && session.read(channel, now, &mut self.tally)
            {
                self.unread.push(token);
            }
        }
    }

    /// Serves every millisecond that is due, from `due` on.
    fn serve(&mut self, due: u64, now: Instant) {
        self.next = due;
        let behind = now.saturating_duration_since(self.time_of(due));
        if behind > HOPELESS {
            // Each call keeps its phase; the time in between is left out.
            self.began += behind;
            self.tally.late_ticks += behind.as_millis() as u64 / super::wheel::USUAL_MS as u64;
        }
        let micros = self.micros.at(now);
        let mut calls = std::mem::take(&mut self.due);
        while self.time_of(self.next) <= now {
            if now.saturating_duration_since(self.time_of(self.next)) > LATE {
                self.tally.late_ticks += 1;
            }
            self.wheel.take(self.next, &mut calls);
            for (place, id) in calls.drain(..) {
                let Some(session) = self.sessions.get_mut(place).filter(|s| s.id == id) else { continue };
                session.tick(micros, &mut self.outbox, &mut self.tally);
                self.wheel.put(self.next + session.period(), (place, id));
            }
            self.next += 1;
        }
        // Before the next order: it may close a socket.
        self.tally.send_errors += self.outbox.flush();
        self.due = calls;
    }
}

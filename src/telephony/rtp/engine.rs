//! The media engine: threads of its own with an absolute 20 ms clock (design §5).
//!
//! Each thread owns its calls outright: no locks, nothing shared on the way of a packet. A call
//! has one of twenty phases of the tick, so that packets leave spread over the 20 ms. Its socket is
//! read at its own phase, just before its packet is sent: a caller's packets wake nobody, and a key
//! is heard at most 20 ms later. SIP and SQL talk to a thread only through its command queue.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    ports::{Port, PortPool},
    receiver::{Received, Receiver},
    sender::Sender,
};
use crate::telephony::{clip::Clip, sip::sdp::Agreed};

/// The time between two packets of a call.
const TICK: Duration = Duration::from_millis(20);
/// Phases of the tick, 1 ms apart.
const PHASES: u64 = 20;
/// Datagrams read for a call at a tick: two are usual, a key has a few more; a flood must not hold up others.
const MOST_DATAGRAMS: usize = 16;
/// Later than this and a tick is counted as late.
const LATE: Duration = Duration::from_millis(20);
/// So far behind (the machine slept) that ticks are left out instead of sent in a burst.
const HOPELESS: Duration = Duration::from_millis(200);
/// Events of a call that may wait to be taken; a person presses at most some ten keys a second.
const EVENT_QUEUE: usize = 64;
/// A datagram with more than this is no telephone audio.
const DATAGRAM_BYTES: usize = 2_048;

/// What happens on a call's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// The caller pressed a key.
    Key(char),
    /// The playing with this id has ended by itself.
    Played(u64),
    /// The caller was heard before, but nothing has come in for the time that was set.
    Dead,
}

/// Counters of one call, readable at any time.
#[derive(Debug, Default)]
pub struct CallCounters {
    /// RTP packets sent.
    pub sent: AtomicU64,
    /// RTP packets received from the caller.
    pub received: AtomicU64,
}

/// Counters of the engine, for `/metrics`.
#[derive(Debug, Default)]
pub struct EngineCounters {
    /// RTP packets sent.
    pub sent: AtomicU64,
    /// RTP packets received from callers.
    pub received: AtomicU64,
    /// Datagrams that were not of the call whose port they came to.
    pub strangers: AtomicU64,
    /// Ticks that came later than one tick.
    pub late_ticks: AtomicU64,
    /// Packets that the system refused to send.
    pub send_errors: AtomicU64,
    /// Events dropped because nobody took them.
    pub dropped_events: AtomicU64,
    /// Calls with media now.
    pub calls: AtomicUsize,
}

enum Command {
    Open(u64, Box<Session>),
    Start(u64, Agreed),
    Play(u64, u64, Vec<Arc<Clip>>),
    Stop(u64),
    Close(u64),
}

/// The engine. Its threads end when it and all its calls are dropped.
#[derive(Debug)]
pub struct Engine {
    workers: Vec<std_mpsc::Sender<Command>>,
    next_call: AtomicU64,
    ports: Arc<PortPool>,
    counters: Arc<EngineCounters>,
    dead_after: Duration,
}

/// The media of one call: its port is bound; it speaks after [`Media::start`]. Dropping it closes it.
#[derive(Debug)]
pub struct Media {
    id: u64,
    worker: std_mpsc::Sender<Command>,
    /// The RTP port, as to be offered.
    pub port: u16,
    /// Its counters.
    pub counters: Arc<CallCounters>,
}

impl Engine {
    /// Starts `threads` threads. A caller who was heard and then is not for `dead_after` is [`MediaEvent::Dead`].
    pub fn start(threads: usize, ports: Arc<PortPool>, dead_after: Duration) -> io::Result<Self> {
        let counters = Arc::new(EngineCounters::default());
        let mut workers = Vec::with_capacity(threads.max(1));
        for n in 0..threads.max(1) {
            let (sender, receiver) = std_mpsc::channel();
            let worker = Worker::new(receiver, Arc::clone(&counters));
            thread::Builder::new().name(format!("media-{n}")).spawn(move || worker.run())?;
            workers.push(sender);
        }
        Ok(Self { workers, next_call: AtomicU64::new(0), ports, counters, dead_after })
    }

    /// The engine's counters.
    pub fn counters(&self) -> &Arc<EngineCounters> {
        &self.counters
    }

    /// How many calls there are ports for.
    pub fn capacity(&self) -> usize {
        self.ports.capacity()
    }

    /// Binds a port on `ip` for a new call.
    pub fn open(&self, ip: IpAddr) -> io::Result<(Media, mpsc::Receiver<MediaEvent>)> {
        let port = self.ports.bind(ip)?;
        let number = port.number;
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let worker = &self.workers[id as usize % self.workers.len()];
        let counters = Arc::new(CallCounters::default());
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let session = Session {
            port,
            stream: None,
            events,
            counters: Arc::clone(&counters),
            heard_at: None,
            dead_after: self.dead_after,
            phase: id % PHASES,
        };
        let media = Media { id, worker: worker.clone(), port: number, counters };
        media.tell(Command::Open(id, Box::new(session)));
        Ok((media, receiver))
    }
}

impl Media {
    /// Begins to send and to listen as agreed, or goes on under a new agreement (re-INVITE).
    pub fn start(&self, agreed: Agreed) {
        self.tell(Command::Start(self.id, agreed));
    }

    /// Plays clips in place of whatever plays.
    pub fn play(&self, id: u64, clips: Vec<Arc<Clip>>) {
        self.tell(Command::Play(self.id, id, clips));
    }

    /// Stops playing.
    pub fn stop(&self) {
        self.tell(Command::Stop(self.id));
    }

    fn tell(&self, command: Command) {
        // A thread ends only after every sender is gone.
        let _ = self.worker.send(command);
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.tell(Command::Close(self.id));
    }
}

/// One call, owned by its thread.
struct Session {
    port: Port,
    stream: Option<Stream>,
    events: mpsc::Sender<MediaEvent>,
    counters: Arc<CallCounters>,
    /// When the caller was last heard; `None` before the first packet and once told dead.
    heard_at: Option<Instant>,
    dead_after: Duration,
    phase: u64,
}

struct Stream {
    sender: Sender,
    receiver: Receiver,
    sending: bool,
    receiving: bool,
}

struct Worker {
    commands: std_mpsc::Receiver<Command>,
    counters: Arc<EngineCounters>,
    sessions: HashMap<u64, Session>,
    /// The calls of each phase.
    phases: [Vec<u64>; PHASES as usize],
    began: Instant,
    /// The next phase to be served, counted from `began`.
    next: u64,
}

impl Worker {
    fn new(commands: std_mpsc::Receiver<Command>, counters: Arc<EngineCounters>) -> Self {
        Self { commands, counters, sessions: HashMap::new(), phases: std::array::from_fn(|_| Vec::new()), began: Instant::now(), next: 0 }
    }

    fn run(mut self) {
        loop {
            let command = match self.until_next() {
                None => self.commands.recv().map_err(|_| std_mpsc::RecvTimeoutError::Disconnected),
                Some(wait) => self.commands.recv_timeout(wait),
            };
            match command {
                Ok(command) => {
                    self.obey(command);
                    while let Ok(command) = self.commands.try_recv() {
                        self.obey(command);
                    }
                }
                Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                Err(std_mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.serve(Instant::now());
        }
    }

    /// The time of phase `n` of the engine's clock: absolute, so that no error adds up.
    fn time_of(&self, n: u64) -> Instant {
        self.began + TICK * ((n / PHASES) as u32) + (TICK / PHASES as u32) * ((n % PHASES) as u32)
    }

    /// How long until the next phase that has calls; `None` without calls.
    fn until_next(&self) -> Option<Duration> {
        let due = (self.next..self.next + PHASES).find(|n| !self.phases[(n % PHASES) as usize].is_empty())?;
        Some(self.time_of(due).saturating_duration_since(Instant::now()))
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(id, session) => {
                if self.sessions.is_empty() {
                    // The clock stood still while there was nothing to do.
                    self.next = (self.began.elapsed().as_millis() as u64 * PHASES) / TICK.as_millis() as u64;
                }
                self.phases[session.phase as usize].push(id);
                self.sessions.insert(id, *session);
                self.counters.calls.fetch_add(1, Ordering::Relaxed);
            }
            Command::Start(id, agreed) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.start(&agreed);
                }
            }
            Command::Play(id, play, clips) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    let played = session.stream.as_mut().map_or(Some(play), |stream| stream.sender.play(play, clips));
                    if let Some(play) = played {
                        session.tell(MediaEvent::Played(play), &self.counters);
                    }
                }
            }
            Command::Stop(id) => {
                if let Some(stream) = self.sessions.get_mut(&id).and_then(|s| s.stream.as_mut()) {
                    stream.sender.stop();
                }
            }
            Command::Close(id) => {
                if let Some(session) = self.sessions.remove(&id) {
                    self.phases[session.phase as usize].retain(|other| *other != id);
                    self.counters.calls.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Serves every phase that is due.
    fn serve(&mut self, now: Instant) {
        if self.sessions.is_empty() {
            return;
        }
        let behind = now.saturating_duration_since(self.time_of(self.next));
        if behind > HOPELESS {
            // Whole ticks are left out; each call keeps its phase.
            let ticks = behind.as_millis() as u64 / TICK.as_millis() as u64;
            self.next += ticks * PHASES;
            self.counters.late_ticks.fetch_add(ticks, Ordering::Relaxed);
        }
        while self.time_of(self.next) <= now {
            if now.saturating_duration_since(self.time_of(self.next)) > LATE {
                self.counters.late_ticks.fetch_add(1, Ordering::Relaxed);
            }
            let phase = (self.next % PHASES) as usize;
            for id in &self.phases[phase] {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.tick(now, &self.counters);
                }
            }
            self.next += 1;
        }
    }
}

impl Session {
    fn start(&mut self, agreed: &Agreed) {
        if let Some(stream) = &mut self.stream {
            stream.sender.set_codec(agreed.codec, agreed.payload_type);
            stream.receiver.renegotiate(agreed.peer, agreed.payload_type, agreed.events);
            (stream.sending, stream.receiving) = (agreed.send, agreed.receive);
        } else {
            let mut rng = crate::ops::chance::fresh();
            let mut random = || rand::Rng::next_u32(&mut rng);
            self.stream = Some(Stream {
                sender: Sender::new(agreed.codec, agreed.payload_type, random(), random() as u16, random()),
                receiver: Receiver::new(agreed.peer, agreed.payload_type, agreed.events),
                sending: agreed.send,
                receiving: agreed.receive,
            });
        }
    }

    fn tell(&self, event: MediaEvent, counters: &EngineCounters) {
        if self.events.try_send(event).is_err() {
            counters.dropped_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads what came in and sends the next packet.
    fn tick(&mut self, now: Instant, counters: &EngineCounters) {
        self.read(now, counters);
        let dead = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) > self.dead_after);
        let Some(stream) = &mut self.stream else { return };
        let mut event = None;
        if stream.sending
            && let Some(peer) = stream.receiver.peer()
        {
            let packet = stream.sender.next_packet();
            match self.port.socket.send_to(&packet.bytes, peer) {
                Ok(_) => {
                    counters.sent.fetch_add(1, Ordering::Relaxed);
                    self.counters.sent.fetch_add(1, Ordering::Relaxed);
                }
                // An unreachable port of the caller, a full buffer: the stream goes on, as it would on the air.
                Err(_) => {
                    counters.send_errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            event = packet.played.map(MediaEvent::Played);
        } else {
            stream.sender.skip();
        }
        if dead && stream.receiving {
            self.heard_at = None;
            self.tell(MediaEvent::Dead, counters);
        }
        if let Some(event) = event {
            self.tell(event, counters);
        }
    }

    fn read(&mut self, now: Instant, counters: &EngineCounters) {
        let mut buffer = [0; DATAGRAM_BYTES];
        for _ in 0..MOST_DATAGRAMS {
            // An error here is "nothing more" or the echo of an earlier send (ICMP); either way done for this tick.
            let Ok((length, from)) = self.port.socket.recv_from(&mut buffer) else { return };
            let Some(stream) = &mut self.stream else { continue };
            let received = stream.receiver.receive(&buffer[..length], from);
            if received == Received::Stranger {
                counters.strangers.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.heard_at = Some(now);
            counters.received.fetch_add(1, Ordering::Relaxed);
            self.counters.received.fetch_add(1, Ordering::Relaxed);
            if let Received::Key(key) = received {
                self.tell(MediaEvent::Key(key), counters);
            }
        }
    }
}

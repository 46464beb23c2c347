//! The media engine: threads of its own with an absolute clock (design §5).
//!
//! Each thread owns its calls outright ([`super::worker`], [`super::session`]): no locks, nothing shared on the way
//! of a packet. SIP and SQL talk to a thread only through its queue of orders.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    keys::Way,
    ports::PortPool,
    session::Session,
    worker::{self, Command, Orders},
};
use crate::telephony::{
    call::{LiveQuality, MediaQuality},
    clip::Clip,
    sip::sdp::Agreed,
};

/// Events of a call that may wait to be taken; a person presses at most some ten keys a second.
const EVENT_QUEUE: usize = 64;

/// What happens on a call's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEvent {
    /// The caller pressed a key, told by telephone events or by tones: the same press may come by both.
    Key(char, Way),
    /// The playing with this id has ended by itself.
    Played(u64),
    /// The caller was heard before, but nothing has come in for the time that was set.
    Dead,
}

/// How the media of a call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaReport {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received from the caller.
    pub packets_received: u64,
    /// Was it encrypted at the end (SRTP)?
    pub srtp: bool,
    /// The last known round trip to the other side in µs, where its reports told (RTCP).
    pub round_trip_micros: Option<u32>,
    /// How well the caller's audio came in.
    pub quality: MediaQuality,
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

/// The engine. Its threads end when it and all its calls are dropped.
#[derive(Debug)]
pub struct Engine {
    workers: Vec<Orders>,
    next_call: AtomicU64,
    ports: Arc<PortPool>,
    counters: Arc<EngineCounters>,
    dead_after: Duration,
}

/// The media of one call: its port is bound; it speaks after [`Media::start`]. Dropping it closes it.
#[derive(Debug)]
pub struct Media {
    id: u64,
    worker: Orders,
    /// The RTP port, as to be offered.
    pub port: u16,
    quality: Arc<LiveQuality>,
    /// Has its thread been told that it is over?
    closed: bool,
}

impl Engine {
    /// Starts `threads` threads. A caller who was heard and then is not for `dead_after` is [`MediaEvent::Dead`].
    pub fn start(threads: usize, ports: Arc<PortPool>, dead_after: Duration) -> io::Result<Self> {
        let counters = Arc::new(EngineCounters::default());
        let workers = (0..threads.max(1)).map(|n| worker::spawn(n, Arc::clone(&counters))).collect::<io::Result<_>>()?;
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
        let worker = worker::choose(&self.workers).ok_or(io::ErrorKind::Other)?.clone();
        worker.engage();
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let quality = Arc::<LiveQuality>::default();
        let session = Session::new(id, port, events, self.dead_after, Arc::clone(&quality));
        let media = Media { id, worker, port: number, quality, closed: false };
        media.worker.send(Command::Open(Box::new(session)));
        Ok((media, receiver))
    }
}

impl Media {
    /// How the caller is heard, while it lasts.
    pub fn quality(&self) -> Arc<LiveQuality> {
        Arc::clone(&self.quality)
    }

    /// Begins to send and to listen as agreed, or goes on under a new agreement (re-INVITE).
    pub fn start(&self, agreed: Agreed) {
        self.worker.send(Command::Start(self.id, Box::new(agreed)));
    }

    /// Plays clips in place of whatever plays.
    pub fn play(&self, id: u64, clips: Vec<Arc<Clip>>) {
        self.worker.send(Command::Play(self.id, id, clips));
    }

    /// Stops playing.
    pub fn stop(&self) {
        self.worker.send(Command::Stop(self.id));
    }

    /// Ends it, and waits for what its thread has to tell of it: 20 ms at the most, as for any order.
    pub async fn finish(mut self) -> MediaReport {
        let (report, told) = oneshot::channel();
        self.close(Some(report));
        // Only a thread that is gone tells nothing.
        told.await.unwrap_or_default()
    }

    fn close(&mut self, report: Option<oneshot::Sender<MediaReport>>) {
        if !std::mem::replace(&mut self.closed, true) {
            self.worker.release();
            self.worker.send(Command::Close(self.id, report));
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.close(None);
    }
}

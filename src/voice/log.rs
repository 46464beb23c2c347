//! Call detail records, from telephony to the desk.
//!
//! Calls end in bursts, and a database takes a commit as long for one record as for a hundred: records wait in a bounded
//! queue, and one task writes what is waiting in one transaction. An orderly stop writes them all.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    line::CallLog,
    path::{End, Travelled},
};
use crate::{
    canteen::EnteId,
    desk::{
        Desk, DeskError,
        calls::{CallRow, NewCall, Outcome, masked},
    },
    telephony::call::{CallRecord, Side},
};

/// Records that may wait: some minutes of the busiest line while the database is away.
const QUEUE: usize = 20_000;
/// Records written in one transaction.
const TOGETHER: usize = 200;
/// The pause after a transaction, for the next records to gather: families' operations need the database more.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause after the database has failed.
const AWAY: Duration = Duration::from_secs(2);
/// How long an orderly stop waits for a database that is away; then the log lines are the records.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Keeps CDRs in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeskLog {
    queue: mpsc::Sender<Ended>,
    unwritten: Arc<AtomicU64>,
    closing: CancellationToken,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl DeskLog {
    /// Writes through this desk, in a task of its own.
    pub fn new(desk: Desk) -> Self {
        let (queue, rows) = mpsc::channel(QUEUE);
        let unwritten = Arc::new(AtomicU64::new(0));
        let closing = CancellationToken::new();
        let writer = Writer { desk, rows, unwritten: Arc::clone(&unwritten), closing: closing.clone(), until: None };
        Self { queue, unwritten, closing, writer: Arc::new(Mutex::new(Some(tokio::spawn(writer.run())))) }
    }

    /// How many records are only in the log file: the queue was full, or the database would not have them.
    pub fn unwritten(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unwritten)
    }

    /// Writes all that waits, and takes no more.
    pub async fn finish(&self) {
        self.closing.cancel();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It keeps to its patience by itself.
        if let Some(writer) = writer
            && writer.await.is_err()
        {
            error!("the writer of the call records has failed");
        }
    }
}

impl CallLog for DeskLog {
    async fn record(&self, ente: Option<EnteId>, record: CallRecord, way: Option<Travelled>) {
        if let Err(full) = self.queue.try_send(Ended { end: end(&record), row: row(ente, record), way }) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            let (mpsc::error::TrySendError::Full(ended) | mpsc::error::TrySendError::Closed(ended)) = full;
            write_out(&ended.row, "the queue of call records is full");
        }
    }
}

/// A call that is over. What is counted of its way is made up by the writer, not where calls are signalled.
#[derive(Debug)]
struct Ended {
    row: CallRow,
    end: End,
    way: Option<Travelled>,
}

impl From<Ended> for NewCall {
    fn from(ended: Ended) -> Self {
        let way = ended.way.as_ref().filter(|_| ended.row.ente_id.is_some());
        let outcome = way.map_or_else(|| Outcome::of_unanswered(&ended.row), |way| way.outcome(ended.end));
        Self { flow: way.map(|way| way.flow(ended.end)), outcome, row: ended.row }
    }
}

/// How it ended, for the line.
fn end(record: &CallRecord) -> End {
    match (record.cause.as_str(), record.released_by) {
        (_, Side::Caller) => End::Caller,
        ("we_hung_up", _) => End::Line,
        // The longest call, a dead line, a shutdown.
        (_, Side::Line) => End::Failed,
    }
}

/// The log line is the record then; the caller's number stays masked there.
fn write_out(row: &CallRow, why: &str) {
    let caller = row.caller.as_deref().map(masked);
    let end = row.ended_at.to_rfc3339();
    let (start, answered) = (row.started_at.to_rfc3339(), row.answered_at.map(|at| at.to_rfc3339()));
    error!(
        call = row.id,
        sip_call_id = row.sip_call_id,
        trunk = row.trunk,
        caller,
        called = row.called,
        diverted_from = row.diverted_from,
        start,
        answered,
        end,
        status = row.status,
        cause = row.cause,
        q850 = row.q850,
        keys = row.digits,
        "unwritten call record: {why}"
    );
}

struct Writer {
    desk: Desk,
    rows: mpsc::Receiver<Ended>,
    unwritten: Arc<AtomicU64>,
    closing: CancellationToken,
    /// When an orderly stop gives up on a database that is away.
    until: Option<Instant>,
}

impl Writer {
    async fn run(mut self) {
        let mut taken = Vec::new();
        let closing = self.closing.clone();
        loop {
            tokio::select! {
                () = closing.cancelled(), if self.until.is_none() => self.close(),
                n = self.rows.recv_many(&mut taken, TOGETHER) => {
                    if n == 0 {
                        return;
                    }
                    let batch: Vec<NewCall> = taken.drain(..).map(NewCall::from).collect();
                    self.write(&batch).await;
                    self.pause(PAUSE).await;
                }
            }
        }
    }

    /// Takes no more records; what waits is still written.
    fn close(&mut self) {
        self.rows.close();
        self.until = Some(Instant::now() + STOP_PATIENCE);
    }

    /// A pause that an orderly stop cuts short.
    async fn pause(&mut self, pause: Duration) {
        if self.until.is_some() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = self.closing.cancelled() => self.close(),
        }
    }

    /// Until the records are written, or never will be.
    async fn write(&mut self, batch: &[NewCall]) {
        if self.attempt(batch).await.is_err() {
            // One bad record must not hold up the others.
            for row in batch.iter().map(std::slice::from_ref) {
                if let Err(error) = self.attempt(row).await {
                    self.give_up(row, &error);
                }
            }
        }
    }

    /// Tries until the records are written or given up; fails where they never can be.
    async fn attempt(&mut self, rows: &[NewCall]) -> Result<(), DeskError> {
        loop {
            match self.desk.record_calls(rows).await {
                Ok(()) => return Ok(()),
                Err(DeskError::Store(error)) if error.is_lasting() => return Err(error.into()),
                Err(error) if self.until.is_some_and(|until| Instant::now() >= until) => {
                    self.give_up(rows, &error);
                    return Ok(());
                }
                Err(error) => {
                    warn!(%error, waiting = self.rows.len() + rows.len(), "call records cannot be written; trying again");
                    if self.until.is_some() { sleep(PAUSE).await } else { self.pause(AWAY).await }
                }
            }
        }
    }

    fn give_up(&self, rows: &[NewCall], error: &DeskError) {
        self.unwritten.fetch_add(rows.len() as u64, Ordering::Relaxed);
        for row in rows {
            write_out(&row.row, &error.to_string());
        }
    }
}

fn row(ente: Option<EnteId>, record: CallRecord) -> CallRow {
    // PostgreSQL holds no NUL.
    let clean = |text: String| if text.contains('\0') { text.replace('\0', " ") } else { text };
    let quality = record.quality;
    CallRow {
        id: record.call.call_id,
        ente_id: ente.map(|e| e.0),
        sip_call_id: clean(record.call.sip_call_id),
        trunk: record.call.trunk,
        caller: record.call.caller,
        called: record.call.called,
        diverted_from: record.call.diverted_from,
        peer: record.call.peer.to_string(),
        user_agent: record.call.user_agent,
        started_at: record.call.at,
        ringing_at: record.ringing_at,
        answered_at: record.answered_at,
        ended_at: record.ended_at,
        status: i64::from(record.status),
        cause: record.cause,
        q850: Some(i64::from(record.q850)),
        reason: record.reason,
        released_by: Some(record.released_by.word().to_owned()),
        codec: record.codec.map(str::to_owned),
        srtp: record.srtp,
        packets_sent: record.packets_sent as i64,
        packets_received: record.packets_received as i64,
        packets_lost: quality.lost.map(|n| n as i64),
        loss: quality.loss.map(i64::from),
        jitter_us: quality.jitter_us.map(i64::from),
        mos: quality.mos.map(i64::from),
        digits: i64::from(record.digits),
        dtmf: record.key_ways.words(),
    }
}

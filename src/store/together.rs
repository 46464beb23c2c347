//! Work of many in one transaction: the embedded database goes to the disk once for all of them.
//!
//! A commit that is to survive a power cut waits for the disk as long for one operation as for thirty. So work waits in a bounded
//! queue; one task takes what is waiting, does each in a savepoint of its own, commits, and only then are the answers given: nobody
//! hears of anything that is not durable (S3). Nothing is waited for: work that comes alone is done at once, and while
//! the disk writes, the next group gathers. One after the other, as the one writer does it anyway: each sees what came before it.

use std::{future::Future, pin::Pin};

use sqlx::SqlitePool;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::error;

use super::{Db, PATIENCE, StoreError, Tx, run};

/// Work that may wait.
const QUEUE: usize = 1_024;
/// Done in one transaction at most: the first of them waits for the last.
const TOGETHER: usize = 32;

/// What a piece of work does with the transaction.
pub type Doing<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// Gives the answer out, once it is known whether the transaction stands; with why not, where it does not.
type Tell = Box<dyn FnOnce(Option<String>) + Send>;
/// Work in the queue; it says whether what it wrote is to be kept, and whom to tell.
type Job = Box<dyn for<'t> FnOnce(&'t mut Tx) -> Pin<Box<dyn Future<Output = (bool, Tell)> + Send + 't>> + Send>;

/// The queue of the embedded database's writer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Together(mpsc::Sender<Job>);

impl Together {
    /// Starts the task that writes; it ends with the last clone.
    pub(super) fn start(writer: SqlitePool) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut jobs = Vec::new();
            while waiting.recv_many(&mut jobs, TOGETHER).await > 0 {
                // In a task of its own: what falls in it takes nobody with it but its group.
                if tokio::spawn(group(writer.clone(), std::mem::take(&mut jobs))).await.is_err() {
                    error!("a group of operations has failed; none of them was done");
                }
            }
        });
        Self(queue)
    }
}

impl Db {
    /// Does `work` in a transaction and commits it; where `work` fails, nothing of it is kept. On the embedded database
    /// the transaction may be shared with others' work, none of which it can see fail.
    ///
    /// When this returns `Ok`, what was written is durable. Dropped before the work has begun, it is not done.
    pub async fn together<T, E, W>(&self, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Doing<'t, T, E> + Send + 'static,
    {
        let Self::Sqlite { together, .. } = self else {
            let mut tx = self.write().await?;
            let done = work(&mut tx).await?;
            tx.commit().await?;
            return Ok(done);
        };
        let failed = |why: &str| E::from(StoreError::Together(why.to_owned()));
        let (answer, answered) = oneshot::channel();
        match timeout(PATIENCE, together.0.send(job(work, answer))).await {
            Ok(Ok(())) => answered.await.unwrap_or_else(|_| Err(failed("it was not come to"))),
            Ok(Err(_)) => Err(failed("the writer has ended")),
            Err(_) => Err(failed("too many are waiting")),
        }
    }
}

fn job<T, E, W>(work: W, answer: oneshot::Sender<Result<T, E>>) -> Job
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    W: for<'t> FnOnce(&'t mut Tx) -> Doing<'t, T, E> + Send + 'static,
{
    Box::new(move |tx| {
        Box::pin(async move {
            let done = if answer.is_closed() { None } else { Some(work(tx).await) };
            // Whoever has gone meanwhile has told the caller that nothing was recorded.
            let keep = matches!(done, Some(Ok(_))) && !answer.is_closed();
            let tell = move |lost: Option<String>| {
                let told = match (done, lost) {
                    (Some(Ok(_)), Some(lost)) => Err(StoreError::Together(lost).into()),
                    (Some(done), _) => done,
                    (None, _) => return,
                };
                // Nobody may be waiting any more.
                let _ = answer.send(told);
            };
            (keep, Box::new(tell) as Tell)
        })
    })
}

/// One transaction. Jobs that are not come to are dropped, and who waits for them hears it.
async fn group(writer: SqlitePool, jobs: Vec<Job>) {
    let mut told = Vec::with_capacity(jobs.len());
    let lost = all(&writer, jobs, &mut told).await.err().map(|error| error.to_string());
    for tell in told {
        tell(lost.clone());
    }
}

async fn all(writer: &SqlitePool, jobs: Vec<Job>, told: &mut Vec<Tell>) -> Result<(), StoreError> {
    let mut tx = Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?);
    for job in jobs {
        run!(&mut tx, sqlx::query("SAVEPOINT work"));
        let (keep, tell) = job(&mut tx).await;
        told.push(tell);
        // After a failure so grave that the database has given the whole transaction up there is no savepoint either: all are told.
        if !keep {
            run!(&mut tx, sqlx::query("ROLLBACK TO work"));
        }
        run!(&mut tx, sqlx::query("RELEASE work"));
    }
    tx.commit().await
}

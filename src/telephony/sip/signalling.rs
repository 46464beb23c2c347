//! The thread on which all signalling runs.
//!
//! A call is a dozen short tasks that wake each other. Spread over the threads of a pool they spend more on waking
//! threads than on SIP; on one thread a wake-up is a push onto a list. One core signs on and off thousands of calls a second,
//! and the database's work is done elsewhere.

use std::{io, thread, time::Duration};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// After the stop: what is on its way out may leave.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Starts the thread; it ends a little after `stop` is cancelled.
pub(super) fn spawn(stop: &CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let stopped = stop.clone();
    thread::Builder::new().name("sip".to_owned()).spawn(move || {
        runtime.block_on(async {
            stopped.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        });
        // Never waits for what still runs.
        runtime.shutdown_background();
    })?;
    Ok(handle)
}

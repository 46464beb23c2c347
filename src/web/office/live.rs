//! Parts of a page that stay up to date by themselves (server-sent events).
//!
//! In the page: `<div data-live="/ufficio/…/vivo">{{ first content }}</div>`. The handler of that path gives [`follow`] a closure that makes the
//! part anew; it is sent when it differs from what was sent last.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::response::{
    IntoResponse,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use tokio::time::Instant;
use tracing::warn;

use super::{Answer, Oops, page::Page};

/// After so long a stream ends and the browser begins another one: by then its session may be over.
const LONGEST: Duration = Duration::from_mins(5);

/// Sends what `part` makes (ready HTML), at once and then whenever it has changed; asks it every `every` (at least a second).
pub fn follow<F, Fut>(page: &Page, every: Duration, part: F) -> Answer
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = Result<String, Oops>> + Send,
{
    let place = page.office.streams.clone().try_acquire_owned().map_err(|_| Oops::Busy)?;
    let every = every.max(Duration::from_secs(1));
    let ends = Instant::now() + LONGEST;
    let events = stream::unfold((part, String::new(), true, place), move |(part, last, at_once, place)| async move {
        let mut wait = !at_once;
        loop {
            if wait {
                tokio::time::sleep(every).await;
            }
            wait = true;
            if Instant::now() >= ends {
                return None;
            }
            let made = {
                let making = pin!(part());
                making.await
            };
            match made {
                Ok(html) if html != last => {
                    let event = Event::default().event("part").retry(Duration::from_secs(2)).data(html.clone());
                    return Some((Ok::<_, Infallible>(event), (part, html, false, place)));
                }
                Ok(_) => {}
                // The page stays as it is; the next try may do.
                Err(error) => warn!(%error, "a live part"),
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

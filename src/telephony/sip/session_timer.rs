//! Session timers (RFC 4028) of a call that we answer: pure.

use std::time::Duration;

/// The shortest interval that we take (RFC 4028 §5).
pub const MIN_SE: u32 = 90;

/// Who keeps the session alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// The caller's side.
    Caller,
    /// We.
    Us,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// Session-Expires, in seconds.
    pub interval: u32,
    /// Who refreshes.
    pub refresher: Refresher,
    /// Does the caller's side know session timers?
    pub supported: bool,
}

/// The caller's interval is below our minimum: 422 with `Min-SE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session interval too small")]
pub struct TooSmall;

impl SessionTimer {
    /// What to answer to an INVITE, re-INVITE or UPDATE with these headers; `None` where no timer is asked for.
    pub fn answer(session_expires: Option<&str>, supported: bool) -> Result<Option<Self>, TooSmall> {
        let Some(value) = session_expires else { return Ok(None) };
        let mut parts = value.split(';').map(str::trim);
        let Some(interval) = parts.next().and_then(|n| n.parse::<u32>().ok()) else { return Ok(None) };
        if interval < MIN_SE {
            // A caller that knows timers can be told; for one that does not, a proxy asked, and
            // its wish is raised to the minimum (RFC 4028 §9).
            return if supported { Err(TooSmall) } else { Ok(Some(Self { interval: MIN_SE, refresher: Refresher::Us, supported })) };
        }
        let wants_us = parts.any(|p| p.eq_ignore_ascii_case("refresher=uas"));
        let refresher = if wants_us || !supported { Refresher::Us } else { Refresher::Caller };
        Ok(Some(Self { interval, refresher, supported }))
    }

    /// The `Session-Expires` of our answer.
    pub fn header(&self) -> String {
        let refresher = match self.refresher {
            Refresher::Caller => "uac",
            Refresher::Us => "uas",
        };
        format!("{};refresher={refresher}", self.interval)
    }

    /// From a refresh on: when we have to act. We refresh at half time; a caller who has not
    /// refreshed is given up a little before the session expires (RFC 4028 §10).
    pub fn act_after(&self) -> Duration {
        Duration::from_secs(u64::from(match self.refresher {
            Refresher::Us => self.interval / 2,
            Refresher::Caller => self.interval - (self.interval / 3).min(32),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_wish_is_met() {
        let timer = |value, supported| SessionTimer::answer(value, supported).unwrap();
        assert_eq!(timer(None, true), None);
        assert_eq!(timer(Some("nonsense"), true), None);
        let caller = timer(Some("1800;refresher=uac"), true).unwrap();
        assert_eq!((caller.header().as_str(), caller.act_after()), ("1800;refresher=uac", Duration::from_secs(1_768)));
        let us = timer(Some("1800; refresher=uas"), true).unwrap();
        assert_eq!((us.header().as_str(), us.act_after()), ("1800;refresher=uas", Duration::from_mins(15)));
        assert_eq!(timer(Some("1800"), true).unwrap().refresher, Refresher::Caller);
        assert_eq!(timer(Some("1800"), false).unwrap().refresher, Refresher::Us);
    }

    #[test]
    fn too_small_an_interval_is_refused_or_raised() {
        assert_eq!(SessionTimer::answer(Some("60"), true), Err(TooSmall));
        assert_eq!(SessionTimer::answer(Some("60"), false).unwrap().unwrap().interval, 90);
    }
}

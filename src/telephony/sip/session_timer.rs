//! Session timers (RFC 4028) of a call that we answer, in both roles, and what becomes of our own refreshes: pure.

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
    /// The least interval that a 422 to our refresh has told: every refresh says it from then on (RFC 4028 §7.4).
    pub min_se: Option<u32>,
}

/// The caller's interval is below our minimum: 422 with `Min-SE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session interval too small")]
pub struct TooSmall;

/// A role in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Uac,
    Uas,
}

/// `Session-Expires`: the interval, and the refresher where one is named.
fn parse(value: &str) -> Option<(u32, Option<Role>)> {
    let mut parts = value.split(';').map(str::trim);
    let interval = parts.next()?.parse().ok()?;
    let role = parts.filter_map(|p| p.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case("refresher"));
    let role = role.and_then(|(_, role)| match role.trim().to_ascii_lowercase().as_str() {
        "uac" => Some(Role::Uac),
        "uas" => Some(Role::Uas),
        _ => None,
    });
    Some((interval, role))
}

/// What to do after an answer to our refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRefresh {
    /// It is refreshed; or it is refused, but the peer is still there and the session has half its time left.
    Done,
    /// The interval is to be this long at least: again at once (RFC 4028 §7.3).
    Longer(u32),
    /// Both sides had asked at once: again after a while by chance (RFC 3261 §14.1).
    Glare,
    /// The peer is busy: again after so long.
    Later(Duration),
    /// It knows of no UPDATE, whatever it said: a re-INVITE then.
    ByInvite,
    /// There is no such call there any more, or nobody (RFC 4028 §10).
    Gone,
}

/// The longest time that we let a busy peer put us off.
const LONGEST_PUT_OFF: u32 = 10;

impl AfterRefresh {
    /// Judges an answer, with its `Min-SE` and `Retry-After`. No answer at all (`None`) means that the dialog was busy
    /// with a request of the caller's side, which is as good as a refresh.
    pub fn of(status: Option<u16>, min_se: Option<u32>, retry_after: Option<u32>) -> Self {
        match status {
            Some(408 | 481) => Self::Gone,
            Some(422) => min_se.map_or(Self::Done, Self::Longer),
            Some(491) => Self::Glare,
            Some(405 | 501) => Self::ByInvite,
            Some(500 | 503) => retry_after.map_or(Self::Done, |s| Self::Later(Duration::from_secs(s.min(LONGEST_PUT_OFF).into()))),
            _ => Self::Done,
        }
    }
}

/// How long we wait after a glare: the Call-ID is the caller's, so up to two seconds in steps of 10 ms
/// (RFC 3261 §14.1); `chance` chooses.
pub fn glare_wait(chance: u32) -> Duration {
    Duration::from_millis(u64::from(chance % 201) * 10)
}

impl SessionTimer {
    /// What to answer to an INVITE, re-INVITE or UPDATE with these headers; `None` where no timer is asked for.
    pub fn answer(session_expires: Option<&str>, supported: bool) -> Result<Option<Self>, TooSmall> {
        let Some((interval, wanted)) = session_expires.and_then(parse) else { return Ok(None) };
        if interval < MIN_SE {
            // A caller that knows timers can be told; for one that does not, a proxy asked, and
            // its wish is raised to the minimum (RFC 4028 §9).
            return if supported {
                Err(TooSmall)
            } else {
                Ok(Some(Self { interval: MIN_SE, refresher: Refresher::Us, supported, min_se: None }))
            };
        }
        let refresher = if wanted == Some(Role::Uas) || !supported { Refresher::Us } else { Refresher::Caller };
        Ok(Some(Self { interval, refresher, supported, min_se: None }))
    }

    /// The `Session-Expires` of our answer, where the caller's side is the UAC.
    pub fn header(&self) -> String {
        self.header_as(self.refresher == Refresher::Caller)
    }

    /// The `Session-Expires` of a request of ours: the roles are those of the request, not of the
    /// call (RFC 4028 §7.4).
    pub fn header_in_our_request(&self) -> String {
        self.header_as(self.refresher == Refresher::Us)
    }

    /// What our refresh was answered with: the interval and who refreshes from now on (RFC 4028 §7.2). Without the
    /// header the peer wants no timer; we go on as before, as the refresh also tells whether it is still there.
    #[must_use]
    pub fn settled(self, session_expires: Option<&str>) -> Self {
        let Some((interval, refresher)) = session_expires.and_then(parse) else { return self };
        let refresher = if refresher == Some(Role::Uas) { Refresher::Caller } else { Refresher::Us };
        Self { interval: interval.max(MIN_SE), refresher, supported: true, ..self }
    }

    /// After a 422 that asks for an interval of `least` at least.
    #[must_use]
    pub fn longer(self, least: u32) -> Self {
        Self { interval: self.interval.max(least), min_se: Some(least), ..self }
    }

    fn header_as(self, uac: bool) -> String {
        format!("{};refresher={}", self.interval, if uac { "uac" } else { "uas" })
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
        assert_eq!(us.header_in_our_request(), "1800;refresher=uac");
        assert_eq!((us.header().as_str(), us.act_after()), ("1800;refresher=uas", Duration::from_mins(15)));
        assert_eq!(timer(Some("1800"), true).unwrap().refresher, Refresher::Caller);
        assert_eq!(timer(Some("1800"), false).unwrap().refresher, Refresher::Us);
    }

    #[test]
    fn our_refresh_settles_what_its_answer_says() {
        let before = SessionTimer { interval: 90, refresher: Refresher::Us, supported: true, min_se: None };
        for (answer, interval, refresher) in [
            (None, 90, Refresher::Us),
            (Some("1800;refresher=uac"), 1_800, Refresher::Us),
            (Some("600 ; Refresher = UAS"), 600, Refresher::Caller),
            (Some("600"), 600, Refresher::Us),
            (Some("5;refresher=uac"), 90, Refresher::Us),
            (Some("nonsense"), 90, Refresher::Us),
        ] {
            let after = before.settled(answer);
            assert_eq!((after.interval, after.refresher), (interval, refresher), "{answer:?}");
        }
        let longer = before.longer(300);
        assert_eq!((longer.interval, longer.min_se, longer.settled(Some("300;refresher=uac")).min_se), (300, Some(300), Some(300)));
    }

    #[test]
    fn every_answer_to_a_refresh_leads_somewhere() {
        for (status, min_se, retry_after, expected) in [
            (Some(200), None, None, AfterRefresh::Done),
            (Some(422), Some(600), None, AfterRefresh::Longer(600)),
            (Some(422), None, None, AfterRefresh::Done),
            (Some(491), None, None, AfterRefresh::Glare),
            (Some(500), None, Some(3), AfterRefresh::Later(Duration::from_secs(3))),
            (Some(503), None, Some(100_000), AfterRefresh::Later(Duration::from_secs(10))),
            (Some(500), None, None, AfterRefresh::Done),
            (Some(405), None, None, AfterRefresh::ByInvite),
            (Some(488), None, None, AfterRefresh::Done),
            (Some(481), None, None, AfterRefresh::Gone),
            (Some(408), None, None, AfterRefresh::Gone),
            (None, None, None, AfterRefresh::Done),
        ] {
            assert_eq!(AfterRefresh::of(status, min_se, retry_after), expected, "{status:?}");
        }
        assert!((0..1_000).map(glare_wait).all(|wait| wait <= Duration::from_secs(2)));
    }

    #[test]
    fn too_small_an_interval_is_refused_or_raised() {
        assert_eq!(SessionTimer::answer(Some("60"), true), Err(TooSmall));
        assert_eq!(SessionTimer::answer(Some("60"), false).unwrap().unwrap().interval, 90);
    }
}

//! Whether news are to be seen: what the office has decided, and the time. Pure.

use chrono::{DateTime, Utc};

use crate::store::NewsKind;

/// How a news item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NewsState {
    /// Being written.
    Draft,
    /// Decided, and its time has not come.
    Scheduled,
    /// Families see it.
    Public,
    /// Taken back by the office.
    Withdrawn,
    /// Its time is over.
    Expired,
}

impl NewsState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Draft, Self::Scheduled, Self::Public, Self::Withdrawn, Self::Expired];

    /// The word in addresses, and what people read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Draft => "bozza",
            Self::Scheduled => "programmato",
            Self::Public => "pubblicato",
            Self::Withdrawn => "ritirato",
            Self::Expired => "scaduto",
        }
    }

    /// What is asked of the list.
    pub const fn kind(self) -> NewsKind {
        match self {
            Self::Draft => NewsKind::Draft,
            Self::Scheduled => NewsKind::Scheduled,
            Self::Public => NewsKind::Public,
            Self::Withdrawn => NewsKind::Withdrawn,
            Self::Expired => NewsKind::Expired,
        }
    }

    /// How it stands at `now`. `decided` is the database's word; `from` is in, `until` is not in any more. What is not known counts as a draft:
    /// nobody sees it.
    pub fn at(decided: &str, from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match (decided, from) {
            ("withdrawn", _) => Self::Withdrawn,
            ("public", Some(_)) if until.is_some_and(|until| until <= now) => Self::Expired,
            ("public", Some(from)) if from <= now => Self::Public,
            ("public", Some(_)) => Self::Scheduled,
            _ => Self::Draft,
        }
    }
}

impl std::str::FromStr for NewsState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_to_the_microsecond() {
        let (from, until) = (Some(at("2026-10-12T09:00:00+02:00")), Some(at("2026-10-13T09:00:00+02:00")));
        let told: Vec<_> = [
            "2026-10-12T08:59:59.999999+02:00",
            "2026-10-12T09:00:00+02:00",
            "2026-10-13T08:59:59+02:00",
            "2026-10-13T08:59:59.999999+02:00",
            "2026-10-13T09:00:00+02:00",
        ]
        .map(|now| NewsState::at("public", from, until, at(now)).word())
        .into();
        assert_eq!(told, ["programmato", "pubblicato", "pubblicato", "pubblicato", "scaduto"]);
    }

    #[test]
    fn what_is_not_decided_is_seen_at_no_time() {
        let (from, until) = (Some(at("2026-10-12T09:00:00Z")), Some(at("2026-10-13T09:00:00Z")));
        for now in ["2026-10-11T00:00:00Z", "2026-10-12T10:00:00Z", "2026-10-14T00:00:00Z"] {
            assert_eq!(NewsState::at("draft", from, until, at(now)), NewsState::Draft);
            assert_eq!(NewsState::at("withdrawn", from, until, at(now)), NewsState::Withdrawn);
            assert_eq!(NewsState::at("public", None, until, at(now)), NewsState::Draft);
            assert_eq!(NewsState::at("boh", from, until, at(now)), NewsState::Draft);
        }
        assert_eq!(NewsState::at("public", from, None, at("2090-01-01T00:00:00Z")), NewsState::Public);
    }

    #[test]
    fn words_come_back() {
        for state in NewsState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
        }
    }
}

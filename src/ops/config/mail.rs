//! `[mail]`: the server that mail is handed to.

use std::path::PathBuf;

use chrono::TimeDelta;
use serde::Deserialize;

use super::{Problems, trunk};
use crate::ops::smtp::{Pace, Security, SmtpConfig};

/// `[mail]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSection {
    /// The server.
    pub host: String,
    /// Its port; the usual one for `tls` where not told.
    pub port: Option<u16>,
    /// `starttls`, `tls` or `none`.
    #[serde(default)]
    pub tls: Security,
    /// Whose signature on its certificate we accept besides the system's list (PEM).
    pub ca: Option<PathBuf>,
    /// The name to log in with.
    pub user: Option<String>,
    /// The environment variable that the password is in.
    pub password_env: Option<String>,
    /// The file whose first line the password is.
    pub password_file: Option<PathBuf>,
    /// The sender's address.
    pub from: String,
    /// The name that we say we have; the sender's domain where not told.
    pub hello: Option<String>,
    /// Mails handed over in a minute, by all nodes together.
    #[serde(default = "per_minute")]
    pub per_minute: u32,
    /// How long a mail that is not taken is tried again, in hours.
    #[serde(default = "give_up_hours")]
    pub give_up_hours: u32,
}

fn per_minute() -> u32 {
    Pace::default().per_minute
}

fn give_up_hours() -> u32 {
    Pace::default().give_up_after.num_hours().unsigned_abs() as u32
}

impl MailSection {
    /// How fast and how patiently.
    pub fn pace(&self) -> Pace {
        Pace { per_minute: self.per_minute, give_up_after: TimeDelta::hours(i64::from(self.give_up_hours)) }
    }
}

pub(super) fn read(
    section: &MailSection,
    line: usize,
    environment: trunk::Environment<'_>,
    problems: &mut Problems<'_>,
) -> Option<SmtpConfig> {
    let before = problems.list.len();
    let mut wrong = |what: String| problems.at(line, format!("[mail] {what}"));
    let from = section.from.parse();
    if from.is_err() {
        wrong(format!("from: \"{}\" is no address", section.from));
    }
    if section.per_minute == 0 || section.give_up_hours == 0 {
        wrong("per_minute and give_up_hours must be at least 1".to_owned());
    }
    let credentials = section.user.as_ref().map(|user| {
        let password = trunk::password((&section.password_env, &section.password_file), "mail", environment, &mut wrong);
        (user.clone(), password.reveal().to_owned())
    });
    let near = matches!(section.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    if credentials.is_some() && section.tls == Security::None && !near {
        wrong("a password is not sent in the clear: use tls = \"starttls\" or \"tls\"".to_owned());
    }
    if problems.list.len() > before {
        return None;
    }
    Some(SmtpConfig {
        host: section.host.clone(),
        port: section.port.unwrap_or_else(|| section.tls.port()),
        security: section.tls,
        ca: section.ca.clone(),
        credentials,
        from: from.ok()?,
        hello: section.hello.clone(),
    })
}

//! How long certificates are valid yet: pure, the time is an argument.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode as _};

/// A certificate of ours that expires within so many days is warned of.
pub const WARN_DAYS: f64 = 14.0;

/// What a file of certificates is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What we show.
    Own,
    /// Whom we trust.
    Ca,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Ca => "ca",
        }
    }
}

/// When a file of certificates expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The file.
    pub file: String,
    /// What it is for.
    pub role: Role,
    /// Whose certificate it is that decides.
    pub subject: String,
    /// Until when it is valid.
    pub not_after: DateTime<Utc>,
}

/// An [`Expiry`] as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The file.
    pub file: String,
    /// What it is for.
    pub role: Role,
    /// Whose certificate it is.
    pub subject: String,
    /// Days until it expires, with their fractions; negative afterwards.
    pub expires_in_days: f64,
}

impl Expiry {
    /// Of a file with these certificates: our own chain is worth as much as the first of it to expire, a list of authorities as much as the last.
    /// `None` where none can be read.
    pub fn of(path: &Path, role: Role, certificates: &[CertificateDer<'_>]) -> Option<Self> {
        let read = |der: &CertificateDer<'_>| {
            let certificate = Certificate::from_der(der.as_ref()).ok()?;
            let signed = certificate.tbs_certificate();
            let not_after = signed.validity().not_after.to_unix_duration().as_secs();
            Some((DateTime::from_timestamp(i64::try_from(not_after).ok()?, 0)?, signed.subject().to_string()))
        };
        let all = certificates.iter().filter_map(read);
        let (not_after, subject) = match role {
            Role::Own => all.min_by_key(|(not_after, _)| *not_after),
            Role::Ca => all.max_by_key(|(not_after, _)| *not_after),
        }?;
        Some(Self { file: path.display().to_string(), role, subject, not_after })
    }

    /// How it stands at `now`.
    pub fn status(&self, now: DateTime<Utc>) -> CertificateStatus {
        let left = (self.not_after - now).num_seconds() as f64 / 86_400.0;
        CertificateStatus { file: self.file.clone(), role: self.role, subject: self.subject.clone(), expires_in_days: left }
    }
}

impl CertificateStatus {
    /// What has to be said of it in the log, if anything.
    pub fn warning(&self) -> Option<String> {
        let Self { file, subject, expires_in_days: days, .. } = self;
        if *days < 0.0 {
            Some(format!("{file}: the certificate of {subject} has expired"))
        } else if *days < WARN_DAYS {
            Some(format!("{file}: the certificate of {subject} expires in {days:.1} days"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn until(name: &str, (year, month, day): (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_chain_ends_with_its_first_and_a_list_with_its_last() {
        let (early, late) = (until("early", (2027, 1, 1)), until("late", (2030, 1, 1)));
        let both = [late, early];
        let own = Expiry::of(Path::new("own.pem"), Role::Own, &both).unwrap();
        let ca = Expiry::of(Path::new("ca.pem"), Role::Ca, &both).unwrap();
        assert!(own.subject.contains("CN=early") && ca.subject.contains("CN=late"), "{own:?} {ca:?}");
        assert_eq!(own.not_after.to_rfc3339(), "2027-01-01T00:00:00+00:00");
        assert_eq!(Expiry::of(Path::new("x.pem"), Role::Ca, &[CertificateDer::from(vec![1, 2, 3])]), None);
        let before = |days| own.status(own.not_after - TimeDelta::days(days));
        assert_eq!((before(20).expires_in_days, before(20).warning()), (20.0, None));
        assert!(before(13).warning().unwrap().contains("expires in 13.0 days"));
        assert!(before(-1).warning().unwrap().contains("has expired"));
    }
}

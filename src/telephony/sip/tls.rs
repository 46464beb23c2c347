//! TLS: our certificate, whom we trust, and reading both anew while calls go on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tracing::warn;

use super::{
    certificates::{CertificateStatus, Expiry, Role},
    config::{ClientCertificates, SipConfig, TlsConfig},
};

/// What is wrong with a certificate, a key or a list of authorities.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    File(PathBuf, String),
    /// There is no certificate in a file.
    #[error("{path}: there is no certificate in it", path = .0.display())]
    Empty(PathBuf),
    /// Certificate and key do not fit each other, or the certificate is none of a server's.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Unfit(PathBuf, String),
    /// A setting is missing.
    #[error("TLS: {0}")]
    Missing(&'static str),
}

impl SipConfig {
    /// Can the certificates and keys be used?
    pub fn check_tls(&self) -> Result<(), TlsError> {
        Contexts::read(&self.tls, self.connects_by_tls()).map(drop)
    }
}

/// Certificates in use; read anew by [`Tls::reload`].
#[derive(Debug)]
pub(super) struct Tls {
    config: TlsConfig,
    connects: bool,
    contexts: ArcSwap<Contexts>,
}

/// What handshakes begin with. A connection keeps what it began with.
#[derive(Debug)]
pub(super) struct Contexts {
    /// For who connects to us; `None` where we do not listen.
    pub server: Option<Arc<ServerConfig>>,
    /// For connecting to others.
    pub client: Arc<ClientConfig>,
    /// Until when what they are made of is valid.
    expiries: Vec<Expiry>,
}

impl Tls {
    /// Reads the files of `config`, and the system's list of authorities where we are to connect to
    /// others (`connects`) and no `ca` is told.
    pub fn load(config: TlsConfig, connects: bool) -> Result<Self, TlsError> {
        let contexts = ArcSwap::from_pointee(Contexts::read(&config, connects)?);
        Ok(Self { config, connects, contexts })
    }

    /// Reads the files anew; where something is wrong everything stays as it was. `false` where there
    /// is nothing to read.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if self.config.certificate.is_none() && !self.connects {
            return Ok(false);
        }
        self.contexts.store(Arc::new(Contexts::read(&self.config, self.connects)?));
        Ok(true)
    }

    /// What a handshake begins with now.
    pub fn contexts(&self) -> Arc<Contexts> {
        self.contexts.load_full()
    }

    /// How long the certificates of the configuration are valid yet.
    pub fn certificates(&self, now: DateTime<Utc>) -> Vec<CertificateStatus> {
        self.contexts.load().expiries.iter().map(|expiry| expiry.status(now)).collect()
    }

    /// Warns of those that expire soon.
    pub fn warn(&self, now: DateTime<Utc>) {
        self.certificates(now).iter().filter_map(CertificateStatus::warning).for_each(|warning| warn!("{warning}"));
    }
}

impl Contexts {
    fn read(config: &TlsConfig, connects: bool) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let own = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                let unreadable = |e: &dyn ToString| TlsError::File(key.clone(), e.to_string());
                let bytes = std::fs::read(key).map_err(|e| unreadable(&e))?;
                let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| unreadable(&e))?;
                Some((certificate, certificates(certificate)?, key))
            }
            (None, None) => None,
            _ => return Err(TlsError::Missing("certificate and key go together")),
        };
        let of_ours = own.as_ref().and_then(|(path, chain, _)| Expiry::of(path, Role::Own, chain));
        let authorities = config.ca.as_ref().map(|path| Ok::<_, TlsError>((path, certificates(path)?))).transpose()?;
        let of_authorities = authorities.and_then(|(path, list)| Expiry::of(path, Role::Ca, &list));
        let roots = Arc::new(trusted(config, connects)?);
        let server = match &own {
            Some((path, chain, key)) if !config.listen.is_empty() => Some(server(config, &provider, &roots, path, chain, key)?),
            None if !config.listen.is_empty() => return Err(TlsError::Missing("to listen it needs a certificate and a key")),
            _ => None,
        };
        let unfit = |path: &Path, e: tokio_rustls::rustls::Error| TlsError::Unfit(path.to_owned(), e.to_string());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit(Path::new("TLS"), e))?
            .with_root_certificates(roots);
        let client = match own {
            Some((path, chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| unfit(path, e))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self { server, client: Arc::new(client), expiries: of_ours.into_iter().chain(of_authorities).collect() })
    }
}

fn server(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    path: &Path,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let unfit = |why: &dyn ToString| TlsError::Unfit(path.to_owned(), why.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions().map_err(|e| unfit(&e))?;
    let builder = match config.clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        wanted => {
            if config.ca.is_none() {
                // Every certificate of the web's authorities would do: that is no check of anybody.
                return Err(TlsError::Missing("to ask for client certificates it needs a `ca`"));
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
            let verifier = if wanted == ClientCertificates::Optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| unfit(&e))?)
        }
    };
    builder.with_single_cert(chain.to_vec(), key.clone_key()).map(Arc::new).map_err(|e| unfit(&e))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |e: io::Error| TlsError::File(path.to_owned(), e.to_string());
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let list = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match list {
        Ok(list) if list.is_empty() => Err(TlsError::Empty(path.to_owned())),
        Ok(list) => Ok(list),
        Err(e) => Err(TlsError::File(path.to_owned(), e.to_string())),
    }
}

/// Whose signature we trust: `ca` alone, or the system's list.
fn trusted(config: &TlsConfig, connects: bool) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|e| TlsError::Unfit(path.clone(), e.to_string()))?;
        }
        return Ok(roots);
    }
    if !connects {
        return Ok(roots);
    }
    let native = load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        warn!("TLS: the system has no list of authorities; without `ca` no server can be trusted");
    }
    Ok(roots)
}

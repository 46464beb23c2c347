//! Certificates for the tests: an authority of their own, and what it signs.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// An authority, and the directory that its files are in.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: PathBuf,
    dir: PathBuf,
}

impl Authority {
    /// A new one, in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = dir.join(format!("{name}.ca.pem"));
        std::fs::write(&certificate, params.self_signed(&key).expect("a certificate").pem()).expect("its file");
        Self { issuer: Issuer::new(params, key), certificate, dir: dir.to_owned() }
    }

    /// Signs a certificate for `host` and 127.0.0.1; writes it and its key to `file`.pem and `file`.key.
    pub fn sign(&self, file: &str, host: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned(), "127.0.0.1".to_owned()]).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (certificate, key_file) = (self.dir.join(format!("{file}.pem")), self.dir.join(format!("{file}.key")));
        std::fs::write(&certificate, signed.pem()).expect("its file");
        std::fs::write(&key_file, key.serialize_pem()).expect("its file");
        (certificate, key_file)
    }
}

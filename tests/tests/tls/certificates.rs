//! An authority and the certificates that it signs, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};

/// An authority with a directory for its own certificate and those that it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and its key.
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// From and until which year a certificate is valid.
pub(crate) type Years = (i32, i32);

pub(crate) const VALID: Years = (2020, 2120);
pub(crate) const EXPIRED: Years = (2020, 2021);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("write");
        Self { issuer: Issuer::new(params, key), directory }
    }

    /// The file with the certificate of this authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Signs a certificate for a server; an address among the names is one.
    pub(crate) fn server(&self, file: &str, names: &[&str], years: Years) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(file, params, years)
    }

    /// Signs a certificate for a client.
    pub(crate) fn client(&self, file: &str, years: Years) -> Files {
        let mut params = CertificateParams::default();
        let uri = "spiffe://shop.test/ns/shop/sa/web".try_into().expect("a URI");
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(file, params, years)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, (from, until): Years) -> Files {
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = Files { cert: self.path(&format!("{file}.pem")), key: self.path(&format!("{file}.key")) };
        replace(&files.key, &key.serialize_pem());
        replace(&files.cert, &certificate.pem());
        files
    }
}

/// Puts a file in the place of another at once.
pub(crate) fn replace(path: &Path, contents: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, contents).expect("write");
    std::fs::rename(&beside, path).expect("rename");
}

impl Files {
    /// As the value of `--tls-certificate`.
    pub(crate) fn setting(&self, names: &str) -> String {
        let names = if names.is_empty() { String::new() } else { format!("names={names},") };
        format!("{names}cert={},key={}", self.cert.display(), self.key.display())
    }
}

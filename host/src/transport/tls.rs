//! TLS configurations of deliveries: the system's CAs, and the CA bundles and client certificates that the operator
//! configures under names.
//!
//! A webhook chooses among these names. Nothing switches certificate verification off.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use super::expiry;
use crate::model::settings::TlsFiles;
use crate::model::time::Timestamp;
use crate::model::webhook::TlsNames;

/// Why TLS cannot be set up; found at start-up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An extra root is not a usable certificate.
    #[error("certificate {index} of the extra roots cannot be used: {error}")]
    Root {
        /// Position in the list, from 0.
        index: usize,
        /// The error of rustls.
        error: rustls::Error,
    },
    /// A named file cannot be used.
    #[error("{what} {name}: {}: {why}", .file.display())]
    File {
        /// "CA bundle" or "client certificate".
        what: &'static str,
        /// The name in the configuration.
        name: String,
        /// Path of the file.
        file: PathBuf,
        /// The cause and what is expected instead.
        why: String,
    },
    /// rustls rejects the TLS versions or cipher suites.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// A client certificate with its chain, and its private key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The TLS client configurations, one for each set of names in use.
pub struct Tls {
    system: Arc<RootCertStore>,
    cas: BTreeMap<String, Arc<RootCertStore>>,
    expiries: Vec<(String, Timestamp)>,
    client_certs: BTreeMap<String, Identity>,
    /// Made at first use. Each has its own session cache, so that sessions are not resumed across identities.
    configs: Mutex<HashMap<TlsNames, Arc<ClientConfig>>>,
}

impl Tls {
    /// Reads the named files and the system's roots; `extra_roots` (DER) are trusted in addition.
    ///
    /// # Errors
    /// If a file cannot be read or used, or a key is readable by all users. A system without roots is no error: HTTP in
    /// the clear works, and so does TLS with a named CA bundle.
    pub fn new(files: &TlsFiles, extra_roots: &[Vec<u8>]) -> Result<Self, SetupError> {
        let mut cas = BTreeMap::new();
        let mut expiries = Vec::new();
        for (name, file) in &files.cas {
            let (roots, expires) = bundle(name, file)?;
            expiries.extend(expires.map(|at| (format!("CA bundle {name}"), at)));
            cas.insert(name.clone(), Arc::new(roots));
        }
        let mut client_certs = BTreeMap::new();
        for (name, cert, key) in &files.client_certs {
            let identity = identity(name, cert, key)?;
            let expires = identity.chain.iter().filter_map(|certificate| expiry::not_after(certificate)).min();
            expiries.extend(expires.map(|at| (format!("client certificate {name}"), at)));
            client_certs.insert(name.clone(), identity);
        }
        let system = Arc::new(system_roots(extra_roots)?);
        let tls = Self { system, cas, expiries, client_certs, configs: Mutex::default() };
        // A certificate and key that do not match are found now, not at the first delivery.
        for (name, file, _) in &files.client_certs {
            let names = TlsNames { ca: None, client_cert: Some(name.clone()) };
            tls.config(&names).map_err(|why| SetupError::File {
                what: "client certificate",
                name: name.clone(),
                file: file.clone(),
                why,
            })?;
        }
        tls.config(&TlsNames::default()).map_err(|why| SetupError::Tls(rustls::Error::General(why)))?;
        Ok(tls)
    }

    /// The configured certificates, each with the time after which it is not valid any more: of a bundle or a chain the
    /// earliest.
    pub fn expiries(&self) -> &[(String, Timestamp)] {
        &self.expiries
    }

    /// The names that the configuration does not have: the member of the webhook's `tls`, and a sentence.
    pub fn unknown(&self, names: &TlsNames) -> Vec<(&'static str, String)> {
        let mut unknown = Vec::new();
        if let Some(ca) = names.ca.as_ref().filter(|ca| !self.cas.contains_key(*ca)) {
            unknown.push(("ca", missing("CA bundle", ca, "--tls-ca", self.cas.keys())));
        }
        if let Some(cert) = names.client_cert.as_ref().filter(|cert| !self.client_certs.contains_key(*cert)) {
            unknown.push((
                "client_cert",
                missing("client certificate", cert, "--tls-client-cert", self.client_certs.keys()),
            ));
        }
        unknown
    }

    /// The client configuration for these names.
    ///
    /// # Errors
    /// A sentence: a name is not (or no longer) configured, or a certificate and its key do not match.
    pub(super) fn config(&self, names: &TlsNames) -> Result<Arc<ClientConfig>, String> {
        if let Some((_, why)) = self.unknown(names).into_iter().next() {
            return Err(why);
        }
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(names) {
            return Ok(Arc::clone(config));
        }
        let roots = names.ca.as_ref().and_then(|ca| self.cas.get(ca)).unwrap_or(&self.system);
        // The provider is given explicitly: the process-wide default could be set by another library.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(ClampedTime))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(roots));
        let config = match names.client_cert.as_ref().and_then(|cert| self.client_certs.get(cert)) {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(|error| format!("the certificate and its key cannot be used together: {error}"))?,
            None => builder.with_no_client_auth(),
        };
        let config = Arc::new(config);
        configs.insert(names.clone(), Arc::clone(&config));
        Ok(config)
    }
}

/// The machine's time for the validity of certificates. rustls' own panics before 1970.
#[derive(Debug)]
struct ClampedTime;

impl TimeProvider for ClampedTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Timestamp::from_system(SystemTime::now());
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now.unix_seconds().unsigned_abs())))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certs: Vec<_> = self.client_certs.keys().collect();
        f.debug_struct("Tls").field("cas", &self.cas.keys()).field("client_certs", &certs).finish_non_exhaustive()
    }
}

fn missing<'a>(what: &str, name: &str, flag: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).collect();
    let there = if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    format!("the server's configuration has no {what} named {name:?}: {there}; an operator adds one with {flag}")
}

fn system_roots(extra_roots: &[Vec<u8>]) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(errors = ?found.errors, "this system has no CA certificates, so deliveries over TLS fail unless a webhook names a CA bundle; install the system's CA certificates");
    } else if unusable > 0 || !found.errors.is_empty() {
        tracing::debug!(usable, unusable, errors = ?found.errors, "some of the system's CA certificates cannot be read");
    }
    for (index, root) in extra_roots.iter().enumerate() {
        let root = CertificateDer::from_slice(root).into_owned();
        roots.add(root).map_err(|error| SetupError::Root { index, error })?;
    }
    Ok(roots)
}

/// The certificates of a file, and when the first of them expires.
fn bundle(name: &str, file: &Path) -> Result<(RootCertStore, Option<Timestamp>), SetupError> {
    let fault = |why: String| SetupError::File { what: "CA bundle", name: name.to_owned(), file: file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    let mut expires: Option<Timestamp> = None;
    for certificate in certificates(file).map_err(&fault)? {
        let at = expiry::not_after(&certificate);
        expires = expires.into_iter().chain(at).min();
        roots.add(certificate).map_err(|error| fault(format!("a certificate in it cannot be used: {error}")))?;
    }
    Ok((roots, expires))
}

fn identity(name: &str, cert: &Path, key: &Path) -> Result<Identity, SetupError> {
    let fault = |file: &Path, why| SetupError::File {
        what: "client certificate",
        name: name.to_owned(),
        file: file.to_owned(),
        why,
    };
    let chain = certificates(cert).map_err(|why| fault(cert, why))?;
    let mode = std::fs::metadata(key).map_err(|error| fault(key, error.to_string()))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(fault(key, "every user of this machine can read or write this key; make its mode 0600".into()));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| fault(key, format!("a private key in PEM is expected: {}", pem_words(&error))))?;
    Ok(Identity { chain, key })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let words = |error| format!("certificates in PEM are expected: {}", pem_words(&error));
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(words)?.collect();
    let read = read.map_err(words)?;
    if read.is_empty() { Err("it has no certificate in PEM".into()) } else { Ok(read) }
}

fn pem_words(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "there is none in it".into(),
        error => error.to_string(),
    }
}

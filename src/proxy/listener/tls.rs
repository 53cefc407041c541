//! TLS settings of a listener: rustls 1.2 and 1.3, ring, HTTP/2 by ALPN.
//!
//! Certificate and key are read here and given to pingora as a resolver, because pingora panics on
//! PEM files that it cannot use.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pingora_core::listeners::tls::TlsSettings;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// PEM files that cannot be used.
#[derive(Debug)]
pub struct TlsFault {
    file: String,
    message: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS cannot use `{}`: {}", self.file, self.message)
    }
}

impl std::error::Error for TlsFault {}

/// Settings with this chain and key.
///
/// # Errors
/// [`TlsFault`] names the file and what is wrong with it.
pub fn settings(certificate: &Path, key: &Path) -> Result<TlsSettings, TlsFault> {
    let fault = |file: &Path, message: String| TlsFault { file: file.display().to_string(), message };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, secret, &default_provider())
        .map_err(|error| fault(certificate, error.to_string()))?;
    let mut settings = TlsSettings::with_callbacks(Box::new(NoCallbacks))
        .map_err(|error| fault(certificate, error.to_string()))?;
    settings.set_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    settings.enable_h2();
    Ok(settings)
}

struct NoCallbacks;

#[async_trait::async_trait]
impl pingora_core::listeners::TlsAccept for NoCallbacks {}

//! A key and its certificate in one file, so that both change at once: what it holds for, and until
//! when.

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::der::{self, Reader};
use crate::{
    error::{Error, Result},
    secret::Secret,
};

/// A key with the certificates that follow from it, its own first.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub pem: Secret,
    pub certificate: Certificate,
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Domains, of which one may begin with `*.`.
    pub names: Vec<String>,
    pub from: Timestamp,
    pub until: Timestamp,
    pub issuer: String,
    pub fingerprint: String,
}

/// In which line a file of ours says where it is from.
const ORIGIN: &str = "# hostkit: ";

impl Bundle {
    /// Reads a key and certificates, and fails unless they belong together.
    pub fn read(key: &[u8], chain: &[u8]) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| broken(format!("the key can't be read: {e}")))?;
        let mut certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| broken(format!("the certificate can't be read: {e}")))?;
        let first = certificates.first().ok_or_else(|| broken("it holds no certificate".into()))?;
        let certificate = Certificate::parse(first)
            .ok_or_else(|| broken("the certificate is none that hostkit can read".into()))?;
        for (at, one) in certificates.iter().enumerate() {
            ParsedCertificate::try_from(one)
                .map_err(|e| broken(format!("certificate {} in it can't be read: {e}", at + 1)))?;
        }
        let pem = Secret::new(text(&key, &certificates));
        let signer = any_supported_type(&key)
            .map_err(|e| broken(format!("no web server here would take the key: {e}")))?;
        certificates.truncate(1);
        CertifiedKey::new(certificates, signer)
            .keys_match()
            .map_err(|_| broken("the key is not the certificate's".into()))?;
        Ok(Self { pem, certificate })
    }

    /// Reads what [`marked`](Self::marked) wrote.
    pub fn read_whole(pem: &[u8]) -> Result<Self> {
        let bundle = Self::read(pem, pem)?;
        let text = String::from_utf8_lossy(pem).into_owned();
        Ok(Self { pem: Secret::new(text), ..bundle })
    }

    /// With a word on where it is from, which the web server passes over.
    #[must_use]
    pub fn marked(self, origin: &str) -> Self {
        let pem = Secret::new(format!("{ORIGIN}{origin}\n{}", self.pem.expose()));
        Self { pem, ..self }
    }

    /// Where it is from, if it says so.
    pub fn origin(&self) -> Option<&str> {
        self.pem.expose().lines().next()?.strip_prefix(ORIGIN)
    }
}

fn broken(why: String) -> Error {
    Error::failed("this certificate can't be used").coded("bad_certificate").caused_by(why)
}

/// Both as files have them, and nothing else that stood there.
fn text(key: &PrivateKeyDer<'_>, certificates: &[CertificateDer<'_>]) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut all = armoured(label, key.secret_der());
    for certificate in certificates {
        all.push_str(&armoured("CERTIFICATE", certificate));
    }
    all
}

/// Bytes as lines of letters between two marks.
pub(super) fn armoured(label: &str, bytes: &[u8]) -> String {
    let letters = Zeroizing::new(BASE64.encode(bytes));
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in letters.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

impl Certificate {
    fn parse(whole: &[u8]) -> Option<Self> {
        let mut certificate = Reader(whole).of(der::SEQUENCE)?.of(der::SEQUENCE)?;
        // The version, which all that are in use say; a serial number; how it is signed.
        certificate.of(der::tagged(0))?;
        certificate.of(der::INTEGER)?;
        certificate.of(der::SEQUENCE)?;
        let issuer = issuer(&certificate.of(der::SEQUENCE)?);
        let mut validity = certificate.of(der::SEQUENCE)?;
        let (from, until) = (moment(validity.next()?)?, moment(validity.next()?)?);
        let more = certificate.find(|(tag, _)| *tag == der::tagged(3)).map(|(_, more)| more)?;
        let names = Reader(more).of(der::SEQUENCE)?.find_map(|(_, extension)| {
            let mut extension = Reader(extension);
            let (_, which) = extension.next()?;
            let (_, value) = extension.find(|(tag, _)| *tag == der::OCTETS)?;
            (which == der::NAMES_OID).then_some(value)
        })?;
        let names = Reader(names)
            .of(der::SEQUENCE)?
            .filter(|(tag, _)| *tag == 0x82)
            .filter_map(|(_, name)| Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase()))
            .collect();
        let fingerprint = HEXLOWER.encode(&Sha256::digest(whole));
        Some(Self { names, from, until, issuer, fingerprint })
    }
}

/// Who made it: the organisation, where it names one.
fn issuer(name: &Reader<'_>) -> String {
    let part = |wanted: u8| {
        Reader(name.0).filter(|(tag, _)| *tag == der::SET).find_map(|(_, set)| {
            let mut pair = Reader(set).of(der::SEQUENCE)?;
            let (_, which) = pair.next()?;
            let (_, value) = pair.next()?;
            (which == [0x55, 0x04, wanted]).then(|| String::from_utf8_lossy(value).into_owned())
        })
    };
    let said = part(10).or_else(|| part(3)).unwrap_or_else(|| "unknown".into());
    said.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// `261121093012Z`, and with all of the year where that is beyond 2049.
fn moment((tag, digits): (u8, &[u8])) -> Option<Timestamp> {
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let full = match (tag, digits.len()) {
        (0x17, 12) => {
            let century = if digits.get(..2)? >= "50" { "19" } else { "20" };
            format!("{century}{digits}")
        }
        (0x18, 14) => digits.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| full.get(range);
    let date = format!("{}-{}-{}", part(0..4)?, part(4..6)?, part(6..8)?);
    let time = format!("{}:{}:{}Z", part(8..10)?, part(10..12)?, part(12..14)?);
    format!("{date}T{time}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_moment() {
        let at = |tag, text: &str| moment((tag, text.as_bytes())).map(|t| t.to_string());
        assert_eq!(at(0x17, "261121093012Z").unwrap(), "2026-11-21T09:30:12Z");
        assert_eq!(at(0x17, "991121093012Z").unwrap(), "1999-11-21T09:30:12Z");
        assert_eq!(at(0x18, "20501121093012Z").unwrap(), "2050-11-21T09:30:12Z");
        for text in ["", "Z", "261121093012", "26112109301üZ", "269921093012Z"] {
            assert_eq!(at(0x17, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(
                Bundle::read(text.as_bytes(), text.as_bytes()).unwrap_err().code,
                "bad_certificate"
            );
        }
        assert!(Certificate::parse(&[0x30, 0x03, 0x30, 0x01, 0xa0]).is_none());
    }
}

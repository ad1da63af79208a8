//! A new key, and the request for its certificate.

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::{
    error::{Error, Result},
    names::Domain,
    secret::Secret,
    sys::{
        certificate::armoured,
        der::{BIT_STRING, INTEGER, NAMES_OID, OCTETS, OID, SET, element, sequence, tagged},
    },
};

/// What precedes a point in the description of a key on P-256.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
/// ECDSA with SHA-256.
const SIGNED_BY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// A wish for extensions.
const WISH: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

pub(super) struct Request {
    pub(super) key: Secret,
    pub(super) der: Vec<u8>,
}

impl Request {
    /// Of a certificate for these domains, and a key that nobody has had before.
    pub(super) fn new(domains: &[Domain]) -> Result<Self> {
        let failed = || Error::failed("could not make a key for a certificate");
        let random = SystemRandom::new();
        let alg = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).map_err(|_| failed())?;
        let key = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random)
            .map_err(|e| failed().caused_by(e))?;
        let names: Vec<u8> =
            domains.iter().flat_map(|domain| element(0x82, domain.as_str().as_bytes())).collect();
        let names = element(OCTETS, &sequence(&[&names]));
        let names = sequence(&[&element(OID, NAMES_OID), &names]);
        let wish = element(SET, &sequence(&[&names]));
        let wishes = element(tagged(0), &sequence(&[&element(OID, WISH), &wish]));
        let public = bits(key.public_key().as_ref());
        let asked = sequence(&[
            &element(INTEGER, &[0]),
            &sequence(&[]),
            &sequence(&[P256, &public]),
            &wishes,
        ]);
        let signature = key.sign(&random, &asked).map_err(|_| failed())?;
        let signed_by = sequence(&[&element(OID, SIGNED_BY)]);
        let der = sequence(&[&asked, &signed_by, &bits(signature.as_ref())]);
        Ok(Self { key: Secret::new(armoured("PRIVATE KEY", pkcs8.as_ref())), der })
    }
}

/// Whole bytes as a string of bits.
fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

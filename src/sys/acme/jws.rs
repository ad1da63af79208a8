//! The key by which an authority for certificates knows this server, and what it signs.

use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    secret::Secret,
    sys::certificate::armoured,
};

/// An account at an authority: a key, and nothing else.
pub struct Account {
    key: EcdsaKeyPair,
}

/// By what a request says who sends it.
pub(super) enum Signer<'a> {
    /// The key itself, which the authority does not know yet.
    Key,
    /// The address that the authority gave the account.
    Account(&'a str),
}

impl Account {
    /// The text of a new one.
    pub fn generate() -> Result<Secret> {
        let failed = |_| Error::failed("could not make a key for the account");
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(Secret::new(armoured("PRIVATE KEY", key.map_err(failed)?.as_ref())))
    }

    pub fn read(text: &str) -> Result<Self> {
        let failed = |why: String| {
            Error::failed("the key of the account for certificates can't be read")
                .coded("bad_account")
                .caused_by(why)
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|e| failed(e.to_string()))?;
        EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            key.secret_pkcs8_der(),
            &SystemRandom::new(),
        )
        .map(|key| Self { key })
        .map_err(|e| failed(e.to_string()))
    }

    /// Both coordinates of the public key.
    fn point(&self) -> (String, String) {
        // One byte that says "not compressed", then 32 of each.
        let point = self.key.public_key().as_ref();
        let half = |range| point.get(range).map(|n| BASE64URL_NOPAD.encode(n)).unwrap_or_default();
        (half(1..33), half(33..65))
    }

    /// What a challenge is answered with, beside its own word (RFC 7638).
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.point();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL_NOPAD.encode(&Sha256::digest(text.as_bytes()))
    }

    /// A signed request; one without a payload only reads.
    pub(super) fn sign(
        &self,
        signer: &Signer<'_>,
        nonce: &str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<String> {
        let mut head = json!({"alg": "ES256", "nonce": nonce, "url": url});
        match signer {
            Signer::Key => {
                let (x, y) = self.point();
                head["jwk"] = json!({"crv": "P-256", "kty": "EC", "x": x, "y": y});
            }
            Signer::Account(address) => head["kid"] = json!(address),
        }
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let (head, payload) = (encode(&head), payload.map(encode).unwrap_or_default());
        let signed = self
            .key
            .sign(&SystemRandom::new(), format!("{head}.{payload}").as_bytes())
            .map_err(|_| Error::failed("could not sign a request for a certificate"))?;
        let signature = BASE64URL_NOPAD.encode(signed.as_ref());
        Ok(json!({"protected": head, "payload": payload, "signature": signature}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_signed_request_is_what_its_key_says_it_is() {
        let account = Account::read(Account::generate().unwrap().expose()).unwrap();
        assert_eq!(account.thumbprint().len(), 43);
        let payload = json!({"a": 1});
        let text = account.sign(&Signer::Key, "n", "https://ca.test/x", Some(&payload)).unwrap();
        let request: Value = serde_json::from_str(&text).unwrap();
        let part = |name: &str| request[name].as_str().unwrap().to_owned();
        let signature = BASE64URL_NOPAD.decode(part("signature").as_bytes()).unwrap();
        let signed = format!("{}.{}", part("protected"), part("payload"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, account.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let head = BASE64URL_NOPAD.decode(part("protected").as_bytes()).unwrap();
        let head: Value = serde_json::from_slice(&head).unwrap();
        assert_eq!((&head["alg"], &head["nonce"]), (&json!("ES256"), &json!("n")));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Account::read("nothing").err().unwrap().code, "bad_account");
    }
}

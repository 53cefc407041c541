//! The signing key of this node: Ed25519 (RFC 8032), for journal checkpoints.
//!
//! It lives in a file beside the data, never in the database, so that whoever can rewrite the
//! journal's index cannot sign a checkpoint. Verification is strict: no signature has two forms.

use std::fmt;

use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{from_hex, hex, hkdf_32};

/// A signing key. Wiped when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key out of 32 bytes of a cryptographic random source.
    pub fn generate(random: [u8; 32]) -> Self {
        Self::from_bytes(random)
    }

    /// A key read from its file.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(ed25519_dalek::SigningKey::from_bytes(&bytes))
    }

    /// The 32 secret bytes, for its file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Names the key: see [`VerifyingKey::key_id`].
    pub fn key_id(&self) -> String {
        self.verifying_key().key_id()
    }

    /// A secret of its own for another purpose of this node: HKDF-SHA-256 under this label.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        hkdf_32(None, self.to_bytes().as_ref(), label.as_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, redacted)", self.key_id())
    }
}

/// Text or bytes that are no public key of Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKeyError(());

impl fmt::Display for VerifyingKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verifying key is 64 hexadecimal digits of an Ed25519 public key")
    }
}

impl std::error::Error for VerifyingKeyError {}

/// The public half of a [`SigningKey`]; no secret. Its written form is 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// From the 32 bytes of the public key.
    ///
    /// # Errors
    /// [`VerifyingKeyError`] where the bytes are no point of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, VerifyingKeyError> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| VerifyingKeyError(()))
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// [`VerifyingKeyError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, VerifyingKeyError> {
        Self::from_bytes(&from_hex(text.trim()).ok_or(VerifyingKeyError(()))?)
    }

    /// Whether this key made that signature over that message.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }

    /// Names the key: the first 8 bytes of SHA-256 of the public key, in hexadecimal.
    pub fn key_id(&self) -> String {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(self.0.as_bytes());
        hex(digest.get(..8).unwrap_or_default())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "e8c3ef4117b4fe34c5c7674963809a6d4e03e1498002f1689099e5f9fc3e7c23606f236dff75b7687852802e32fa4768f7d67bb8b16640301604abb4b5525801";

    fn key() -> SigningKey {
        SigningKey::generate(std::array::from_fn(|i| 32 + u8::try_from(i).unwrap()))
    }

    #[test]
    fn key_signature_and_derivation_are_what_python_cryptography_computes() {
        let public = key().verifying_key();
        assert_eq!(public.to_string(), "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7");
        assert_eq!(public.key_id(), "24f6ed6acbfe1009");
        assert_eq!(hex(&key().sign(b"wicket test message")), SIGNATURE);
        assert_eq!(
            hex(key().derive("wicket/arguments/v1").as_ref()),
            "6a283c7d3a0b77f76671523027ced5f8938de3eff01c83668683e24179bb8199"
        );
    }

    #[test]
    fn only_the_signed_message_verifies() {
        let public = VerifyingKey::parse(&key().verifying_key().to_string()).unwrap();
        let signature = from_hex(SIGNATURE).unwrap();
        assert!(public.verify(b"wicket test message", &signature));
        assert!(!public.verify(b"wicket test messagf", &signature));
        for byte in 0..64 {
            let mut changed = signature;
            changed[byte] ^= 1;
            assert!(!public.verify(b"wicket test message", &changed), "byte {byte}");
        }
        assert!(!SigningKey::generate([1; 32]).verifying_key().verify(b"wicket test message", &signature));
        assert!(VerifyingKey::parse("AB").is_err() && VerifyingKey::parse(&"FF".repeat(32)).is_err());
    }

    #[test]
    fn the_secret_half_is_not_printed() {
        let printed = format!("{:?}", key());
        assert!(!printed.contains(&hex(key().to_bytes().as_ref())), "{printed}");
        assert!(printed.contains("redacted"));
    }
}

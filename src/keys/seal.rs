//! The public half of a member key's X25519 pair, to which upstream credentials will be sealed.
//!
//! Stored with its salt when the key is minted, so that every key ever issued can be sealed to
//! (decision 3). The private half exists only while the key is presented. Sealing itself comes with
//! the credentials issue.

use x25519_dalek::{PublicKey, StaticSecret};

use super::{MemberKey, hkdf_32};

/// An X25519 public key (RFC 7748), 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealPublic([u8; 32]);

impl SealPublic {
    /// A key read from the store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The public half of `HKDF-SHA-256(key, salt, "wicket/seal/v1")`. The salt is 32 random bytes,
/// stored beside the result.
pub fn seal_public(key: &MemberKey, salt: &[u8; 32]) -> SealPublic {
    let secret = StaticSecret::from(*hkdf_32(Some(salt), key.bytes(), b"wicket/seal/v1"));
    SealPublic(PublicKey::from(&secret).to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_is_what_python_cryptography_computes() {
        let key = MemberKey::mint(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let salt = std::array::from_fn(|i| 200 + u8::try_from(i).unwrap());
        assert_eq!(
            crate::keys::hex(seal_public(&key, &salt).as_bytes()),
            "44edbdd1509344072386118f2b216d24e60721044d3a652bb8a88a149768767e"
        );
        assert_ne!(seal_public(&key, &salt), seal_public(&key, &[0; 32]));
    }
}

//! Keys: what a member presents, what credentials are sealed to, what checkpoints are signed with.
//!
//! Pure: randomness comes in as arguments, nothing is stored here. Secret bytes are wiped when
//! dropped, never printed by `Debug`, and compared in constant time (decisions 2 and 3).

mod invite;
mod member_key;
mod seal;
mod sign;
mod state;

pub use invite::{INVITE_PREFIX, InviteFacts, InviteSigner, InviteToken};
pub use member_key::{KeyFormatError, KeyTag, MEMBER_KEY_CHARACTERS, MemberKey, Pepper};
pub use seal::{SealPublic, seal_public};
pub use sign::{SigningKey, VerifyingKey, VerifyingKeyError};
pub use state::{STATE_NONCE_BYTES, StateSeal};

/// Bytes in hexadecimal, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads exactly `N` bytes of lower-case hexadecimal. Upper case is refused, so that one value has
/// one written form.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// HKDF-SHA-256 (RFC 5869) to 32 bytes.
fn hkdf_32(salt: Option<&[u8]>, secret: &[u8], info: &[u8]) -> zeroize::Zeroizing<[u8; 32]> {
    let mut out = zeroize::Zeroizing::new([0u8; 32]);
    let derived = hkdf::Hkdf::<sha2::Sha256>::new(salt, secret).expand(info, out.as_mut());
    // RFC 5869 refuses only more than 255 blocks; 32 bytes are one.
    debug_assert!(derived.is_ok());
    out
}

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    use hmac::Mac as _;
    let mut block = zeroize::Zeroizing::new([0u8; 64]);
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    // A key shorter than SHA-256's block of 64 bytes is padded with zeros (RFC 2104), so the padded
    // block is the same key, and this constructor cannot fail.
    let mut mac = hmac::Hmac::<sha2::Sha256>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

//! The member key: 24 random bytes that a member's client presents, shown once and never stored.
//!
//! What is stored is a tag: HKDF-SHA-256 of the key under `wicket/lookup/v1`, then HMAC-SHA-256 under
//! the server's pepper (decision 2). The tag's first half finds the record; the whole is compared in
//! constant time, against a dummy where no record was found, so that both take the same path. The
//! key has 192 random bits, so no slow hash is needed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{hkdf_32, hmac_sha256};

const KEY_BYTES: usize = 24;

/// Characters of a written member key: base64url of 24 bytes, without padding.
pub const MEMBER_KEY_CHARACTERS: usize = 32;

/// Text that is no member key. Carries nothing of the text, which may be a secret of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFormatError(());

impl fmt::Display for KeyFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a member key is {MEMBER_KEY_CHARACTERS} characters of A-Z, a-z, 0-9, `-` and `_`")
    }
}

impl std::error::Error for KeyFormatError {}

/// A member key in the clear. Lives as briefly as possible; wiped when dropped.
pub struct MemberKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    text: Zeroizing<String>,
}

impl MemberKey {
    /// A new key out of 24 bytes of a cryptographic random source.
    pub fn mint(random: [u8; KEY_BYTES]) -> Self {
        let bytes = Zeroizing::new(random);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        Self { bytes, text }
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// [`KeyFormatError`] for anything but 32 characters of base64url.
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
        if text.len() != MEMBER_KEY_CHARACTERS {
            return Err(KeyFormatError(()));
        }
        match URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut()) {
            Ok(KEY_BYTES) => Ok(Self { bytes, text: Zeroizing::new(text.to_owned()) }),
            _ => Err(KeyFormatError(())),
        }
    }

    /// The written form, to be shown to its owner once and to nobody else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The last 4 characters, by which a person tells keys apart (`displaySuffix`).
    pub fn suffix(&self) -> &str {
        self.text.get(MEMBER_KEY_CHARACTERS - 4..).unwrap_or_default()
    }

    /// The tag under which this key is stored and found.
    pub fn tag(&self, pepper: &Pepper) -> KeyTag {
        let lookup = hkdf_32(None, self.bytes.as_ref(), b"wicket/lookup/v1");
        KeyTag(hmac_sha256(&pepper.0, lookup.as_ref()))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKey(redacted)")
    }
}

/// The server's secret under which keys are tagged: without it a stolen table of tags cannot even
/// be tested against a guessed key.
#[derive(Clone)]
pub struct Pepper(Zeroizing<[u8; 32]>);

impl Pepper {
    /// Wraps the 32 bytes of the pepper file.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for keys that are derived from them.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// What tells two peppers apart without saying anything of either: 32 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let tag = hmac_sha256(&self.0, b"wicket/pepper-fingerprint/v1");
        super::hex(tag.get(..16).unwrap_or_default())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(redacted)")
    }
}

/// What the store keeps of a member key.
#[derive(Clone, Copy)]
pub struct KeyTag([u8; 32]);

impl KeyTag {
    /// A tag read from the store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first half: the index by which a record is found.
    pub fn index(&self) -> [u8; 16] {
        let mut index = [0u8; 16];
        for (slot, byte) in index.iter_mut().zip(&self.0) {
            *slot = *byte;
        }
        index
    }

    /// Whether both are the same tag, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Whether a record was found and is this tag. Compares with a dummy where none was found, so
    /// that an unknown key costs what a wrong one costs.
    pub fn matches_record(&self, record: Option<&Self>) -> bool {
        const DUMMY: KeyTag = KeyTag([0; 32]);
        let found = subtle::Choice::from(u8::from(record.is_some()));
        let same = self.0.ct_eq(&record.unwrap_or(&DUMMY).0);
        (found & same).into()
    }
}

impl fmt::Debug for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyTag(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting<const N: usize>(from: u8) -> [u8; N] {
        std::array::from_fn(|i| from + u8::try_from(i).unwrap())
    }

    #[test]
    fn the_tag_is_what_python_computes() {
        // hmac.new(pepper, HKDF(None, key, b"wicket/lookup/v1"), sha256), Python's hmac and hashlib.
        let key = MemberKey::mint(counting(0));
        let tag = key.tag(&Pepper::from_bytes(counting(100)));
        assert_eq!(
            crate::keys::hex(tag.as_bytes()),
            "3d8a3b38c3e313e4d4dc90032e98a4e2049ac87e8e11d2a707a951de4ae3ef67"
        );
        assert_eq!(key.expose(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        assert_eq!(key.suffix(), "FRYX");
        assert_eq!(tag.index().as_slice(), &tag.as_bytes()[..16]);
    }

    #[test]
    fn only_32_characters_of_base64url_are_a_key() {
        let good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
        assert_eq!(MemberKey::parse(good).unwrap().expose(), good);
        assert_eq!(MemberKey::parse(good).unwrap().bytes(), &counting::<24>(0));
        let bad = [
            "",
            good.trim_start_matches('A'),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRY=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRY+",
        ];
        for text in
            bad.into_iter().chain(["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXX", "AAECAwQFBgcICQoLDA0ODxAREhMUFR é"])
        {
            let error = MemberKey::parse(text).unwrap_err().to_string();
            assert!(!error.contains("AAEC"), "{error}");
        }
    }

    #[test]
    fn a_tag_matches_itself_alone_and_never_a_missing_record() {
        let pepper = Pepper::from_bytes([9; 32]);
        let tag = MemberKey::mint([1; 24]).tag(&pepper);
        let other = MemberKey::mint([2; 24]).tag(&pepper);
        let peppered = MemberKey::mint([1; 24]).tag(&Pepper::from_bytes([8; 32]));
        assert!(tag.matches(&tag) && tag.matches_record(Some(&tag)));
        assert!(!tag.matches(&other) && !tag.matches(&peppered));
        assert!(!tag.matches_record(None) && !KeyTag::from_bytes([0; 32]).matches_record(None));
        for byte in 0..32 {
            let mut near = *tag.as_bytes();
            near[byte] ^= 1;
            assert!(!tag.matches(&KeyTag::from_bytes(near)), "byte {byte}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let key = MemberKey::mint(counting(0));
        let pepper = Pepper::from_bytes([0xAB; 32]);
        let printed = format!("{key:?} {pepper:?} {:?}", key.tag(&pepper));
        assert_eq!(printed, "MemberKey(redacted) Pepper(redacted) KeyTag(redacted)");
    }
}

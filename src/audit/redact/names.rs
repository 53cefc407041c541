//! Names under which nothing is written down, whatever their value is.

/// Letters and digits of a name that are looked at.
const LETTERS_MAX: usize = 200;

/// Parts by their first letter. A name that contains one is sensitive.
const PARTS: [(u8, &[&[u8]]); 7] = [
    (b'p', &[b"password", b"passwd", b"passphrase", b"privatekey"]),
    (b's', &[b"secret", b"signingkey", b"sessionkey"]),
    (b'a', &[b"apikey", b"authorization", b"accesskey"]),
    (b'c', &[b"cookie", b"credential"]),
    (b'e', &[b"encryptionkey"]),
    (b'b', &[b"bearer"]),
    (b't', &[b"token"]),
];

/// Whole names that are.
const WHOLE: [&[u8]; 9] = [b"pwd", b"pass", b"auth", b"jwt", b"otp", b"pin", b"cvv", b"cvc", b"ssn"];

/// Whether a member of this name is masked whatever it holds, at any depth. Case, and whatever is no
/// letter or digit, is nothing: `API_KEY` is `apikey`.
pub fn is_sensitive_name(name: &str) -> bool {
    if name.is_ascii() {
        // No copy on the heap: this is asked for every member of every call.
        let mut plain = [0u8; LETTERS_MAX];
        let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
        let mut length = 0;
        for (slot, letter) in plain.iter_mut().zip(letters) {
            *slot = letter.to_ascii_lowercase();
            length += 1;
        }
        return is_sensitive(plain.get(..length).unwrap_or_default());
    }
    let letters = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    is_sensitive(letters.take(LETTERS_MAX).collect::<String>().as_bytes())
}

fn is_sensitive(plain: &[u8]) -> bool {
    if WHOLE.contains(&plain) {
        return true;
    }
    let mut rest = plain;
    while let Some((first, behind)) = rest.split_first() {
        let parts = PARTS.iter().filter(|(letter, _)| letter == first).flat_map(|(_, parts)| parts.iter());
        if parts.into_iter().any(|part| rest.starts_with(part) && !(*part == b"token" && is_size(plain))) {
            return true;
        }
        rest = behind;
    }
    false
}

/// `max_tokens` and its kin are sizes, not secrets.
fn is_size(plain: &[u8]) -> bool {
    plain.starts_with(b"max") || plain.ends_with(b"count") || plain.ends_with(b"limit")
}

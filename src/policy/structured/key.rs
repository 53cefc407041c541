//! The key of a stored policy: the slug of its name, as audit and counters know it (specification 4.1).

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

use crate::model::PolicyKey;

/// Bytes of a slug, so that a number fits behind it.
const SLUG_BYTES_MAX: usize = 90;

/// The key for a policy of this name: its slug, with a number where that is taken.
pub fn key_of(name: &str, taken: &BTreeSet<PolicyKey>) -> Option<PolicyKey> {
    let slug = slug(name);
    let first = PolicyKey::parse(&slug).ok()?;
    if !taken.contains(&first) {
        return Some(first);
    }
    let most = taken.len().saturating_add(2);
    (2..=most).find_map(|n| PolicyKey::parse(&format!("{slug}-{n}")).ok().filter(|key| !taken.contains(key)))
}

/// Letters and digits in lower case, without accents, words joined by `-`.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.nfkd().flat_map(char::to_lowercase) {
        if matches!(letter, '\'' | '\u{2019}') {
            continue;
        }
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !letter.is_alphanumeric() && letter.is_ascii() && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG_BYTES_MAX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "policy".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_key_of_its_own() {
        let taken: BTreeSet<PolicyKey> =
            ["no-writes", "no-writes-2", "policy"].map(|k| k.parse().unwrap()).into();
        for (name, key) in [
            ("Block GitHub destructive tools", "block-github-destructive-tools"),
            ("  Café: déjà vu! ", "cafe-deja-vu"),
            ("No writes", "no-writes-3"),
            ("A member's day", "a-members-day"),
            ("禁止", "policy-2"),
            ("\"; permit(principal, action, resource); //", "permit-principal-action-resource"),
        ] {
            assert_eq!(key_of(name, &taken).unwrap().as_str(), key, "{name}");
        }
        assert!(key_of(&"long ".repeat(100), &taken).unwrap().as_str().len() <= 100);
    }
}

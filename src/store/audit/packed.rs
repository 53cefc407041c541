//! The counts of many subjects in one row of the statistics: whoever asks for a month of a hundred agents adds
//! up a million counts, and a database takes most of its time for rows, not for bytes.
//!
//! Form 1: the byte 1; how many full parts the bucket has beside this one; then of each subject its number (8
//! bytes, the highest first) and calls, denied, ended, milliseconds and most milliseconds. All but the subject
//! are written seven bits to a byte, the lowest first, with the highest bit on all bytes but the last.
//!
//! Invariant: what is not of this form is an error, and never counted as less.

use std::collections::BTreeMap;

use crate::store::{Counted, StoreError};

const FORM: u8 = 1;

/// Tells each subject's counts; answers how many full parts there are beside.
///
/// # Errors
/// [`StoreError`] where the bytes are not of the form.
pub(in crate::store) fn each(bytes: &[u8], mut tell: impl FnMut(i64, &Counted)) -> Result<u64, StoreError> {
    read(bytes, &mut tell).ok_or_else(|| {
        StoreError::corrupt("audit_statistic.counts", "these are no counts that this release knows")
    })
}

fn read(bytes: &[u8], tell: &mut impl FnMut(i64, &Counted)) -> Option<u64> {
    let (&FORM, mut rest) = bytes.split_first()? else { return None };
    let full_parts = number(&mut rest)?;
    while !rest.is_empty() {
        let (subject, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        let counted = Counted {
            calls: number(&mut rest)?,
            denied: number(&mut rest)?,
            ended: number(&mut rest)?,
            duration_ms: number(&mut rest)?,
            duration_ms_max: number(&mut rest)?,
        };
        tell(i64::from_be_bytes(*subject), &counted);
    }
    Some(full_parts)
}

/// The form of these counts.
pub(super) fn written(full_parts: u64, counts: &BTreeMap<i64, Counted>) -> Vec<u8> {
    // A count of a tool that is called now and then takes as much.
    let mut bytes = Vec::with_capacity(2 + counts.len() * 16);
    bytes.push(FORM);
    append(&mut bytes, full_parts);
    for (subject, counted) in counts {
        bytes.extend(subject.to_be_bytes());
        let Counted { calls, denied, ended, duration_ms, duration_ms_max } = *counted;
        for number in [calls, denied, ended, duration_ms, duration_ms_max] {
            append(&mut bytes, number);
        }
    }
    bytes
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        // Of the tenth byte there is room for one bit.
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn append(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8]) -> Result<(u64, BTreeMap<i64, Counted>), StoreError> {
        let mut counts = BTreeMap::new();
        let full_parts = each(bytes, |subject, counted| {
            assert!(counts.insert(subject, *counted).is_none());
        })?;
        Ok((full_parts, counts))
    }

    prop_compose! {
        fn counted()(n in proptest::array::uniform5(prop_oneof![0..300u64, any::<u64>()])) -> Counted {
            let [calls, denied, ended, duration_ms, duration_ms_max] = n;
            Counted { calls, denied, ended, duration_ms, duration_ms_max }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            full_parts in any::<u64>(),
            counts in proptest::collection::btree_map(any::<i64>(), counted(), 0..12),
        ) {
            let bytes = written(full_parts, &counts);
            prop_assert_eq!(told(&bytes).unwrap(), (full_parts, counts.clone()));
            // Cut anywhere but between two subjects it is none.
            for end in 0..bytes.len() {
                if let Ok((_, fewer)) = told(&bytes[..end]) {
                    prop_assert!(written(full_parts, &fewer) == bytes[..end]);
                }
            }
        }

        #[test]
        fn other_bytes_are_refused_or_read_and_never_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = each(&bytes, |_, _| ());
        }
    }

    #[test]
    fn a_form_of_another_release_is_an_error() {
        for bytes in [&[][..], &[0, 0], &[2, 0], &[1], &[1, 0x80], &[1, 0, 1, 2]] {
            assert!(told(bytes).is_err(), "{bytes:?}");
        }
        let more_than_64_bits = [&[1][..], &[0xff; 9], &[2]].concat();
        assert!(told(&more_than_64_bits).is_err());
        assert_eq!(told(&[1, 0x85, 1]).unwrap(), (133, BTreeMap::new()));
    }
}

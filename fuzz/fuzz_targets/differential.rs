//! Decisions against plain Cedar, as `src/policy/oracle.rs` compares them: libFuzzer's bytes choose the
//! hierarchy, the policies and the requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wicket::policy::oracle::{Dice, differential};

fuzz_target!(|bytes: &[u8]| {
    differential(Dice::Bytes(bytes));
});

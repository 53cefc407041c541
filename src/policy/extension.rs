//! Values of Cedar's extension types: decimals, addresses and points in time.

use std::net::IpAddr;
use std::sync::LazyLock;

use cedar_policy_core::ast::{ExtensionFunction, Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;

use crate::model::Timestamp;

/// Digits after the point that a Cedar decimal holds.
pub(super) const DECIMAL_DIGITS_MAX: usize = 4;

struct Constructors {
    decimal: Option<&'static ExtensionFunction>,
    ip: Option<&'static ExtensionFunction>,
    datetime: Option<&'static ExtensionFunction>,
}

static CONSTRUCTORS: LazyLock<Constructors> = LazyLock::new(|| {
    let find = |name: &str| {
        let name = Name::parse_unqualified_name(name).ok()?;
        Extensions::all_available().func(&name).ok()
    };
    Constructors { decimal: find("decimal"), ip: find("ip"), datetime: find("datetime") }
});

fn call(function: Option<&ExtensionFunction>, text: &str) -> Option<Value> {
    match function?.call(&[Value::from(text)]).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

/// A decimal out of its written form, such as `12.5`; `None` where Cedar cannot hold it.
pub(super) fn decimal(text: &str) -> Option<Value> {
    call(CONSTRUCTORS.decimal, text)
}

/// An address. One of the fourth version within the sixth is taken as what it is, so that a range
/// covers both spellings; Cedar knows no dotted part within the sixth, so its groups are written out.
pub(super) fn ip(address: IpAddr) -> Option<Value> {
    let text = match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    };
    call(CONSTRUCTORS.ip, &text)
}

/// A point in time; `None` beyond the years that four digits write.
pub(super) fn datetime(time: Timestamp) -> Option<Value> {
    call(CONSTRUCTORS.datetime, &time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constructors_are_there() {
        assert!(decimal("12.5").is_some());
        assert!(decimal("12.50001").is_none());
        let address = |text: &str| ip(text.parse().unwrap()).unwrap();
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        for text in ["::1", "::10.0.0.1", "64:ff9b::1.2.3.4", "fe80::1", "2001:db8::"] {
            assert_ne!(address(text), address("10.0.0.1"), "{text}");
        }
        assert!(datetime(Timestamp::from_millis(1_795_310_401_020)).is_some());
    }
}

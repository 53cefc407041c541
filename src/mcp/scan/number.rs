//! Numbers: the grammar of RFC 8259, and the range of an IEEE double.

use super::Scanner;
use super::fault::{JsonFault, JsonFaultKind};

/// Numbers of up to so many bytes and without an exponent fit a double whatever their digits.
const SURELY_FINITE_BYTES_MAX: usize = 300;

impl Scanner<'_> {
    /// Passes the number whose first byte is next.
    pub(super) fn number(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.fault(JsonFaultKind::Number));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if (exponent || self.at - start > SURELY_FINITE_BYTES_MAX) && !self.fits_double(start) {
            return Err(JsonFault::new(JsonFaultKind::NumberRange, start));
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            let kind = if self.peek().is_none() { JsonFaultKind::Ended } else { JsonFaultKind::Number };
            return Err(self.fault(kind));
        }
        Ok(())
    }

    /// Two opinions: the correctly rounding parser of the standard library, and serde_json, whose
    /// faster one decides what a policy sees and gives up a little below the largest double.
    fn fits_double(&self, start: usize) -> bool {
        let text = self.text.get(start..self.at).unwrap_or_default();
        text.parse::<f64>().is_ok_and(f64::is_finite) && serde_json::from_str::<f64>(text).is_ok()
    }
}

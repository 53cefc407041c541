//! Why a text was refused, and where.

use std::fmt;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonFaultKind {
    /// Nothing but white space.
    Empty,
    /// Not UTF-8.
    Encoding,
    /// The text ends inside a value.
    Ended,
    /// Something else stands where a value should.
    ExpectedValue,
    /// Something else stands where a quoted key should.
    ExpectedKey,
    /// No colon after a key.
    ExpectedColon,
    /// Neither a comma nor the end of the array or object.
    ExpectedCommaOrEnd,
    /// A control character inside a string.
    Control,
    /// A backslash followed by what is no escape.
    Escape,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// Digits that are no JSON number.
    Number,
    /// A number beyond the range of an IEEE double.
    NumberRange,
    /// A key that stands twice in one object.
    DuplicateKey,
    /// More text after the value.
    TrailingData,
    /// Deeper than `Limits::depth_max`.
    TooDeep,
    /// More keys and items than `Limits::keys_max`.
    TooManyKeys,
}

impl JsonFaultKind {
    /// The short name, stable: used in the corpus and in `error.data`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Encoding => "encoding",
            Self::Ended => "ended",
            Self::ExpectedValue => "expected_value",
            Self::ExpectedKey => "expected_key",
            Self::ExpectedColon => "expected_colon",
            Self::ExpectedCommaOrEnd => "expected_comma_or_end",
            Self::Control => "control",
            Self::Escape => "escape",
            Self::LoneSurrogate => "lone_surrogate",
            Self::Number => "number",
            Self::NumberRange => "number_range",
            Self::DuplicateKey => "duplicate_key",
            Self::TrailingData => "trailing_data",
            Self::TooDeep => "too_deep",
            Self::TooManyKeys => "too_many_keys",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Empty => "there is no value",
            Self::Encoding => "the text is not UTF-8",
            Self::Ended => "the text ends inside a value",
            Self::ExpectedValue => "a value should stand here",
            Self::ExpectedKey => "a key in quotes should stand here",
            Self::ExpectedColon => "a colon should stand here",
            Self::ExpectedCommaOrEnd => "a comma or a closing bracket should stand here",
            Self::Control => "a control character stands unescaped in a string",
            Self::Escape => "the backslash starts no escape",
            Self::LoneSurrogate => "a surrogate stands without its other half",
            Self::Number => "the number is malformed",
            Self::NumberRange => "the number does not fit a double",
            Self::DuplicateKey => "a key stands twice in the object that ends here",
            Self::TrailingData => "something follows the value",
            Self::TooDeep => "arrays and objects are nested too deep",
            Self::TooManyKeys => "there are too many keys and array items",
        }
    }
}

/// The first fault of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonFault {
    kind: JsonFaultKind,
    offset: usize,
}

impl JsonFault {
    pub(super) const fn new(kind: JsonFaultKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// The fault of a text that is not UTF-8.
    pub const fn of_encoding(error: std::str::Utf8Error) -> Self {
        Self::new(JsonFaultKind::Encoding, error.valid_up_to())
    }

    /// What is wrong.
    pub const fn kind(&self) -> JsonFaultKind {
        self.kind
    }

    /// Where, in bytes from the start.
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.kind.sentence(), self.offset)
    }
}

impl std::error::Error for JsonFault {}

//! W3C Baggage in `_meta.baggage`: the conversation that a call belongs to, as OpenTelemetry names it.

/// The entry that is read.
const CONVERSATION_KEY: &str = "gen_ai.conversation.id";

/// Bytes of a whole baggage text (W3C Baggage, 3.3.2).
const BAGGAGE_BYTES_MAX: usize = 8192;

/// Characters of a conversation id (decision 10).
const CONVERSATION_CHARS_MAX: usize = 128;

/// The conversation id in a baggage text: percent-decoded, printable, at most 128 characters. A text
/// or value that breaks a rule counts as absent: the id only groups calls, it authenticates nothing.
pub fn conversation_id_of_baggage(baggage: &str) -> Option<String> {
    if baggage.len() > BAGGAGE_BYTES_MAX {
        return None;
    }
    let value = baggage.split(',').find_map(|entry| {
        let pair = entry.split(';').next()?;
        let (key, value) = pair.split_once('=')?;
        (key.trim() == CONVERSATION_KEY).then_some(value.trim())
    })?;
    let text = percent_decoded(value)?;
    let printable = !text.is_empty()
        && text.chars().count() <= CONVERSATION_CHARS_MAX
        && !text.chars().any(char::is_control);
    printable.then_some(text)
}

fn percent_decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversation_is_found_decoded_and_checked() {
        let long = format!("gen_ai.conversation.id={}", "x".repeat(129));
        let cases = [
            ("gen_ai.conversation.id=abc", Some("abc")),
            ("a=1, gen_ai.conversation.id = c-1 ;p=2 ,b=3", Some("c-1")),
            ("gen_ai.conversation.id=caf%C3%A9", Some("café")),
            ("gen_ai.conversation.id=first,gen_ai.conversation.id=second", Some("first")),
            ("gen_ai.conversation.id=a=b", Some("a=b")),
            ("gen_ai.conversation.id=", None),
            ("gen_ai.conversation.id=%0a", None),
            ("gen_ai.conversation.id=%f", None),
            ("gen_ai.conversation.id=%ff", None),
            ("gen_ai.conversation.idx=1", None),
            ("", None),
            (&long, None),
        ];
        for (baggage, expected) in cases {
            assert_eq!(conversation_id_of_baggage(baggage).as_deref(), expected, "{baggage}");
        }
        let endless = format!("a={},gen_ai.conversation.id=1", "x".repeat(BAGGAGE_BYTES_MAX));
        assert_eq!(conversation_id_of_baggage(&endless), None);
    }
}

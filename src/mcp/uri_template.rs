//! Whether a URI could have come out of a template (RFC 6570), so that a resource finds its server.
//!
//! Invariants: matching takes time in proportion to the URI times the template, whatever they hold: no
//! backtracking; a template that cannot be read matches nothing. It is looser than expansion: what a
//! variable held is nobody's business here.

/// Bytes of a template; a longer one matches nothing.
const TEMPLATE_BYTES_MAX: usize = 2 * 1024;
/// Expressions of a template.
const EXPRESSIONS_MAX: usize = 32;
/// Bytes of a URI that is matched.
const URI_BYTES_MAX: usize = 8 * 1024;

/// What an expression may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expression {
    /// `{var}`: at least one byte, no delimiter of a URI's parts.
    Simple,
    /// `{+var}`: at least one byte, whatever it is.
    Reserved,
    /// `{#var}`: nothing, or `#` and whatever follows.
    Fragment,
    /// `{.var}`, `{/var}`, `{;var}`: nothing, or the sign and what is no query or fragment.
    Led(u8),
    /// `{?var}`, `{&var}`: nothing, or the sign and what is no fragment.
    Query(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Expression(Expression),
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    parts: Vec<Part>,
}

impl UriTemplate {
    /// Reads a template; `None` where it is none, or too long.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return None;
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, tail) = after.split_once('}')?;
            if before.contains('}') {
                return None;
            }
            push_literal(&mut parts, before);
            parts.push(Part::Expression(expression(inside)?));
            rest = tail;
        }
        if rest.contains('}') {
            return None;
        }
        push_literal(&mut parts, rest);
        let expressions = parts.iter().filter(|part| matches!(part, Part::Expression(_))).count();
        (expressions <= EXPRESSIONS_MAX).then_some(Self { parts })
    }

    /// Bytes of it that are no expression: of two templates that match, the one with more of them says
    /// more about the URI.
    pub fn literal_bytes(&self) -> usize {
        let bytes = |part: &Part| if let Part::Literal(text) = part { text.len() } else { 0 };
        self.parts.iter().map(bytes).sum()
    }

    /// Whether the URI can be an expansion.
    pub fn matches(&self, uri: &str) -> bool {
        let uri = uri.as_bytes();
        if uri.len() > URI_BYTES_MAX {
            return false;
        }
        // Every place at which the parts so far may have ended.
        let mut places = vec![false; uri.len() + 1];
        if let Some(first) = places.first_mut() {
            *first = true;
        }
        for part in &self.parts {
            places = match part {
                Part::Literal(text) => after_literal(&places, uri, text),
                Part::Expression(kind) => kind.after(&places, uri),
            };
        }
        places.last() == Some(&true)
    }
}

fn after_literal(places: &[bool], uri: &[u8], text: &[u8]) -> Vec<bool> {
    let mut next = vec![false; places.len()];
    for (place, _) in places.iter().enumerate().filter(|(_, reached)| **reached) {
        if uri.get(place..).is_some_and(|rest| rest.starts_with(text))
            && let Some(end) = next.get_mut(place + text.len())
        {
            *end = true;
        }
    }
    next
}

impl Expression {
    /// The sign that leads it, the bytes that end it, and whether it may be nothing.
    const fn shape(self) -> (Option<u8>, &'static [u8], bool) {
        match self {
            Self::Simple => (None, b"/?#", false),
            Self::Reserved => (None, b"", false),
            Self::Fragment => (Some(b'#'), b"", true),
            Self::Led(sign) => (Some(sign), b"?#", true),
            Self::Query(sign) => (Some(sign), b"#", true),
        }
    }

    /// One pass over the URI: whether a run that began somewhere is still open decides for each byte.
    fn after(self, places: &[bool], uri: &[u8]) -> Vec<bool> {
        let (sign, stop, optional) = self.shape();
        let mut next: Vec<bool> = places.iter().map(|reached| optional && *reached).collect();
        let mut open = false;
        for ((byte, reached), end) in uri.iter().zip(places).zip(next.iter_mut().skip(1)) {
            open |= *reached && sign.is_none_or(|sign| sign == *byte);
            open &= !stop.contains(byte);
            *end |= open;
        }
        next
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text.as_bytes().into()));
    }
}

fn expression(inside: &str) -> Option<Expression> {
    let (kind, names) = match inside.as_bytes().first()? {
        b'+' => (Expression::Reserved, inside.get(1..)?),
        b'#' => (Expression::Fragment, inside.get(1..)?),
        sign @ (b'.' | b'/' | b';') => (Expression::Led(*sign), inside.get(1..)?),
        sign @ (b'?' | b'&') => (Expression::Query(*sign), inside.get(1..)?),
        _ => (Expression::Simple, inside),
    };
    // Names, explosions and lengths; what else stands there is no template of RFC 6570.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.%,*:-".contains(&byte);
    (!names.is_empty() && names.bytes().all(is_name)).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_match_the_templates_they_could_come_from() {
        for (template, uri, expect) in [
            ("test://template/{id}/data", "test://template/7/data", true),
            ("test://template/{id}/data", "test://template//data", false),
            ("test://template/{id}/data", "test://template/7/8/data", false),
            ("test://template/{id}/data", "test://template/7/data/", false),
            ("file:///{+path}", "file:///a/b/c.txt", true),
            ("file:///{+path}", "file:///", false),
            ("file://{/path*}", "file:///a/b", true),
            ("file://{/path*}", "file://", true),
            ("db://{table}{?limit,offset}", "db://t?limit=1&offset=2", true),
            ("db://{table}{?limit,offset}", "db://t", true),
            ("db://{table}{?limit,offset}", "db://t#x", false),
            ("x://{a}{#f}", "x://1#any/thing", true),
            ("x://{a}-{b}.{c}", "x://1-2-3.4.5", true),
            ("x://{a}-{b}", "x://12", false),
            ("x://fixed", "x://fixed", true),
            ("x://fixed", "x://fixed2", false),
            ("{+all}", "any:thing at all", true),
            ("{+a}b{+c}", "xxbxx", true),
            ("{+a}b{+c}", "bxx", false),
            ("x://{caf%C3%A9}", "x://y", true),
        ] {
            let read = UriTemplate::parse(template).unwrap();
            assert_eq!(read.matches(uri), expect, "{template} {uri}");
        }
        for bad in ["x://{", "x://}", "x://{}", "x://{a b}", "x://{a{b}}", "{+}"] {
            assert_eq!(UriTemplate::parse(bad), None, "{bad}");
        }
        assert_eq!(UriTemplate::parse(&"{a}".repeat(EXPRESSIONS_MAX + 1)), None);
        assert_eq!(UriTemplate::parse("ab{x}c{+y}").unwrap().literal_bytes(), 3);
    }

    /// What takes a backtracking matcher longer than the universe.
    #[test]
    fn the_worst_template_is_matched_at_once() {
        let template = UriTemplate::parse(&"{a}x".repeat(EXPRESSIONS_MAX)).unwrap();
        let uri = format!("{}y", "x".repeat(URI_BYTES_MAX - 1));
        let began = std::time::Instant::now();
        assert!(!template.matches(&uri));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        assert!(!template.matches(&"x".repeat(URI_BYTES_MAX + 1)));
    }
}

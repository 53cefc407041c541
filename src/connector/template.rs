//! Id templates such as `{owner}/{repo}#{number}`.
//!
//! Invariant: two different sets of values never make one id. A value that holds the text that
//! follows its place (`owner` with a `/` in `{owner}/{repo}`) is refused instead of being joined.

/// Bytes of one id; a longer one is refused.
pub(super) const ID_BYTES_MAX: usize = 4_096;

/// A template, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    lead: String,
    /// Attribute and the text that follows it.
    places: Vec<(String, String)>,
}

impl Template {
    /// Reads the written form.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("`{}` is not an id template: {why}", text.escape_default());
        let mut parts = text.split('{');
        let lead = parts.next().unwrap_or_default().to_owned();
        let mut places = Vec::new();
        for part in parts {
            let (name, literal) = part.split_once('}').ok_or_else(|| fault("`{` without `}`"))?;
            if name.is_empty() {
                return Err(fault("`{}` names no attribute"));
            }
            if places.iter().any(|(earlier, _)| earlier == name) {
                return Err(fault("an attribute is named twice"));
            }
            places.push((name.to_owned(), literal.to_owned()));
        }
        if lead.contains('}') || places.iter().any(|(_, literal)| literal.contains('}')) {
            return Err(fault("`}` without `{`"));
        }
        let joined = places.split_last().is_some_and(|(_, inner)| inner.iter().any(|(_, l)| l.is_empty()));
        match places.is_empty() {
            true => Err(fault("it names no attribute, such as `{owner}/{repo}`")),
            false if joined => Err(fault("two attributes need a text between them")),
            false => Ok(Self { lead, places }),
        }
    }

    /// The attributes, in their order.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|(name, _)| name.as_str())
    }

    /// Each attribute with the text that follows its place.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|(name, literal)| (name.as_str(), literal.as_str()))
    }

    /// The values that make this id, the opposite of filling; `None` where no values do.
    pub fn read<'a>(&'a self, id: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut rest = id.strip_prefix(self.lead.as_str())?;
        let mut values = Vec::new();
        for (name, literal) in &self.places {
            let (value, after) = match literal.is_empty() {
                true => (rest, ""),
                false => rest.split_once(literal.as_str())?,
            };
            if value.is_empty() {
                return None;
            }
            values.push((name.as_str(), value));
            rest = after;
        }
        rest.is_empty().then_some(values)
    }

    /// Fills the template; the name of an attribute whose value is empty, ambiguous or too long.
    pub(super) fn fill(&self, value_of: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let mut id = self.lead.clone();
        for (name, literal) in &self.places {
            let value = value_of(name).filter(|value| !value.is_empty()).ok_or(name.as_str())?;
            // Where the following text would be found earlier than it is put, the id reads back
            // as other values.
            let ends_early =
                !literal.is_empty() && format!("{value}{literal}").find(literal) != Some(value.len());
            if ends_early || id.len() + value.len() + literal.len() > ID_BYTES_MAX {
                return Err(name);
            }
            id.push_str(&value);
            id.push_str(literal);
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
        let of = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Template::parse(template)?.fill(of).map_err(str::to_owned)
    }

    #[test]
    fn different_values_never_make_one_id() {
        let template = "{owner}/{repo}@{branch}";
        let filled = |o, r, b| fill(template, &[("owner", o), ("repo", r), ("branch", b)]);
        assert_eq!(filled("a", "b", "feature/x@y"), Ok("a/b@feature/x@y".to_owned()));
        assert_eq!(filled("a/b", "c", "d"), Err("owner".to_owned()));
        assert_eq!(filled("a", "b@c", "d"), Err("repo".to_owned()));
        assert_eq!(filled("", "b", "d"), Err("owner".to_owned()));
        assert_eq!(fill("{a}--{b}", &[("a", "x-"), ("b", "y")]), Err("a".to_owned()));
        assert_eq!(fill("{a}", &[("a", &"x".repeat(ID_BYTES_MAX + 1))]), Err("a".to_owned()));
    }

    #[test]
    fn an_id_reads_back_as_the_values_that_make_it() {
        let template = Template::parse("x:{owner}/{repo}@{branch}").unwrap();
        let read = template.read("x:a/b@feature/x@y").unwrap();
        assert_eq!(read, [("owner", "a"), ("repo", "b"), ("branch", "feature/x@y")]);
        for bad in ["a/b@c", "x:a/b", "x:/b@c", "x:a/b@", ""] {
            assert_eq!(template.read(bad), None, "{bad}");
        }
        assert_eq!(Template::parse("{a}!").unwrap().read("b!c"), None);
    }

    #[test]
    fn a_broken_template_is_refused() {
        for bad in ["", "owner", "{a}{b}", "{a", "a}", "{a}/}", "{}", "{a}/{a}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse("x{a}").is_ok());
    }
}

//! Text into HTML.
//!
//! Invariant: nothing leaves here unescaped.

/// The text, with nothing in it that a browser reads as markup.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// One line, with what stands in backticks as code.
pub(super) fn inline(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // An odd number of backticks: the last one is a letter like others.
    let closed = parts.len() % 2 == 1;
    let last = parts.len().saturating_sub(1);
    let mut line = String::with_capacity(text.len());
    for (at, part) in parts.iter().enumerate() {
        match (at % 2 == 1, closed || at < last) {
            (true, true) => line.push_str(&format!("<code>{}</code>", escape(part))),
            (true, false) => line.push_str(&format!("`{}", escape(part))),
            (false, _) => line.push_str(&escape(part)),
        }
    }
    line
}

/// Paragraphs and lists, as descriptions are written: blank lines between, `- ` before an item.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        if block.starts_with("- ") {
            html.push_str("<ul>\n");
            for item in format!("\n{block}").split("\n- ").filter(|item| !item.is_empty()) {
                html.push_str(&format!("<li>{}</li>\n", inline(item)));
            }
            html.push_str("</ul>\n");
        } else {
            html.push_str(&format!("<p>{}</p>\n", inline(block)));
        }
    }
    html
}

/// An anchor of this kind and name: letters, digits and hyphens.
pub(super) fn identifier(kind: &str, name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).collect();
    format!("{kind}-{}", name.trim_matches('-'))
}

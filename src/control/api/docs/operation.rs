//! One operation on the page: what it does, who may, what it takes and what it answers.

use serde_json::{Map, Value};

use super::html::{escape, identifier, inline, prose};
use super::schema;

/// The methods, in the order in which one path's operations stand.
const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

/// An operation of the document.
pub(super) struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a Map<String, Value>,
}

/// The operations of a tag, by path and method.
pub(super) fn of_tag<'a>(document: &'a Value, tag: &'a str) -> impl Iterator<Item = Operation<'a>> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let body = item.get(*method)?.as_object()?;
                Some(Operation { method, path, body })
            })
        })
        .filter(move |found| found.tags().any(|name| name == tag))
}

impl Operation<'_> {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.body.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn anchor(&self) -> String {
        identifier("op", self.text("operationId"))
    }

    fn badge(&self) -> String {
        format!("<span class=\"method {0}\">{1}</span>", self.method, self.method.to_ascii_uppercase())
    }

    /// The line of the menu.
    pub(super) fn entry(&self) -> String {
        let summary = inline(self.text("summary"));
        format!("<li><a href=\"#{}\">{} {summary}</a></li>\n", self.anchor(), self.badge())
    }

    /// The whole.
    pub(super) fn section(&self, document: &Value) -> String {
        let mut text = format!(
            "<article id=\"{}\">\n<h3>{}</h3>\n<p class=\"line\">{} <code>{}</code></p>\n{}{}",
            self.anchor(),
            inline(self.text("summary")),
            self.badge(),
            escape(self.path),
            prose(self.text("description")),
            self.who(),
        );
        text.push_str(&self.parameters(document));
        if let Some(body) = self.body.get("requestBody") {
            text.push_str("<h4>Body</h4>\n");
            text.push_str(&contents(document, body));
        }
        text.push_str("<h4>Answers</h4>\n");
        text.push_str(&self.answers(document));
        text.push_str("</article>\n");
        text
    }

    /// By which credentials.
    fn who(&self) -> String {
        let ways = self.body.get("security").and_then(Value::as_array).into_iter().flatten();
        let ways: Vec<String> = ways.filter_map(Value::as_object).map(way).collect();
        format!("<p class=\"who\">Takes {}.</p>\n", ways.join(", or "))
    }

    fn parameters(&self, document: &Value) -> String {
        let all = self.body.get("parameters").and_then(Value::as_array);
        let Some(all) = all.filter(|all| !all.is_empty()) else { return String::new() };
        let mut text = "<h4>Parameters</h4>\n<table>\n<thead><tr><th>Name</th><th>Kind</th><th>What it is</th></tr></thead>\n\
                        <tbody>\n"
            .to_owned();
        for parameter in all {
            let of = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
            let required = parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
            let schema = parameter.get("schema").unwrap_or(&Value::Null);
            text.push_str(&format!(
                "<tr><td><code>{}</code><br><small>{}{}</small></td><td>{}</td><td>{}</td></tr>\n",
                escape(of("name")),
                escape(of("in")),
                if required { ", required" } else { "" },
                schema::kind(document, schema),
                prose(of("description")),
            ));
        }
        text.push_str("</tbody>\n</table>\n");
        text
    }

    fn answers(&self, document: &Value) -> String {
        let responses = self.body.get("responses").and_then(Value::as_object);
        let (mut own, mut refusals) = (String::new(), Vec::new());
        for (status, response) in responses.into_iter().flatten() {
            if response.get("$ref").is_some() {
                refusals.push(format!("<code>{}</code>", escape(status)));
                continue;
            }
            let about = response.get("description").and_then(Value::as_str).unwrap_or_default();
            own.push_str(&format!(
                "<div class=\"answer\"><p><strong>{}</strong> {}</p>\n",
                escape(status),
                inline(about)
            ));
            own.push_str(&contents(document, response));
            own.push_str("</div>\n");
        }
        if refusals.is_empty() {
            return own;
        }
        format!("{own}<p>Refused with <a href=\"/api/docs/errors\">{}</a>.</p>\n", refusals.join(" "))
    }
}

/// One way to say who asks.
fn way(way: &Map<String, Value>) -> String {
    let link = |name: &str, text: &str| format!("<a href=\"#{}\">{text}</a>", identifier("credential", name));
    if way.is_empty() {
        return "no credential".to_owned();
    }
    let mut parts = Vec::new();
    for (name, scopes) in way {
        let scopes: Vec<String> = (scopes.as_array().into_iter().flatten().filter_map(Value::as_str))
            .map(|scope| format!("<code>{}</code>", escape(scope)))
            .collect();
        parts.push(match (name.as_str(), scopes.is_empty()) {
            ("token", false) => format!("{} with the scope {}", link(name, "an API token"), scopes.join(" ")),
            ("token", true) => link(name, "an API token"),
            ("session", _) => link(name, "a browser's session"),
            ("csrf", _) => link(name, "its word"),
            (other, _) => link(other, &escape(other)),
        });
    }
    parts.sort_by_key(|part| part.contains("#credential-csrf"));
    parts.join(" with ")
}

/// The body of a request or answer: its kind, its fields, an example.
fn contents(document: &Value, body: &Value) -> String {
    let mut text = String::new();
    for (media_type, content) in body.get("content").and_then(Value::as_object).into_iter().flatten() {
        let schema = content.get("schema").unwrap_or(&Value::Null);
        text.push_str(&format!(
            "<p><code>{}</code>, {}</p>\n{}",
            escape(media_type),
            schema::kind(document, schema),
            schema::fields(document, schema)
        ));
        let one = content.get("example").into_iter();
        let many = content.get("examples").and_then(Value::as_object).into_iter().flatten();
        for example in one.chain(many.filter_map(|(_, example)| example.get("value"))) {
            let shown = match example {
                Value::String(text) => text.clone(),
                other => serde_json::to_string_pretty(other).unwrap_or_default(),
            };
            text.push_str(&format!(
                "<details><summary>Example</summary><pre>{}</pre></details>\n",
                escape(&shown)
            ));
        }
    }
    text
}

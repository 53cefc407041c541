//! The report in the form that build servers read: JUnit's XML.

use super::report::Report;

/// One test suite, a test case for each case.
pub fn junit(report: &Report) -> String {
    let seconds = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let file = escaped(&report.file);
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" time=\"{}\"",
        report.results.len(),
        report.failed,
        seconds(report.micros)
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"{file}\" {counts}>\n"
    );
    for result in &report.results {
        xml.push_str(&format!(
            "<testcase name=\"{}\" classname=\"policies\" file=\"{}\" line=\"{}\" time=\"{}\"",
            escaped(&result.name),
            escaped(&result.file),
            result.line,
            seconds(result.micros)
        ));
        match &result.failure {
            None => xml.push_str("/>\n"),
            Some(failure) => xml.push_str(&format!(
                "><failure message=\"{}\">{}</failure></testcase>\n",
                escaped(&failure.says),
                escaped(&failure.to_string())
            )),
        }
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

/// Text as XML holds it; what no XML may hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

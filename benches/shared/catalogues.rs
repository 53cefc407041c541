//! 1,496 tools of 22 connectors: the catalogues of five published MCP servers (`tests/data/catalogues`),
//! 68 tools of them behind each connector.

use serde_json::Value;

/// Connectors.
const SERVICES: usize = 22;
/// Tools of each.
const TOOLS: usize = 68;

/// The tools of one connector, each name once.
pub fn tools() -> Vec<Value> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/catalogues");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let catalogue: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for tool in catalogue["tools"].as_array().unwrap() {
            let mut tool = tool.clone();
            tool["name"] = format!("{}_{number}", tool["name"].as_str().unwrap()).into();
            all.push(tool);
        }
    }
    all.truncate(TOOLS);
    assert_eq!(all.len(), TOOLS);
    all
}

/// All connectors: key, path at the upstream, tools.
pub fn services() -> Vec<(String, String, Vec<Value>)> {
    let tools = tools();
    (0..SERVICES).map(|number| (format!("service{number}"), "/catalogue".to_owned(), tools.clone())).collect()
}

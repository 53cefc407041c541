//! The files an operator would write: configuration, connectors with their locks, policies.

use std::path::Path;

use serde_json::Value;
use wicket::connector::Lock;
use wicket::model::ServiceKey;

/// Everybody may do what only reads, on every connector: the baseline that ships.
pub const READ_BASELINE: &str =
    "@id(\"reads\")\npermit (principal, action in Wicket::Action::\"read\", resource);\n";

/// One connector of the gate under test.
#[derive(Debug, Clone)]
pub struct Connector {
    service: String,
    /// The descriptor without its `namespace` line.
    descriptor: String,
    definitions: Vec<Value>,
}

impl Connector {
    /// An upstream over streamable HTTP on loopback, with this catalogue accepted.
    pub fn http(service: &str, url: &str, definitions: Vec<Value>) -> Self {
        let descriptor = format!("[transport]\nkind = \"http\"\nurl = \"{url}\"\nallow_private = true\n");
        Self { service: service.to_owned(), descriptor, definitions }
    }

    /// An upstream over stdio.
    pub fn stdio(service: &str, command: &str, arguments: &[&str], definitions: Vec<Value>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
        let descriptor = format!(
            "[transport]\nkind = \"stdio\"\ncommand = {command:?}\nargs = [{}]\n",
            arguments.join(", ")
        );
        Self { service: service.to_owned(), descriptor, definitions }
    }

    /// More of the descriptor: sections such as `[limits]`.
    pub fn with(mut self, text: &str) -> Self {
        self.descriptor.push_str(text);
        self
    }

    /// Left out while this path, from the gate's folder, is not there.
    pub fn optional(mut self, requires: &str) -> Self {
        self.descriptor.insert_str(0, &format!("optional = true\nrequires = [{requires:?}]\n"));
        self
    }

    /// `Recorder` of `recorder`: the Cedar namespace.
    pub fn namespace(&self) -> String {
        let mut letters = self.service.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap()
    }
}

/// How a gate under test is set up.
#[derive(Debug, Clone)]
pub struct GateOptions {
    pub connectors: Vec<Connector>,
    /// File name and text.
    pub policies: Vec<(String, String)>,
    /// `durable` or `process`.
    pub audit_mode: &'static str,
    /// Sections of the configuration that this test changes, as TOML.
    pub config: String,
}

impl GateOptions {
    /// These connectors, the read baseline, durable.
    pub fn new(connectors: Vec<Connector>) -> Self {
        Self {
            connectors,
            policies: vec![("baseline.cedar".to_owned(), READ_BASELINE.to_owned())],
            audit_mode: "durable",
            config: String::new(),
        }
    }

    /// One more policy file.
    pub fn with_policy(mut self, name: &str, text: &str) -> Self {
        self.policies.push((name.to_owned(), text.to_owned()));
        self
    }

    /// The audit mode.
    pub fn with_audit_mode(mut self, mode: &'static str) -> Self {
        self.audit_mode = mode;
        self
    }

    /// Keys of the configuration, as TOML tables (`[limits]` …) over those of the harness.
    pub fn with_config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Keys of all services, the built-in one too.
    pub fn services(&self) -> Vec<String> {
        let mut services: Vec<String> = self.connectors.iter().map(|one| one.service.clone()).collect();
        services.push("wicket".to_owned());
        services
    }
}

/// Writes everything into `dir`.
pub fn write(dir: &Path, options: &GateOptions) {
    let connectors = dir.join("connectors");
    let policies = dir.join("policies");
    std::fs::create_dir_all(&connectors).unwrap();
    std::fs::create_dir_all(&policies).unwrap();
    for connector in &options.connectors {
        let key: ServiceKey = connector.service.parse().unwrap();
        let lock = Lock::from_definitions(&key, &connector.definitions, None).unwrap();
        let descriptor = format!("namespace = \"{}\"\n{}", connector.namespace(), connector.descriptor);
        std::fs::write(connectors.join(format!("{}.toml", connector.service)), descriptor).unwrap();
        std::fs::write(connectors.join(format!("{}.tools.json", connector.service)), lock.to_json().unwrap())
            .unwrap();
    }
    for (name, text) in &options.policies {
        std::fs::write(policies.join(name), text).unwrap();
    }
    std::fs::write(dir.join("wicket.toml"), configuration(options)).unwrap();
}

/// Ports of the system's choice and limits that do not stand in a test's way, under what the test
/// itself says.
fn configuration(options: &GateOptions) -> String {
    let mut table: toml::Table = format!(
        "data_dir = \"data\"\n\
         [listen.agents]\naddress = \"127.0.0.1:0\"\n\
         [listen.control]\naddress = \"127.0.0.1:0\"\n\
         [limits]\nrate_burst = 1_000_000\nrate_per_second = 1_000_000.0\n\
         [control]\nrate_burst = 1_000_000\nrate_per_second = 1_000_000.0\n\
         address_rate_burst = 1_000_000\naddress_rate_per_second = 1_000_000.0\n\
         [policies]\ndir = \"policies\"\n[connectors]\ndir = \"connectors\"\n\
         [audit]\nmode = \"{}\"\nrecord_ms_max = 5_000\n[threads]\nagents = 2\n[drain]\nms_max = 2_000\n",
        options.audit_mode
    )
    .parse()
    .unwrap();
    let own: toml::Table = options.config.parse().unwrap();
    for (section, values) in own {
        match (table.get_mut(&section), values) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => under.extend(over),
            (_, values) => drop(table.insert(section, values)),
        }
    }
    table.to_string()
}

/// Replaces a file as a careful editor does: written beside, then renamed over.
pub fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

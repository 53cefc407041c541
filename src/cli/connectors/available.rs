//! Connectors that come with the gate, inside the binary: those of `config/available`.
//!
//! Invariant: what is here is what that folder holds; a test compares.

/// One of them: the texts of its files.
#[derive(Debug, Clone, Copy)]
pub struct Available {
    pub service: &'static str,
    pub descriptor: &'static str,
    pub lock: &'static str,
    /// Its own policies, where it has some.
    pub policies: Option<&'static str>,
}

impl Available {
    /// What it is: the first sentence of its file.
    pub fn about(&self) -> &'static str {
        let line = self.descriptor.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
        line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.')
    }
}

macro_rules! files {
    ($service:literal) => {
        Available { policies: None, ..files!($service, "toml") }
    };
    ($service:literal, policies) => {
        Available {
            policies: Some(include_str!(concat!(
                "../../../config/available/",
                $service,
                "/",
                $service,
                ".cedar"
            ))),
            ..files!($service, "toml")
        }
    };
    ($service:literal, $descriptor:literal) => {
        Available {
            service: $service,
            descriptor: include_str!(concat!(
                "../../../config/available/",
                $service,
                "/",
                $service,
                ".",
                $descriptor
            )),
            lock: include_str!(concat!("../../../config/available/", $service, "/", $service, ".tools.json")),
            policies: None,
        }
    };
}

/// All of them, by name.
pub const AVAILABLE: [Available; 8] = [
    files!("fetch", policies),
    files!("git", policies),
    files!("github", policies),
    files!("linear"),
    files!("memory"),
    files!("motherduck", policies),
    files!("slack"),
    files!("time"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_holds_what_the_folder_holds() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/available");
        let mut found: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, AVAILABLE.map(|one| one.service));
        for one in AVAILABLE {
            let has_policies = root.join(one.service).join(format!("{}.cedar", one.service)).exists();
            assert_eq!(one.policies.is_some(), has_policies, "{}", one.service);
            assert!(one.about().contains(", by "), "{}", one.about());
        }
    }
}

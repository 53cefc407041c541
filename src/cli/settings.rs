//! What every command starts from: the configuration, and how to print.

use std::path::{Path, PathBuf};

use super::arguments::Global;
use super::ending::Fault;
use super::output::Style;
use crate::app::config::{self, Config};
use crate::proxy::upstream::Environment;

/// The configuration's place where `--config` names none.
const CONFIG_FILE: &str = "config/wicket.toml";

/// The configuration and how to print.
pub struct Settings {
    pub config: Config,
    /// The file that was read; `None` for the built-in defaults.
    pub config_file: Option<PathBuf>,
    /// The pepper from the environment, 64 hexadecimal digits.
    pub pepper: Option<zeroize::Zeroizing<String>>,
    /// The database's password from the environment.
    pub store_password: Option<zeroize::Zeroizing<String>>,
    /// The member key from the environment, for `wicket connect`.
    pub key: Option<zeroize::Zeroizing<String>>,
    /// What connectors may name of the environment.
    pub environment: Environment,
    pub json: bool,
    pub style: Style,
}

impl Settings {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A [`Fault`] with every fault of the file.
    pub fn load(global: &Global, style: Style) -> Result<Self, Fault> {
        let config_file = match &global.config {
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.exists()),
        };
        let environment = config::environment();
        let mut config = Config::load(config_file.as_deref(), &environment).map_err(|diagnostics| {
            Fault::usage("the configuration does not load")
                .with_diagnostics(diagnostics)
                .with_help("mend it; `wicket check` reads it again without starting anything")
        })?;
        if let Some(dir) = &global.data_dir {
            config.data_dir.clone_from(dir);
        }
        let secret = |name| environment.get(name).map(|text| zeroize::Zeroizing::new(text.clone()));
        let (pepper, key) = (secret(config::PEPPER_VARIABLE), secret(config::KEY_VARIABLE));
        let store_password = secret(config::STORE_PASSWORD_VARIABLE);
        let environment = Environment::new(environment);
        Ok(Self { config, config_file, pepper, store_password, key, environment, json: global.json, style })
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.config.data_dir.join(crate::control::lock::SOCKET_FILE)
    }

    /// Where agents connect.
    pub fn agents_url(&self) -> String {
        agents_url(&self.config)
    }

    /// Where browsers reach the control port. The configuration was checked when it was read.
    pub fn public_url(&self) -> String {
        let url = self.config.public_url(self.config.listen.control.address);
        url.map_or_else(|_| String::new(), |url| url.to_string())
    }

    /// The configuration's name, for messages.
    pub fn config_name(&self) -> String {
        self.config_file.as_deref().map_or_else(
            || format!("built-in defaults (there is no {CONFIG_FILE} here)"),
            |path: &Path| path.display().to_string(),
        )
    }
}

/// Where agents connect, as a client on this machine would write it.
pub fn agents_url(config: &Config) -> String {
    let listener = &config.listen.agents;
    let scheme = if listener.has_tls() { "https" } else { "http" };
    let address = listener.address;
    if address.ip().is_unspecified() {
        return format!("{scheme}://localhost:{}/mcp", address.port());
    }
    format!("{scheme}://{address}/mcp")
}

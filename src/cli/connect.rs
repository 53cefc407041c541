//! `wicket connect`: the gate for clients that can only start a program. MCP over standard input and
//! output on the client's side, streamable HTTP with the member key on the gate's.
//!
//! Invariants: the key comes from the environment or a file, never from the command line, and is in no
//! message; standard output carries MCP messages alone; whatever a client asks is answered once, or
//! its connection ends.

mod answer;
mod bridge;
mod door;
mod message;
mod mirror;
mod pipes;
mod session;
mod stream;

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use self::bridge::Bridge;
use self::door::Door;
use super::arguments::ConnectArguments;
use super::bench::plan::Target;
use super::ending::{Fault, Page};
use super::output::{one_line, print_error};
use super::reach;
use super::settings::{Settings, agents_url};
use crate::app::ADDRESSES_FILE;
use crate::app::config::KEY_VARIABLE;

/// Bytes that are read of a key's file.
const KEY_FILE_BYTES_MAX: u64 = 8_192;

/// `wicket connect`
pub fn connect(settings: &Settings, arguments: &ConnectArguments) -> Result<Page, Fault> {
    let key = key(settings, arguments.key_file.as_deref())?;
    let url = arguments.url.clone().unwrap_or_else(|| default_url(settings));
    let target = Target::parse(&url, Some(key.as_str())).map_err(Fault::usage)?;
    if is_exposed(&target) {
        say(&format!("the key travels unprotected to {}: use https beyond this machine", target.url()));
    }
    let door = Door::new(target).map_err(Fault::problem)?;
    reach::runtime()?.block_on(Bridge::run(door));
    Ok(Page::fine(""))
}

/// Whether somebody between this machine and the gate could read the key.
fn is_exposed(target: &Target) -> bool {
    let host = target.uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here =
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    target.uri.scheme_str() != Some("https") && !is_here
}

/// For whoever reads the client's log of this program.
fn say(text: &str) {
    print_error(&format!("wicket connect: {}\n", one_line(text)));
}

fn key(settings: &Settings, file: Option<&Path>) -> Result<Zeroizing<String>, Fault> {
    let help =
        format!("`wicket key create AGENT MEMBER` makes one; give it in {KEY_VARIABLE} or by --key-file");
    let Some(file) = file else {
        return match &settings.key {
            Some(key) if !key.trim().is_empty() => Ok(Zeroizing::new(key.trim().to_owned())),
            _ => Err(Fault::usage(format!("no member key: {KEY_VARIABLE} is not set")).with_help(help)),
        };
    };
    let unread = |error: std::io::Error| {
        Fault::usage(format!("the key's file `{}` cannot be read: {error}", file.display()))
    };
    let opened = std::fs::File::open(file).map_err(unread)?;
    let mode = opened.metadata().map_err(unread)?.mode();
    if mode & 0o077 != 0 {
        say(&format!("others on this machine can read `{}`: chmod 600", file.display()));
    }
    let mut text = Zeroizing::new(String::new());
    opened.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(unread)?;
    if text.trim().is_empty() {
        return Err(Fault::usage(format!("`{}` holds no key", file.display())).with_help(help));
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Where this machine's gate says that it listens, else where it would by its configuration.
fn default_url(settings: &Settings) -> String {
    let told = std::fs::read_to_string(settings.config.data_dir.join(ADDRESSES_FILE)).ok();
    let told: Option<serde_json::Value> = told.and_then(|text| serde_json::from_str(&text).ok());
    let address = told.as_ref().and_then(|told| told.get("agents")?.as_str()?.parse().ok());
    let mut config = settings.config.clone();
    config.listen.agents.address = address.unwrap_or(config.listen.agents.address);
    agents_url(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_leaves_this_machine_in_plain_is_warned_of() {
        for (url, exposed) in [
            ("http://127.0.0.1:7400/mcp", false),
            ("http://localhost:7400/mcp", false),
            ("http://[::1]:7400/mcp", false),
            ("https://gate.example.com/mcp", false),
            ("http://gate.example.com/mcp", true),
            ("http://192.168.0.7:7400/mcp", true),
        ] {
            assert_eq!(is_exposed(&Target::parse(url, Some("k")).unwrap()), exposed, "{url}");
        }
    }
}

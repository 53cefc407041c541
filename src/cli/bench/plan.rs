//! What a load is: of whom, what is asked, how much of it and for how long.
//!
//! Invariants: a plan that exists can be run, since every number of it is within its limits; the key is
//! in no `Debug` output and in no message.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, Uri};
use serde_json::value::RawValue;

/// Connections of one load.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Threads of one load.
pub const THREADS_MAX: usize = 64;
/// Calls a second that can be asked for.
pub const RATE_MAX: f64 = 1_000_000.0;
/// The longest load, its warm-up and one call, in seconds each.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 4_096;
/// Bytes of a call's arguments.
const ARGUMENTS_BYTES_MAX: usize = 4 << 20;

/// Who is asked.
#[derive(Clone)]
pub struct Target {
    pub(in crate::cli) uri: Uri,
    pub(in crate::cli) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri)
    }
}

impl Target {
    /// An MCP server at this URL; the key is sent as a bearer token where there is one.
    ///
    /// # Errors
    /// What is wrong with the URL or the key, and what was expected; never the key.
    pub fn parse(url: &str, key: Option<&str>) -> Result<Self, String> {
        let shown = url.escape_default();
        let uri: Uri = url
            .parse()
            .map_err(|_| format!("`{shown}` is no URL; write it like http://127.0.0.1:7400/mcp"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(format!("`{shown}` has to begin with http:// or https://"));
        }
        let authority = uri.authority().ok_or_else(|| format!("`{shown}` names no host"))?;
        if authority.as_str().contains('@') {
            return Err("the URL holds a name or password; give the key beside it instead".to_owned());
        }
        let authorization = key.map(bearer).transpose()?;
        Ok(Self { uri, authorization })
    }

    /// The URL.
    pub fn url(&self) -> String {
        self.uri.to_string()
    }
}

fn bearer(key: &str) -> Result<HeaderValue, String> {
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err(format!("the key has to be 1 to {KEY_BYTES_MAX} visible characters without spaces"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| "the key cannot be sent in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The tool call that is sent again and again; only its id differs.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) tool: String,
    /// What follows the id in the body.
    pub(super) rest: String,
}

impl Call {
    /// A call of `tool` with these arguments, a JSON object.
    ///
    /// # Errors
    /// The arguments are no JSON object, or too large.
    pub fn new(tool: &str, arguments: &str) -> Result<Self, String> {
        if tool.is_empty() {
            return Err("the tool has no name".to_owned());
        }
        if arguments.len() > ARGUMENTS_BYTES_MAX {
            return Err(format!("the arguments are longer than {ARGUMENTS_BYTES_MAX} bytes"));
        }
        let arguments: &RawValue = serde_json::from_str(arguments.trim())
            .map_err(|error| format!("the arguments are not JSON: {error}"))?;
        if !arguments.get().starts_with('{') {
            return Err("the arguments have to be a JSON object, like {\"path\":\"a.txt\"}".to_owned());
        }
        let name = serde_json::Value::from(tool);
        let rest =
            format!(r#","method":"tools/call","params":{{"name":{name},"arguments":{}}}}}"#, arguments.get());
        Ok(Self { tool: tool.to_owned(), rest })
    }

    /// The body of the call with this id.
    pub(super) fn body(&self, id: u64) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id}{}"#, self.rest)
    }

    /// The tool's name.
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

/// How much, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Each is an MCP client of its own, with a session of its own, and has one call at a time.
    pub connections: usize,
    pub threads: usize,
    /// Not counted.
    pub warm_up: Duration,
    pub measured: Duration,
    /// Calls a second (open loop); `None` sends the next call when the last one is answered (closed
    /// loop).
    pub rate: Option<f64>,
    /// A call without its answer by then has failed.
    pub call_max: Duration,
}

impl Load {
    /// Checks every number.
    ///
    /// # Errors
    /// The first that is out of its limits, with the limits.
    pub fn checked(self) -> Result<Self, String> {
        let seconds = |what: &str, time: Duration, zero: bool| {
            let fits = time.as_secs_f64() <= SECONDS_MAX && (zero || time >= Duration::from_millis(1));
            if fits {
                Ok(())
            } else {
                Err(format!("{what} has to be above 0 and at most {SECONDS_MAX} seconds"))
            }
        };
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(format!("the connections have to be 1 to {CONNECTIONS_MAX}"));
        }
        if !(1..=THREADS_MAX.min(self.connections)).contains(&self.threads) {
            return Err(format!("the threads have to be 1 to {THREADS_MAX}, and no more than connections"));
        }
        seconds("the duration", self.measured, false)?;
        seconds("the warm-up", self.warm_up, true)?;
        seconds("the time of one call", self.call_max, false)?;
        match self.rate {
            Some(rate) if !(rate > 0.0 && rate <= RATE_MAX) => {
                Err(format!("the rate has to be above 0 and at most {RATE_MAX} calls a second"))
            }
            Some(rate) if rate * self.measured.as_secs_f64() < 1.0 => {
                Err("at this rate not one call falls into the duration: raise one of them".to_owned())
            }
            _ => Ok(self),
        }
    }
}

/// A load that can be run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Target,
    pub call: Call,
    pub load: Load,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        connections: 4,
        threads: 2,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(1),
        rate: None,
        call_max: Duration::from_secs(30),
    };

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for (load, says) in [
            (Load { connections: 0, ..LOAD }, "1 to 4096"),
            (Load { connections: 5_000, ..LOAD }, "1 to 4096"),
            (Load { threads: 5, ..LOAD }, "no more than connections"),
            (Load { measured: Duration::ZERO, ..LOAD }, "duration"),
            (Load { warm_up: Duration::from_secs(100_000), ..LOAD }, "warm-up"),
            (Load { rate: Some(0.0), ..LOAD }, "rate"),
            (Load { rate: Some(f64::NAN), ..LOAD }, "rate"),
            (Load { rate: Some(0.5), ..LOAD }, "not one call"),
        ] {
            let why = load.checked().unwrap_err();
            assert!(why.contains(says), "{load:?}: {why}");
        }
        assert!(Load { rate: Some(1.0), ..LOAD }.checked().is_ok());
        for (url, says) in [
            ("127.0.0.1:7400/mcp", "http://"),
            ("ftp://host/mcp", "http://"),
            ("http://", "no URL"),
            ("not a url", "no URL"),
            ("http://me:word@host/mcp", "name or password"),
        ] {
            let why = Target::parse(url, None).unwrap_err();
            assert!(why.contains(says), "{url}: {why}");
        }
        for (arguments, says) in [("[1]", "object"), ("{", "not JSON"), ("{} x", "not JSON")] {
            let why = Call::new("a__b", arguments).unwrap_err();
            assert!(why.contains(says), "{arguments}: {why}");
        }
        assert!(Call::new("", "{}").is_err());
    }

    #[test]
    fn a_key_is_checked_and_never_shown() {
        for key in ["", "s3cret key", "s3cret\r\nx: y", "s3crét"] {
            let why = Target::parse("http://host/mcp", Some(key)).unwrap_err();
            assert!(!why.contains("s3cr"), "{why}");
        }
        let target = Target::parse("http://host/mcp", Some("s3cret")).unwrap();
        assert!(!format!("{target:?} {:?}", target.authorization).contains("s3cret"));
    }

    #[test]
    fn a_call_carries_name_and_arguments_as_given() {
        let call = Call::new("a\"b", " {\"n\": 1.0} ").unwrap();
        assert_eq!(
            call.body(7),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a\"b","arguments":{"n": 1.0}}}"#
        );
    }
}

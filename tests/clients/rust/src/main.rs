//! What an agent does with the gate, by the official Rust SDK (`rmcp`), which probes for 2026-07-28 and falls back
//! to the session era.
//!
//! Environment: `WICKET_URL`, `WICKET_KEY`, `WICKET_SCRATCH`. Prints one line for each check; a failed one ends it
//! with status 1.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientRequest, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, Request, ServerResult,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestHandle, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Trouble = Box<dyn std::error::Error>;
type Client = RunningService<RoleClient, Listener>;

const CHECK_MAX: Duration = Duration::from_secs(60);

/// Hears how far calls are.
struct Listener(mpsc::UnboundedSender<(Instant, f64)>);

impl ClientHandler for Listener {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send((Instant::now(), params.progress));
    }
}

struct Suite {
    client: Client,
    heard: mpsc::UnboundedReceiver<(Instant, f64)>,
    scratch: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Trouble> {
    let (client, heard) = connect(&std::env::var("WICKET_KEY")?).await?;
    println!("connected: {:?}", client.peer_info());
    let mut suite = Suite { client, heard, scratch: std::env::var("WICKET_SCRATCH")? };
    let mut failed = 0;
    macro_rules! check {
        ($($name:ident),* $(,)?) => {$(
            let began = Instant::now();
            match tokio::time::timeout(CHECK_MAX, suite.$name()).await {
                Ok(Ok(())) => println!("ok {} ({:.2} s)", stringify!($name), began.elapsed().as_secs_f64()),
                Ok(Err(trouble)) => { failed += 1; println!("FAILED {}: {trouble}", stringify!($name)); }
                Err(_) => { failed += 1; println!("FAILED {}: it hangs", stringify!($name)); }
            }
        )*};
    }
    check!(
        tools_of_all_connectors_are_listed_over_pages,
        calls_over_stdio_and_http_answer,
        progress_streams_while_the_call_runs,
        a_write_is_denied_and_does_not_happen,
        an_unknown_tool_is_told,
        a_call_is_cancelled,
        calls_run_side_by_side,
        a_wrong_key_is_refused,
    );
    println!("rmcp: {failed} checks failed");
    suite.client.cancel().await?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn connect(key: &str) -> Result<(Client, mpsc::UnboundedReceiver<(Instant, f64)>), Trouble> {
    let config = StreamableHttpClientTransportConfig::with_uri(std::env::var("WICKET_URL")?).auth_header(key);
    let (sender, heard) = mpsc::unbounded_channel();
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    let transport = StreamableHttpClientTransport::from_config(config);
    Ok((Listener(sender).serve_with_lifecycle(transport, lifecycle).await?, heard))
}

fn ensure(holds: bool, otherwise: impl Into<String>) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}

fn params(name: &str, arguments: Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(name.to_owned()).with_arguments(arguments)
}

fn text_of(result: &CallToolResult) -> String {
    result
        .content
        .first()
        .and_then(|content| content.as_text())
        .map(|text| text.text.clone())
        .unwrap_or_default()
}

impl Suite {
    async fn call(&self, name: &str, arguments: Value) -> Result<String, ServiceError> {
        Ok(text_of(&self.client.call_tool(params(name, arguments)).await?))
    }

    /// Sends a call that can be cancelled and reports how far it is.
    async fn begin(&self, name: &str, arguments: Value) -> Result<RequestHandle<RoleClient>, ServiceError> {
        let request = ClientRequest::CallToolRequest(Request::new(params(name, arguments)));
        self.client.send_cancellable_request(request, PeerRequestOptions::no_options()).await
    }

    async fn refused(&self, name: &str, arguments: Value) -> Result<(i32, String, Value), Trouble> {
        match self.call(name, arguments).await {
            Err(ServiceError::McpError(error)) => {
                Ok((error.code.0, error.message.into_owned(), error.data.unwrap_or_default()))
            }
            other => Err(format!("{name} was not refused: {other:?}").into()),
        }
    }

    async fn tools_of_all_connectors_are_listed_over_pages(&mut self) -> Result<(), Trouble> {
        let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let asked = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.client.list_tools(Some(asked)).await?;
            names.extend(page.tools.iter().map(|tool| tool.name.to_string()));
            pages += 1;
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        for expected in ["everything__echo", "remote__echo", "files__read_text_file", "wicket__whoami"] {
            ensure(names.iter().any(|name| name == expected), format!("{expected} is not among {names:?}"))?;
        }
        ensure(pages > 1, "the gate was set to small pages, but all came at once")
    }

    async fn calls_over_stdio_and_http_answer(&mut self) -> Result<(), Trouble> {
        for service in ["everything", "remote"] {
            let text = self.call(&format!("{service}__echo"), json!({ "message": "grüße ☃" })).await?;
            ensure(text.contains("grüße ☃"), format!("{service}: {text}"))?;
        }
        let path = format!("{}/hello.txt", self.scratch);
        let text = self.call("files__read_text_file", json!({ "path": path })).await?;
        ensure(text == "hello from the scratch folder\n", text)
    }

    async fn progress_streams_while_the_call_runs(&mut self) -> Result<(), Trouble> {
        for service in ["everything", "remote"] {
            while self.heard.try_recv().is_ok() {}
            let name = format!("{service}__trigger-long-running-operation");
            let call = self.begin(&name, json!({ "duration": 1, "steps": 4 })).await?;
            let answer = call.await_response().await?;
            ensure(matches!(answer, ServerResult::CallToolResult(_)), format!("{answer:?}"))?;
            let mut seen = Vec::new();
            while let Ok(one) = self.heard.try_recv() {
                seen.push(one);
            }
            ensure(seen.len() >= 3, format!("{service}: {} progress notifications", seen.len()))?;
            let spread = seen[seen.len() - 1].0 - seen[0].0;
            ensure(spread > Duration::from_millis(300), format!("{service}: progress came in one heap"))?;
        }
        Ok(())
    }

    async fn a_write_is_denied_and_does_not_happen(&mut self) -> Result<(), Trouble> {
        let path = format!("{}/forbidden-rmcp.txt", self.scratch);
        let (code, message, data) =
            self.refused("files__write_file", json!({ "path": path, "content": "x" })).await?;
        let fixed = "Authorization denied: tool 'write_file' is not permitted for agent 'tester'";
        ensure(code == -32600 && message == fixed, format!("{code} {message}"))?;
        ensure(data["requestId"].is_string(), format!("no requestId in {data}"))?;
        ensure(!Path::new(&path).exists(), "the denied call was carried out")
    }

    async fn an_unknown_tool_is_told(&mut self) -> Result<(), Trouble> {
        let (code, message, _) = self.refused("everything__no_such_tool", json!({})).await?;
        ensure(code == -32602, format!("{code} {message}"))
    }

    async fn a_call_is_cancelled(&mut self) -> Result<(), Trouble> {
        while self.heard.try_recv().is_ok() {}
        let began = Instant::now();
        let long = json!({ "duration": 30, "steps": 60 });
        let call = self.begin("remote__trigger-long-running-operation", long).await?;
        self.heard.recv().await.ok_or("no progress came")?;
        call.cancel(Some("changed my mind".to_owned())).await?;
        ensure(began.elapsed() < Duration::from_secs(10), "cancelling took as long as the call")?;
        let text = self.call("remote__echo", json!({ "message": "still here" })).await?;
        ensure(text.contains("still here"), text)
    }

    async fn calls_run_side_by_side(&mut self) -> Result<(), Trouble> {
        let mut calls = Vec::new();
        for number in 0..20 {
            calls.push((number, self.begin("remote__get-sum", json!({ "a": number, "b": 1000 })).await?));
        }
        for (number, call) in calls {
            let ServerResult::CallToolResult(result) = call.await_response().await? else {
                return Err(format!("{number} was answered with something else").into());
            };
            let text = text_of(&result);
            ensure(text.contains(&(number + 1000).to_string()), format!("{number} was answered {text}"))?;
        }
        Ok(())
    }

    async fn a_wrong_key_is_refused(&mut self) -> Result<(), Trouble> {
        ensure(connect(&"A".repeat(32)).await.is_err(), "a wrong key was let in")
    }
}

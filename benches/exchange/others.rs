//! nginx and HAProxy as plain proxies of the same upstream, where they are installed: as many workers
//! as the gate has threads, keep-alive both ways, no logs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::gate::THREADS;
use super::process::{Part, free_address, installed};

/// Starts one, or says why not.
pub type Start = fn(&Path, SocketAddr) -> Result<(Part, SocketAddr), String>;

/// nginx with as many workers as the gate has threads.
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
    let file = dir.join("nginx.conf");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let part =
        Part::spawn(Command::new(program).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()));
    up(&part, address)?;
    Ok((part, address))
}

/// HAProxy with as many threads as the gate has.
pub fn haproxy(dir: &Path, upstream: SocketAddr) -> Result<(Part, SocketAddr), String> {
    let program = installed("haproxy").ok_or("not installed")?;
    let address = free_address();
    let text = format!(
        "global\n  nbthread {THREADS}\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend f\n  bind {address}\n  default_backend b\n\
         backend b\n  server u {upstream}\n"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let part = Part::spawn(
        Command::new(program).arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    up(&part, address)?;
    Ok((part, address))
}

/// Waits until it accepts.
pub fn up(part: &Part, address: SocketAddr) -> Result<(), String> {
    let began = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        if part.ended() || began.elapsed() > Duration::from_secs(30) {
            return Err("did not start".to_owned());
        }
        std::thread::yield_now();
    }
    Ok(())
}

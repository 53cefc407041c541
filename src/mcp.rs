//! What agents and upstreams say to the gate, and what the gate answers: MCP over JSON-RPC 2.0.
//!
//! Pure text in, pure text out; no I/O. Three invariants hold here and nowhere else:
//! every message is scanned once, strictly, before anything reads it ([`scan`]); the arguments that
//! are decided are byte for byte the arguments that are sent ([`CallRequest::to_upstream`]); and what
//! a client sees of a refusal is said in one table ([`reply::Refusal`], decision 13).

pub mod catalog;
pub mod client;
pub mod envelope;
pub mod message;
pub mod param_headers;
mod primitive;
pub mod reply;
pub mod revision;
pub mod scan;
mod splice;
pub mod sse;
mod told;
mod uri_template;

pub use client::{Capabilities, ClientFace};
pub use envelope::{FromUpstream, NotificationBody, ReplyBody, read_upstream};
pub use message::{
    CallRequest, ClientProgress, InitializeParams, Message, MessageFault, Method, Notification, Request,
    RequestId, ResponseFromClient, Retry, Target, ToUpstream, read,
};
pub use primitive::Primitive;
pub use reply::Refusal;
pub use revision::{Era, Revision};
pub use scan::{JsonFault, Limits};
pub use told::{Told, listen_result, listen_torn_down, listen_withdrawn};
pub use uri_template::UriTemplate;

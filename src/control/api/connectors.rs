//! `GET /api/connectors/meta`: what connectors there are, for people to choose from.
//!
//! Read from the bundle in force, so that it says what calls are decided by.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Signed, need};
use super::extract::Json;
use super::problem::{Code, Problem, Refusals};
use crate::connector::{Connector, SERVICE_TYPE, Transport};
use crate::model::{ServiceKey, Tier};
use crate::policy::Bundle;

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransportKind)]
enum Kind {
    /// Streamable HTTP.
    Http,
    /// A child process of the gate.
    Stdio,
    /// The gate itself.
    InProcess,
}

/// Tools of each tier.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = TierCounts)]
struct TiersBody {
    read: u64,
    write: u64,
    destructive: u64,
}

/// A connector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Connector, example = json!({
    "service": "github", "displayName": "GitHub", "description": "Repositories, issues and pull requests",
    "transport": "http", "oauth": false, "tiers": {"read": 24, "write": 13, "destructive": 4},
    "resourceKinds": ["Repository", "Service"]
}))]
struct ConnectorBody {
    /// Its key: the `service` of `service__tool` and of `allowedServices`.
    #[schema(value_type = String)]
    service: ServiceKey,
    display_name: String,
    /// As its file says, where it does.
    description: Option<String>,
    transport: Kind,
    /// Whether members connect accounts of their own: no connector's file can ask for that in this release.
    oauth: bool,
    tiers: TiersBody,
    /// The types of resources that its calls act on, as policies name them.
    resource_kinds: Vec<String>,
}

impl ConnectorBody {
    fn of(connector: &Connector) -> Self {
        let mut tiers = TiersBody::default();
        for tool in connector.tools.values() {
            match tool.tier {
                Tier::Read => tiers.read += 1,
                Tier::Write => tiers.write += 1,
                Tier::Destructive => tiers.destructive += 1,
            }
        }
        let declared = connector.resource_types.iter().map(|kind| kind.name.clone());
        Self {
            service: connector.service.clone(),
            display_name: connector.display_name.clone(),
            description: connector.description.clone(),
            transport: match connector.transport {
                Transport::InProcess => Kind::InProcess,
                Transport::Http { .. } => Kind::Http,
                Transport::Stdio { .. } => Kind::Stdio,
            },
            oauth: false,
            tiers,
            resource_kinds: declared.chain([SERVICE_TYPE.to_owned()]).collect(),
        }
    }
}

/// All connectors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connectors)]
struct ConnectorsBody {
    /// By key.
    connectors: Vec<ConnectorBody>,
    total: u64,
}

/// The bundle in force.
pub(super) fn bundle(state: &ApiState) -> Result<Arc<Bundle>, Problem> {
    state.admin.live().bundle().map_err(|_| {
        Problem::new(Code::Unavailable, "the connectors do not load")
            .with_help("the operator finds the cause with `wicket check`")
    })
}

/// Display metadata for all connectors
#[utoipa::path(
    get, path = "/api/connectors/meta", operation_id = "listConnectors", tag = "Connectors",
    responses((status = 200, body = ConnectorsBody), Refusals),
    security(("session" = []), ("token" = ["agents:read"])),
)]
async fn list_connectors(
    State(state): State<ApiState>,
    _signed: Signed<need::AgentsRead>,
) -> Result<Json<ConnectorsBody>, Problem> {
    let bundle = bundle(&state)?;
    let connectors: Vec<_> = bundle.connectors().iter().map(|one| ConnectorBody::of(one)).collect();
    let total = connectors.len() as u64;
    Ok(Json(ConnectorsBody { connectors, total }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_connectors))
}

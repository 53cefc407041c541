//! `GET /api/tools/catalog`: which tools there are, in which tier, and which of them are withheld.
//!
//! Tools are those that were accepted into the locks, as decisions know them. What a server serves
//! otherwise is quarantined: refused until an operator accepts it.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Signed, need};
use super::connectors::bundle;
use super::extract::{Json, Query};
use super::problem::{Problem, Refusals};
use crate::connector::{Connector, Tool};
use crate::model::{Digest, SEPARATOR, ServiceKey, Tier, ToolName, canonical_json};

/// A tool, or a method of MCP beside tools that is decided like one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CatalogTool, example = json!({
    "name": "get_file_contents", "prefixedName": "github__get_file_contents", "tier": "read",
    "title": null, "description": "Get the contents of a file", "quarantined": false,
    "inputSchemaDigest": "sha256:5f3c1c0e3a7f6f0f3a1d3d7e6a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b"
}))]
struct ToolBody {
    /// As policies name it.
    #[schema(value_type = String)]
    name: ToolName,
    /// As agents call it; for a tool alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefixed_name: Option<String>,
    tier: Tier,
    title: Option<String>,
    /// What an agent is told of it.
    description: Option<String>,
    /// SHA-256 of its input schema: another one is another tool to whoever wrote policies for it.
    input_schema_digest: String,
    /// True where its server serves it otherwise than it was accepted: calls are refused.
    quarantined: bool,
}

impl ToolBody {
    fn of(tool: &Tool, prefixed_name: Option<String>, quarantined: bool) -> Self {
        Self {
            name: tool.name.clone(),
            prefixed_name,
            tier: tool.tier,
            title: tool.title.clone(),
            description: tool.description.clone(),
            input_schema_digest: Digest::of(canonical_json(&tool.input_schema).as_bytes()).to_string(),
            quarantined,
        }
    }
}

/// The tools of one connector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CatalogService)]
struct ServiceBody {
    #[schema(value_type = String)]
    service: ServiceKey,
    display_name: String,
    /// By name.
    tools: Vec<ToolBody>,
    /// Methods of MCP beside `tools/call` that policies decide on, by name.
    operations: Vec<ToolBody>,
}

/// Tools by connector.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Catalog)]
struct CatalogBody {
    /// By key.
    services: Vec<ServiceBody>,
    /// How many tools in all, operations not counted.
    total: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CatalogQuery {
    /// This connector alone; one that there is not is refused
    #[param(value_type = Option<String>, max_length = 32)]
    service: Option<ServiceKey>,
}

/// Aggregated tool catalog; filter per service
#[utoipa::path(
    get, path = "/api/tools/catalog", operation_id = "getCatalog", tag = "Connectors", params(CatalogQuery),
    responses((status = 200, body = CatalogBody), Refusals),
    security(("session" = []), ("token" = ["agents:read"])),
)]
async fn get_catalog(
    State(state): State<ApiState>,
    _signed: Signed<need::AgentsRead>,
    Query(query): Query<CatalogQuery>,
) -> Result<Json<CatalogBody>, Problem> {
    let bundle = bundle(&state)?;
    if let Some(service) = &query.service
        && bundle.connectors().get(service.as_str()).is_none()
    {
        let known: Vec<String> =
            bundle.connectors().iter().map(|connector| format!("`{}`", connector.service)).collect();
        return Err(Problem::field("query.service", format!("there is no connector `{service}`"))
            .with_help(format!("the connectors are {}", known.join(", "))));
    }
    let mut quarantined: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for upstream in state.admin.live().status().await.upstreams {
        quarantined.entry(upstream.service.to_string()).or_default().extend(upstream.quarantined);
    }
    let wanted = |connector: &Connector| query.service.as_ref().is_none_or(|key| *key == connector.service);
    let none = BTreeSet::new();
    let services: Vec<_> = (bundle.connectors().iter())
        .filter(|connector| wanted(connector))
        .map(|connector| {
            service_body(connector, quarantined.get(connector.service.as_str()).unwrap_or(&none))
        })
        .collect();
    let total = services.iter().map(|service| service.tools.len() as u64).sum();
    Ok(Json(CatalogBody { services, total }))
}

fn service_body(connector: &Connector, quarantined: &BTreeSet<String>) -> ServiceBody {
    let tool = |tool: &Tool| {
        let prefixed = connector.short_names.of_tool(&tool.name).map(str::to_owned);
        let prefixed = prefixed.unwrap_or_else(|| format!("{}{SEPARATOR}{}", connector.service, tool.name));
        ToolBody::of(tool, Some(prefixed), quarantined.contains(tool.name.as_str()))
    };
    ServiceBody {
        service: connector.service.clone(),
        display_name: connector.display_name.clone(),
        tools: connector.tools.values().map(|one| tool(one)).collect(),
        operations: connector.operations.values().map(|one| ToolBody::of(one, None, false)).collect(),
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_catalog))
}

//! `GET /api/status`: is the gate well, for anybody who may reach the port.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::Open;
use super::extract::Json;
use super::problem::Refusals;

/// The service's health.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"status": "ok", "version": "0.1.0", "now": "2026-06-12T14:02:11.000Z"}))]
pub(super) struct ServiceStatus {
    /// `ok`: calls can be decided and recorded; `degraded`: something is not as it should be.
    status: &'static str,
    version: &'static str,
    #[schema(value_type = String, format = DateTime)]
    now: crate::model::Timestamp,
}

/// Service health
///
/// Says no more than a load balancer needs; `wicket status` says what is wrong.
#[utoipa::path(
    get, path = "/api/status", operation_id = "getStatus", tag = "Service",
    responses((status = 200, body = ServiceStatus), Refusals), security(()),
)]
async fn get_status(State(state): State<ApiState>, _open: Open) -> Json<ServiceStatus> {
    let status = state.admin.status().await;
    let well = status.store.healthy
        && status.journal.as_ref().is_some_and(|journal| journal.healthy)
        && !status.draining;
    Json(ServiceStatus {
        status: if well { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        now: crate::model::Timestamp::now(),
    })
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_status))
}

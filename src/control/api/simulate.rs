//! `POST /api/agents/{id}/policies/simulate`: recorded calls, or one made-up call, decided with a draft; and
//! `GET …/shadow`: what was recorded of policies in shadow.
//!
//! Invariants: for the agent's owner alone; nothing is stored or changed; few run at once, each for a limited
//! time and with limited memory, on threads of their own; one whose asker went away ends.

mod body;
mod events;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderMap, Response, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::body::{ShadowQuery, SimulateBody};
use super::ApiState;
use super::access::{AgentOwned, need};
use super::extract::{Json, Query};
use super::problem::{Code, Problem, Refusals};
use crate::control::simulate::draft::{self, Draft};
use crate::control::simulate::shadow::ShadowJob;
use crate::control::simulate::{self, AgentFacts, Failed, Job, Sets, Stand};
use crate::model::Agent;
use crate::policy::Bundle;
use crate::policy::simulate::Simulation;

/// Simulations that run at once, of all accounts.
const AT_ONCE_MAX: usize = 2;
/// A simulation that is waited for ends after this.
const ANSWER_MAX: Duration = Duration::from_secs(25);
/// One whose progress is watched ends after this.
const STREAM_MAX: Duration = Duration::from_secs(300);

/// Places for simulations.
#[derive(Clone)]
struct Places(Arc<Semaphore>);

/// What is simulated.
struct Asked {
    job: Job,
    _place: OwnedSemaphorePermit,
}

/// Simulate a draft (owner)
///
/// Replays the agent's recorded calls of a window, by default the last 24 hours, as if the draft were in
/// force: `before` is what was decided, `after` what would have been, `baselineDecision` of a row what the
/// other policies alone would have said. Counters of sessions and members are evolved along the replay, since a
/// call that the draft denies would not have counted. A call of which the audit does not hold what a policy
/// looks at is `unmatched`, with why. With `call` no traffic is replayed: that one call is decided now.
///
/// This gate's own journal is read. With `Accept: text/event-stream` the answer is server-sent events:
/// `progress`, and at the end `result` (the same JSON) or `problem`. Two simulations run at once, each for 25
/// seconds at most, or for 300 as events.
#[utoipa::path(
    post, path = "/api/agents/{id}/policies/simulate", operation_id = "simulatePolicy", tag = "Policies",
    request_body = SimulateBody, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, description = "What would become of the calls", content(
            (Simulation = "application/json"),
            (String = "text/event-stream", example = "event: progress\ndata: {\"bytesRead\":4096,\"bytes\":8192,\"calls\":12,\"changed\":1}\n\n"),
        )),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn simulate_policy(
    State(state): State<ApiState>,
    Extension(places): Extension<Places>,
    owned: AgentOwned<need::PoliciesRead>,
    headers: HeaderMap,
    Json(body): Json<SimulateBody>,
) -> Result<Response<axum::body::Body>, Problem> {
    let window = body.window()?;
    let rows_max = body.rows()?;
    let draft = drafted(&state, &owned.agent, &body).await?;
    let facts = state.admin.simulation_facts(&owned.agent).await?;
    let base = state.admin.base_set()?;
    let place = places.take()?;
    if let Some(call) = &body.call {
        let call = call.scenario(&state, &owned.agent).await?;
        let answer = apart(move || {
            let _place = place;
            let (sets, current) = sets_of(&base, &facts, &draft)?;
            simulate::one(&call, &sets, &current).map_err(|why| Problem::field("body.call.tool", why))
        });
        return Ok(Json(answer.await?).into_response());
    }
    let journal = state.admin.places().journal_dir.clone();
    let made = move || {
        let ground = facts.ground(&base, &draft).map_err(crate::control::AdminFault::from)?;
        let agents = [(facts.id, ground)].into();
        let (from, to) = window;
        let job = Job { journal, from, to, rows_max, agents, all_agents: false };
        Ok::<_, Problem>(Asked { job, _place: place })
    };
    let asked = apart(made).await?;
    if wants_events(&headers) {
        return Ok(events::answer(asked));
    }
    let found = apart(move || simulate::run(&asked.job, &mut within(ANSWER_MAX)).map_err(problem));
    Ok(Json(found.await?).into_response())
}

/// What shadow policies would have changed (owner)
///
/// The calls of a window, by default the last 24 hours, with what the policies in shadow would have made of
/// each, as it was recorded with the call; `policies` counts the calls that each of them would have determined.
/// Counters stood as the enforced policies left them: simulating the policy with `enforce` evolves them.
#[utoipa::path(
    get, path = "/api/agents/{id}/policies/shadow", operation_id = "reportShadow", tag = "Policies",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ShadowQuery),
    responses((status = 200, body = Simulation), Refusals),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn report_shadow(
    State(state): State<ApiState>,
    Extension(places): Extension<Places>,
    owned: AgentOwned<need::PoliciesRead>,
    Query(query): Query<ShadowQuery>,
) -> Result<Json<Simulation>, Problem> {
    let ((from, to), rows_max) = (query.window()?, query.rows()?);
    let place = places.take()?;
    let journal = state.admin.places().journal_dir.clone();
    let agent = owned.agent.id.to_string();
    let found = apart(move || {
        let _place = place;
        let job = ShadowJob { journal, from, to, rows_max, agent: Some(&agent) };
        simulate::shadow::report(&job, &mut within(ANSWER_MAX)).map_err(problem)
    });
    Ok(Json(found.await?))
}

/// Breaks off when the time is over.
fn within(time: Duration) -> impl FnMut(Stand) -> ControlFlow<()> {
    let until = Instant::now() + time;
    move |_| if Instant::now() < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl Places {
    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            Problem::new(Code::Unavailable, format!("{AT_ONCE_MAX} simulations run already"))
                .with_help("try again when one of them has ended")
                .after(Duration::from_secs(5))
        })
    }
}

/// What differs from the set in force.
async fn drafted(state: &ApiState, agent: &Agent, body: &SimulateBody) -> Result<Draft, Problem> {
    match (&body.draft, body.enforce, body.without) {
        (None, None, None) => Ok(Draft::Unchanged),
        (Some(draft), None, None) => Ok(state.admin.drafted(agent, draft).await?),
        (None, Some(policy), None) => Ok(Draft::Enforce(policy)),
        (None, None, Some(policy)) => Ok(Draft::Without(policy)),
        _ => Err(Problem::field("body", "takes one of `draft`, `enforce` and `without`")),
    }
}

/// The sets that are compared, and the one in force.
fn sets_of(base: &Bundle, facts: &AgentFacts, draft: &Draft) -> Result<(Sets, Bundle), Problem> {
    let stored = facts.stored();
    let sets = draft::sets(base, facts.id, &stored, draft).map_err(crate::control::AdminFault::from)?;
    let current = Bundle::for_agent(base, &stored, Some(&sets.baseline)).bundle;
    Ok((sets, current))
}

/// Works on a thread where blocking is no harm.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let broke = |_| Problem::new(Code::Internal, "the simulation broke off");
    tokio::task::spawn_blocking(work).await.map_err(broke)?
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

fn problem(failed: Failed) -> Problem {
    match failed {
        Failed::Journal(error) => {
            tracing::error!(%error, "a simulation could not read the journal");
            Problem::new(Code::Internal, "the journal cannot be read")
                .with_help("the operator finds the cause in the gate's log")
        }
        Failed::BrokenOff => Problem::new(Code::Unavailable, "the window holds more than the time allows")
            .with_help("narrow it with `from` and `to`, ask for events, or run `wicket policy simulate`")
            .after(Duration::from_secs(1)),
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let places = Places(Arc::new(Semaphore::new(AT_ONCE_MAX)));
    OpenApiRouter::new()
        .routes(routes!(simulate_policy))
        .routes(routes!(report_shadow))
        .layer(Extension(places))
}

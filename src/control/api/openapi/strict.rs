//! What is not in the document is not passed over: a query where the route takes none.
//!
//! Where a route takes parameters, its handler reads them strictly (`super::super::extract`).

use std::collections::HashSet;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::DOCUMENT;
use crate::control::api::problem::Problem;

/// Method and path of the operations that take parameters in the query.
static ASKING: LazyLock<HashSet<(String, String)>> = LazyLock::new(|| asking(&DOCUMENT));

fn asking(document: &Value) -> HashSet<(String, String)> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method, path, operation))
    });
    let asks = |operation: &Value| {
        let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        parameters.filter_map(|parameter| parameter.get("in")).any(|place| place == "query")
    };
    let asking = operations.filter(|(_, _, operation)| asks(operation));
    asking.map(|(method, path, _)| (method.clone(), path.clone())).collect()
}

/// Refuses a query where the route takes none.
pub(super) async fn no_unasked_query(request: Request, next: Next) -> Response {
    let asked = request.uri().query().is_some_and(|query| !query.is_empty());
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (true, Some(path)) = (asked, path) else { return next.run(request).await };
    // HEAD is answered by what answers GET.
    let method = match request.method() {
        &http::Method::HEAD => "get".to_owned(),
        other => other.as_str().to_ascii_lowercase(),
    };
    if ASKING.contains(&(method, path)) {
        return next.run(request).await;
    }
    Problem::field("query", "this route takes no parameters").into_response()
}

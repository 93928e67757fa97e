//! The API, whole: what `admin` has and what is added here.

use std::sync::Arc;

use admin::{Control, Routes, control_routes};
use axum::response::Json;
use outbound_queue::QueueStore;

use crate::check::Checker;
use crate::feed::Feed;
use crate::history::History;
use crate::{check, feed, history, openapi, reasons};

/// What the API acts on. Cloning shares.
pub struct Api<S> {
    /// Queue, policies, process.
    pub control: Control<S>,
    /// The last day.
    pub history: Arc<History>,
    /// Live events.
    pub feed: Arc<Feed>,
    /// Domain checks.
    pub checker: Arc<Checker>,
}

impl<S> Clone for Api<S> {
    fn clone(&self) -> Self {
        Self {
            control: self.control.clone(),
            history: Arc::clone(&self.history),
            feed: Arc::clone(&self.feed),
            checker: Arc::clone(&self.checker),
        }
    }
}

/// The routes of the control socket, and of HTTP.
#[must_use]
pub fn api_routes<S: QueueStore>(api: Api<S>) -> Routes<()> {
    let control = control_routes(api.control.clone());
    control.merge(own().with_state(api))
}

fn own<S: QueueStore>() -> Routes<Api<S>> {
    Routes::new()
        .get("/v1/history", &["minutes"], history::show::<S>)
        .get("/v1/events", &["event"], feed::stream::<S>)
        .get("/v1/policies/{domain}/history", &[], feed::of_policy::<S>)
        .post("/v1/check/{domain}", &[], check::check::<S>)
        .get("/v1/reasons", &[], reasons::list)
        .get("/v1/openapi.json", &[], describe)
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "process", responses(
    (status = 200, description = "OpenAPI.", body = serde_json::Value),
))]
pub(crate) async fn describe() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi::document())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use outbound_queue::EmbeddedStore;

    use crate::session;

    /// Method, path and query parameters.
    type Row = (String, String, BTreeSet<String>);

    fn described() -> BTreeSet<Row> {
        let document = serde_json::to_value(openapi::document()).unwrap();
        let mut rows = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().cloned();
                let query = parameters.unwrap_or_default().into_iter();
                let query = query.filter(|p| p["in"] == "query");
                let query = query.map(|p| p["name"].as_str().unwrap().to_owned());
                rows.insert((method.to_uppercase(), path.clone(), query.collect()));
            }
        }
        rows
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let own = own::<EmbeddedStore>();
        let session = session::table();
        let served = admin::control_table().into_iter();
        let served = served.chain(own.table().iter().cloned()).chain(session);
        let served: BTreeSet<Row> = served
            .map(|route| {
                let query = route.query.iter().map(|name| (*name).to_owned());
                (
                    route.method.to_string(),
                    route.path.to_owned(),
                    query.collect(),
                )
            })
            .collect();
        assert_eq!(served, described());
        assert!(served.len() > 20);
    }
}

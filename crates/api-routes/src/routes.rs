//! The table of routes: what the router serves is what the API's description is held against.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use crate::operator::Operator;
use crate::problem::{Problem, ProblemKind};
use api_types::Role;

/// Routes with the query parameters that each of them knows. Any other parameter is an error: a
/// misspelt filter must not match everything.
#[derive(Debug)]
pub struct Routes<S> {
    router: Router<S>,
    table: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST` or `DELETE`.
    pub method: Method,
    /// With `{name}` for a segment that varies.
    pub path: &'static str,
    /// Names of its query parameters.
    pub query: &'static [&'static str],
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            table: Vec::new(),
        }
    }

    /// Adds a route that looks: the role `read` may. It changes nothing that an operator decides.
    #[must_use]
    pub fn get<H, X>(self, path: &'static str, query: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, query, handler)
    }

    /// Adds a route that acts: the role `read` is refused. Once it has begun the handler runs to its
    /// end, whether or not anybody waits for the answer.
    #[must_use]
    pub fn post<H, X>(self, path: &'static str, query: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, query, handler)
    }

    /// Adds a route that ends something; otherwise as [`Self::post`].
    #[must_use]
    pub fn delete<H, X>(
        self,
        path: &'static str,
        query: &'static [&'static str],
        handler: H,
    ) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        self.add(Method::DELETE, MethodFilter::DELETE, path, query, handler)
    }

    fn add<H, X>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        query: &'static [&'static str],
        handler: H,
    ) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        let check = move |request: Request, next: Next| known_parameters(query, request, next);
        let route = match method.is_safe() {
            true => on(filter, handler),
            false => on(filter, handler).layer(from_fn(to_its_end)),
        };
        let route = route.layer(from_fn(check));
        self.router = self.router.route(path, route);
        self.table.push(Route {
            method,
            path,
            query,
        });
        self
    }

    /// Whatever needs no more state, and the table of it.
    #[must_use]
    pub fn with_state(self, state: S) -> Routes<()> {
        Routes {
            router: self.router.with_state(state),
            table: self.table,
        }
    }

    /// Both.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// What is served.
    #[must_use]
    pub fn table(&self) -> &[Route] {
        &self.table
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes<()> {
    /// The router: only for who is named in an [`Operator`], only what their role allows, and every
    /// refusal as problem details.
    pub fn into_router(self) -> Router {
        self.router
            .fallback(no_such_route)
            .layer(from_fn(allowed))
            .layer(from_fn(as_problem))
    }

    /// The router without a look at who asks, for routes that do that themselves.
    pub fn into_open_router(self) -> Router {
        self.router.layer(from_fn(as_problem))
    }
}

async fn no_such_route(request: Request) -> Problem {
    Problem::not_found(match request.extensions().get::<Operator>() {
        // The commands ask for nothing that their own version does not have.
        Some(Operator::Socket { .. }) => {
            "this version of sealpost has no such command; is the daemon older than the command?"
        }
        Some(Operator::Http { .. }) | None => {
            "there is no such path in the API; /v1/openapi.json names all"
        }
    })
}

/// The one place that says who may act: everybody looks, only administrators act.
async fn allowed(request: Request, next: Next) -> Response {
    let Some(operator) = request.extensions().get::<Operator>() else {
        return Problem::new(ProblemKind::Unauthorized, "nobody has logged in").into_response();
    };
    let looks = request.method().is_safe();
    match operator.role() {
        Role::Admin => next.run(request).await,
        Role::Read if looks => next.run(request).await,
        Role::Read => {
            let detail = format!(
                "{} has the role read, which looks and decides nothing; this needs a token with the role admin",
                operator.name()
            );
            Problem::new(ProblemKind::Forbidden, detail).into_response()
        }
    }
}

/// What acts tells of it when it is done (`admin.action`): a client that goes away, or a limit of
/// time, must not come between (row H10-04). The body is taken before, since a client may never send all of it.
async fn to_its_end(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let whole = Bytes::from_request(Request::from_parts(head.clone(), body), &()).await;
    let body = match whole {
        Ok(body) => Body::from(body),
        Err(refusal) => return refusal.into_response(),
    };
    let acting = tokio::spawn(next.run(Request::from_parts(head, body)));
    match acting.await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Problem::unavailable("the relay is ending").into_response(),
        },
    }
}

async fn known_parameters(
    known: &'static [&'static str],
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let names = pairs.map(|pair| pair.split('=').next().unwrap_or_default());
    let mut given: Vec<&str> = Vec::new();
    for name in names {
        if !known.contains(&name) {
            return Problem::unknown_parameter(name, known).into_response();
        }
        // One of the values would be passed over.
        if given.contains(&name) {
            let detail = format!("{name} is given twice; name one value, or ask twice");
            return Problem::parameter(name, detail).into_response();
        }
        given.push(name);
    }
    next.run(request).await
}

/// What the framework refuses by itself (methods, sizes, paths) is said in the same form as the rest.
async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let said = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let Some(kind) = ProblemKind::of_status(status).filter(|_| !said) else {
        return response;
    };
    let (parts, _) = response.into_parts();
    let mut problem = Problem::new(kind, kind.usual_detail()).into_response();
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        let allow: &HeaderValue = allow;
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;
    use tower_service::Service as _;

    #[derive(Clone, Default)]
    struct Work {
        begun: Arc<Notify>,
        may_end: Arc<Notify>,
        told: Arc<Notify>,
        dropped: Arc<AtomicBool>,
    }

    /// Says whether it was dropped before it was done.
    struct Watched(Arc<AtomicBool>);

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    async fn act(axum::extract::State(work): axum::extract::State<Work>) -> &'static str {
        let watched = Watched(Arc::clone(&work.dropped));
        work.begun.notify_one();
        work.may_end.notified().await;
        work.told.notify_one();
        std::mem::forget(watched);
        "done"
    }

    fn request(method: Method) -> Request {
        let request = Request::builder().method(method).uri("/v1/act");
        let request = request.extension(Operator::Socket { uid: None });
        request.body(Body::from("{}")).unwrap()
    }

    #[tokio::test]
    async fn h10_04_what_acts_is_done_and_told_though_nobody_waits_for_it() {
        let work = Work::default();
        let routes = Routes::new().post("/v1/act", &[], act);
        let routes = routes.delete("/v1/act", &[], act).get("/v1/act", &[], act);
        let mut router = routes.with_state(work.clone()).into_router();
        for method in [Method::POST, Method::DELETE] {
            let mut asked = Box::pin(router.call(request(method)));
            tokio::select! {
                _ = &mut asked => panic!("it has not been let end"),
                () = work.begun.notified() => {}
            }
            drop(asked); // the client has gone, or its time is up
            work.may_end.notify_one();
            work.told.notified().await;
            assert!(!work.dropped.load(Ordering::Relaxed));
        }
        // What only looks need not go on.
        let mut asked = Box::pin(router.call(request(Method::GET)));
        tokio::select! {
            _ = &mut asked => panic!("it has not been let end"),
            () = work.begun.notified() => {}
        }
        drop(asked);
        assert!(work.dropped.load(Ordering::Relaxed));
        work.may_end.notify_one();
        let answer = router.call(request(Method::POST)).await.unwrap();
        assert!(answer.status().is_success());
    }
}

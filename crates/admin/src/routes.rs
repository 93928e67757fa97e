//! The table of routes: what the router serves is what the API's description is held against.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use crate::operator::{Operator, Role};
use crate::problem::{Problem, ProblemKind};

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

    /// Adds a route that reads and changes nothing.
    #[must_use]
    pub fn get<H, X>(self, path: &'static str, query: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, query, handler)
    }

    /// Adds a route that acts: the role `read` is refused.
    #[must_use]
    pub fn post<H, X>(self, path: &'static str, query: &'static [&'static str], handler: H) -> Self
    where
        H: Handler<X, S>,
        X: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, query, handler)
    }

    /// Adds a route that ends something.
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
        let route = on(filter, handler).layer(from_fn(check));
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

async fn no_such_route() -> Problem {
    Problem::not_found(
        "this version of sealpost has no such command; is the daemon older than the command?",
    )
}

/// The one place that says who may act: everybody looks, only administrators change anything.
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
                "{} has the role read, which looks and changes nothing; this needs a token with the role admin",
                operator.name()
            );
            Problem::new(ProblemKind::Forbidden, detail).into_response()
        }
    }
}

async fn known_parameters(
    known: &'static [&'static str],
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let names = query.split('&').filter(|pair| !pair.is_empty());
    for name in names.map(|pair| pair.split('=').next().unwrap_or_default()) {
        if !known.contains(&name) {
            return Problem::unknown_parameter(name, known).into_response();
        }
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

//! The page: embedded files, named by what is in them.

use std::sync::OnceLock;

use admin::Problem;
use aws_lc_rs::digest::{Context, SHA256, digest};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::{BASE64, HEXLOWER};

use crate::access::Access;

/// `/` and `/assets/VERSION/NAME`. Files never change under their name, so browsers keep them; the
/// first page names the version and is asked for anew each time.
pub(crate) fn router(access: Access) -> Router {
    Router::new()
        .route("/", get(first))
        .route("/assets/{version}/{name}", get(asset))
        .with_state(access)
}

async fn first(State(access): State<Access>, headers: HeaderMap) -> Response {
    if !access.has_page() {
        let detail = "without admin.token-file only /metrics, /healthz and /readyz are served";
        return Problem::not_found(detail).into_response();
    }
    let tag = format!("\"{}\"", version());
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, tag.as_str()),
    ];
    (head, index()).into_response()
}

async fn asset(
    State(access): State<Access>,
    Path((wanted, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = FILES.iter().find(|(file, _, _)| *file == name);
    let Some((_, kind, text)) = found.filter(|_| wanted == version() && access.has_page()) else {
        return Problem::not_found("there is no such file").into_response();
    };
    let tag = format!("\"{}\"", version());
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response()
    } else {
        let head = [(header::CONTENT_TYPE, *kind), (header::ETAG, tag.as_str())];
        (head, *text).into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

/// The first page, with the script that stands in it.
fn index() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| INDEX.replace("EARLY", EARLY).replace("VERSION", version()))
}

/// The digest of the script in the first page, as a Content-Security-Policy names it (CSP 3,
/// section 2.3.1): that script runs, and no other that stands in a page.
pub(crate) fn early_source() -> String {
    let text = EARLY.replace("VERSION", version());
    let digest = digest(&SHA256, text.as_bytes());
    format!("'sha256-{}'", BASE64.encode(digest.as_ref()))
}

/// A digest of all files.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut context = Context::new(&SHA256);
        context.update(INDEX.as_bytes());
        context.update(EARLY.as_bytes());
        for (name, _, text) in FILES {
            context.update(name.as_bytes());
            context.update(text.as_bytes());
        }
        let digest = context.finish();
        HEXLOWER.encode(digest.as_ref().get(..8).unwrap_or_default())
    })
}

const INDEX: &str = include_str!("../page/index.html");
const EARLY: &str = include_str!("../page/early.js");
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        ($name, SCRIPT, include_str!(concat!("../page/", $name)))
    };
}

/// Name, type, content.
const FILES: [(&str, &str, &str); 17] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("../page/style.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
    script!("app.js"),
    script!("api.js"),
    script!("dom.js"),
    script!("text.js"),
    script!("chart.js"),
    script!("login.js"),
    script!("overview.js"),
    script!("queue.js"),
    script!("message.js"),
    script!("deferrals.js"),
    script!("pause.js"),
    script!("policies.js"),
    script!("reports.js"),
    script!("check.js"),
    script!("events.js"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Untrusted text is only ever shown as text, and nothing is fetched from elsewhere.
    #[test]
    fn the_page_makes_no_markup_from_text_and_needs_nobody_else() {
        let inside = [("index.html", "", INDEX), ("early.js", "", EARLY)];
        for (name, _, text) in FILES.iter().chain(&inside) {
            for bad in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "createContextualFragment",
                "javascript:",
                "https://",
                "//cdn",
                " style=",
                " onclick=",
                "@import",
                "localStorage",
            ] {
                assert!(!text.contains(bad), "{name} has {bad}");
            }
            let outside = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://"), "{name} names another server");
        }
    }

    #[test]
    fn the_first_page_names_every_file_by_its_version() {
        assert!(
            INDEX.contains("/assets/VERSION/app.js") && INDEX.contains("/assets/VERSION/style.css")
        );
        assert_eq!(version().len(), 16);
        assert!(!index().contains("VERSION") && !index().contains("EARLY"));
    }

    /// What stands in the page is exactly what the policy names.
    #[test]
    fn one_script_stands_in_the_page_and_its_digest_in_the_policy() {
        let (_, rest) = index().split_once("<script>").unwrap();
        let (script, rest) = rest.split_once("</script>").unwrap();
        assert!(!rest.contains("<script>"));
        let named = format!(
            "'sha256-{}'",
            BASE64.encode(digest(&SHA256, script.as_bytes()).as_ref())
        );
        assert_eq!(early_source(), named);
    }
}

//! Headers that every answer over HTTP has.

use std::sync::OnceLock;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::page::early_source;

/// The page runs its own files, the one script that stands in it, and nothing else; text never becomes
/// markup (Trusted Types).
fn policy() -> HeaderValue {
    static VALUE: OnceLock<HeaderValue> = OnceLock::new();
    let value = VALUE.get_or_init(|| {
        let text = format!("script-src 'self' {}; {POLICY}", early_source());
        // The digest's letters are those of base64: a header may have them all.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(POLICY))
    });
    value.clone()
}

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Adds them; `Cache-Control` only where the answer has none.
pub(crate) async fn add(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy());
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}

const ALWAYS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

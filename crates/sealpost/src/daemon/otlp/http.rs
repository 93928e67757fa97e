//! The collector: batches as OTLP over HTTP (protobuf), by reqwest over our own rustls, as for
//! policies. The SDK's exporter is not used: it lets variables of the environment add header
//! fields or refuse the start, and here the configuration alone says what is done.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use rustls::RootCertStore;

/// No redirects, no proxy from the environment, no second TLS stack.
pub(super) struct Collector {
    client: reqwest::Client,
    endpoint: reqwest::Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
}

impl Collector {
    /// `headers` go with each request.
    ///
    /// # Errors
    /// In words, if `endpoint` is no URL.
    pub(super) fn new(
        endpoint: &str,
        headers: HeaderMap,
        anchors: Arc<RootCertStore>,
        resource: &Resource,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(anchors)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .timeout(PATIENCE)
            .user_agent(concat!("sealpost/", env!("CARGO_PKG_VERSION")))
            .build();
        let endpoint = reqwest::Url::parse(endpoint);
        Ok(Self {
            client: client.map_err(|e| format!("the client for traces cannot be made: {e}"))?,
            endpoint: endpoint.map_err(|e| format!("telemetry.otlp.endpoint: {e}"))?,
            headers,
            resource: resource.into(),
        })
    }

    /// How many spans the collector did not want.
    ///
    /// # Errors
    /// Why it has none of them, in words.
    pub(super) async fn send(&self, batch: Vec<SpanData>) -> Result<u64, String> {
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let sent = self
            .client
            .post(self.endpoint.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(request.encode_to_vec())
            .send();
        let mut answer = sent.await.map_err(|e| in_full(&e))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("the collector answered {status}"));
        }
        // What a collector says is a few octets; nobody fills our memory here.
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| in_full(&e))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err("the collector's answer is too long".into());
            }
            body.extend_from_slice(&chunk);
        }
        // What is no such message, for instance in JSON, is taken for a plain yes.
        let answer = ExportTraceServiceResponse::decode(body.as_slice()).ok();
        let partly = answer.and_then(|answer| answer.partial_success);
        let refused = partly.map_or(0, |partly| partly.rejected_spans);
        Ok(u64::try_from(refused).unwrap_or_default())
    }
}

/// An error with all of its causes: the outermost says only that something went wrong.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

/// For the whole of a request.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: usize = 64 * 1024;

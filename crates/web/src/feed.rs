//! Live events for whoever watches, and the last ones of policies.
//!
//! Events are offered by the event log's writers, on the path of mail: without watchers that is one
//! atomic load. The channel is bounded; who reads too slowly is told so and cut off.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use admin::{Page, Problem};
use attempt::{Format, Formatter, LogEvent};
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use outbound_queue::QueueStore;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::time::{Instant, timeout_at};

use crate::api::Api;
use crate::guard::Standing;

/// Where events are offered.
#[derive(Debug)]
pub struct Feed {
    json: Formatter,
    watchers: Sender<Told>,
    /// As JSON, oldest first.
    policies: Mutex<VecDeque<Arc<str>>>,
}

#[derive(Clone, Debug)]
struct Told {
    event: &'static str,
    json: Arc<str>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            json: Formatter::new(Format::Json, "", "", 0),
            watchers: broadcast::channel(BEHIND).0,
            policies: Mutex::default(),
        }
    }
}

impl Feed {
    /// Something happened.
    pub fn offer(&self, event: &dyn LogEvent) {
        let is_policy = event.event().starts_with("policy.");
        if !is_policy && self.watchers.receiver_count() == 0 {
            return;
        }
        let mut line = Vec::new();
        self.json.write(event, &mut line);
        let json: Arc<str> = String::from_utf8_lossy(&line).trim_end().into();
        if is_policy {
            let mut ring = self.policies.lock();
            if ring.len() >= POLICY_EVENTS {
                ring.pop_front();
            }
            ring.push_back(Arc::clone(&json));
        }
        let told = Told {
            event: event.event(),
            json,
        };
        // Nobody watches any more: nothing is lost.
        let _ = self.watchers.send(told);
    }

    fn watch(&self) -> Option<Receiver<Told>> {
        (self.watchers.receiver_count() < WATCHERS).then(|| self.watchers.subscribe())
    }

    /// What the log said of a domain's policy, newest first.
    fn of_domain(&self, domain: &str) -> Vec<Value> {
        let ring: Vec<_> = self.policies.lock().iter().cloned().collect();
        let events = ring.iter().rev();
        events
            .filter_map(|json| serde_json::from_str::<Value>(json).ok())
            .filter(|event| event.get("domain").and_then(Value::as_str) == Some(domain))
            .collect()
    }
}

/// Events as they happen: `text/event-stream`, each with the JSON of the event log as its data.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(
    ("event" = Option<String>, Query, description = "Only events whose name begins like this, for instance `delivery.`."),
), responses(
    (status = 200, description = "A stream without end. `event: lagged` ends it for a slow reader.",
        content_type = "text/event-stream", body = String),
    (status = 400, description = "No event's name begins like that.", body = admin::ProblemDetails),
    (status = 503, description = "Too many watch already.", body = admin::ProblemDetails),
))]
pub(crate) async fn stream<S: QueueStore>(
    State(api): State<Api<S>>,
    standing: Option<Extension<Standing>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let prefix = query.unwrap_or_default();
    let prefix = prefix.split_once('=').map_or("", |(_, v)| v).to_owned();
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if !prefix.chars().all(of_a_name) {
        let detail =
            "no event's name begins like that: they have letters, digits, dots and hyphens";
        return Err(Problem::parameter("event", detail));
    }
    let Some(receiver) = api.feed.watch() else {
        let detail = format!("{WATCHERS} watch the events already; close one of them");
        return Err(Problem::unavailable(detail));
    };
    let standing = standing.map(|Extension(standing)| standing);
    let watcher = Watcher::new(receiver, prefix, standing);
    let body = Body::from_stream(unfold(watcher, Watcher::next));
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that buffer would hold live events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, body).into_response())
}

struct Watcher {
    receiver: Receiver<Told>,
    prefix: String,
    standing: Option<Standing>,
    /// Not before then is asked whether they may still watch.
    look: Instant,
    /// By then something is said, so that a client that has vanished is noticed.
    beat: Instant,
    begun: bool,
    ended: bool,
}

impl Watcher {
    fn new(receiver: Receiver<Told>, prefix: String, standing: Option<Standing>) -> Self {
        let now = Instant::now();
        Self {
            receiver,
            prefix,
            standing,
            look: now,
            beat: now + HEARTBEAT,
            begun: false,
            ended: false,
        }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.ended {
            return None;
        }
        let text = if self.begun {
            self.wait().await?
        } else {
            self.begun = true;
            "retry: 5000\n: live\n\n".to_owned()
        };
        Some((Ok(Bytes::from(text)), self))
    }

    /// The clock decides, not whether anything happens: events that the filter leaves out put neither
    /// the look nor the heartbeat off.
    async fn wait(&mut self) -> Option<String> {
        loop {
            let told = timeout_at(self.beat, self.receiver.recv()).await;
            let now = Instant::now();
            if !self.may_watch(now) {
                return None;
            }
            let text = match told {
                Ok(Ok(told)) if told.event.starts_with(&self.prefix) => {
                    format!("data: {}\n\n", told.json)
                }
                Ok(Err(RecvError::Lagged(missed))) => {
                    self.ended = true;
                    format!("event: lagged\ndata: {missed}\n\n")
                }
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Ok(_)) if now < self.beat => continue,
                Ok(Ok(_)) | Err(_) => ": still here\n\n".to_owned(),
            };
            self.beat = now + HEARTBEAT;
            return Some(text);
        }
    }

    /// Whoever has logged out, or lost the token, sees no more.
    fn may_watch(&mut self, now: Instant) -> bool {
        if now < self.look {
            return true;
        }
        self.look = now + LOOK;
        self.standing.as_ref().is_none_or(Standing::holds)
    }
}

/// What the log said of a domain's policy since the start, newest first.
#[utoipa::path(get, path = "/v1/policies/{domain}/history", tag = "policies", params(
    ("domain" = String, Path, description = "Policy domain."),
), responses(
    (status = 200, description = "Events as in the log; the last few thousand of all policies are kept.", body = Page<Value>),
))]
pub(crate) async fn of_policy<S: QueueStore>(
    State(api): State<Api<S>>,
    Path(domain): Path<String>,
) -> Json<Page<Value>> {
    Json(Page {
        items: api.feed.of_domain(&domain.to_ascii_lowercase()),
        next: None,
    })
}

/// Events that a reader may be behind.
const BEHIND: usize = 1024;
const WATCHERS: usize = 16;
const POLICY_EVENTS: usize = 4096;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Between two questions whether a reader may still watch, while events come.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    use attempt::{Fields, Level};
    use mail_types::Timestamp;
    use tokio::time::timeout;

    struct Said(&'static str, &'static str);

    impl LogEvent for Said {
        fn event(&self) -> &'static str {
            self.0
        }
        fn level(&self) -> Level {
            Level::Info
        }
        fn at(&self) -> Timestamp {
            Timestamp::from_secs(1)
        }
        fn fields(&self, fields: &mut Fields<'_>) {
            fields.add("domain", self.1);
        }
    }

    fn watcher(feed: &Feed, prefix: &str) -> Watcher {
        watcher_with(feed, prefix, None)
    }

    fn watcher_with(feed: &Feed, prefix: &str, standing: Option<Standing>) -> Watcher {
        Watcher {
            begun: true,
            ..Watcher::new(feed.watch().unwrap(), prefix.to_owned(), standing)
        }
    }

    #[tokio::test]
    async fn watchers_get_what_they_asked_for_and_slow_ones_are_cut_off() {
        let feed = Feed::default();
        feed.offer(&Said("delivery.sent", "before"));
        let mut quick = watcher(&feed, "delivery.");
        let slow = watcher(&feed, "");
        feed.offer(&Said("policy.changed", "a.test"));
        feed.offer(&Said("delivery.sent", "b\n\n.test"));
        let text = quick.wait().await.unwrap();
        assert!(
            text.contains("delivery.sent") && text.contains("b"),
            "{text}"
        );
        assert_eq!(
            text.matches('\n').count(),
            2,
            "one event is one line: {text:?}"
        );
        for _ in 0..=BEHIND {
            feed.offer(&Said("x", "y"));
        }
        let (said, slow) = slow.next().await.unwrap();
        assert!(said.unwrap().starts_with(b"event: lagged"));
        assert!(slow.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn h10_05_events_do_not_put_off_the_end_of_a_lost_token() {
        let feed = Feed::default();
        let holds = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&holds);
        let standing = Standing::new(move || asked.load(Ordering::Relaxed));
        let mut watcher = watcher_with(&feed, "", Some(standing));
        for _ in 0..3 {
            feed.offer(&Said("delivery.sent", "a.test"));
            assert!(watcher.wait().await.is_some());
            tokio::time::advance(LOOK).await;
        }
        holds.store(false, Ordering::Relaxed);
        feed.offer(&Said("delivery.sent", "secret.test"));
        assert_eq!(watcher.wait().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrow_filter_does_not_put_off_the_heartbeat() {
        let feed = Arc::new(Feed::default());
        let mut watcher = watcher(&feed, "policy.");
        let offered = Arc::clone(&feed);
        let busy = tokio::spawn(async move {
            loop {
                offered.offer(&Said("delivery.sent", "a.test"));
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        });
        let began = Instant::now();
        for n in 1..=3 {
            let said = timeout(HEARTBEAT * 2, watcher.wait()).await;
            assert_eq!(said.unwrap().unwrap(), ": still here\n\n");
            let late = began.elapsed() - HEARTBEAT * n;
            assert!(late < Duration::from_secs(3), "{late:?}");
        }
        busy.abort();
    }

    #[test]
    fn watchers_and_memory_are_bounded() {
        let feed = Feed::default();
        let open: Vec<_> = (0..WATCHERS).map(|_| feed.watch().unwrap()).collect();
        assert!(feed.watch().is_none());
        drop(open);
        assert!(feed.watch().is_some());
        for _ in 0..POLICY_EVENTS + 10 {
            feed.offer(&Said("policy.fetched", "a.test"));
        }
        feed.offer(&Said("policy.changed", "b.test"));
        assert_eq!(feed.policies.lock().len(), POLICY_EVENTS);
        let of_b = feed.of_domain("b.test");
        assert_eq!(of_b.len(), 1);
        assert_eq!(of_b[0]["event"], "policy.changed");
    }
}

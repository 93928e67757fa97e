//! Requests made from the API's own description, with values that nobody means well by: no 500, and
//! every refusal is a problem (RFC 9457).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealpost_tests::Http;
use serde_json::{Value, json};

use crate::api::{ADMIN, relay};
use crate::net::{MESSAGE, Net, deferred};

/// A small generator: the seed is printed if a request fails.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn text(&mut self) -> String {
        match self.below(14) {
            0 => String::new(),
            1 => "x".repeat(5000),
            2 => "\u{0}".to_owned(),
            3 => "../../etc/passwd".to_owned(),
            4 => "<script>alert(1)</script>".to_owned(),
            5 => "\u{202e}\u{1b}[31m\r\nSet-Cookie: a=b".to_owned(),
            6 => "18446744073709551616".to_owned(),
            7 => "-1".to_owned(),
            8 => "1e999".to_owned(),
            9 => "ünïcödé.test".to_owned(),
            10 => "00000000001".to_owned(),
            11 => "zzzzzzzzzzz".to_owned(),
            12 => "no-such.test".to_owned(),
            _ => "' OR 1=1 --".to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 8 } else { 11 }) {
            0 => Value::Null,
            1 => json!(self.next().is_multiple_of(2)),
            2 => json!(self.next()),
            3 => json!(-1),
            4 => json!(1.5e308),
            5..8 => json!(self.text()),
            8 => {
                let count = self.below(4);
                Value::Array((0..count).map(|_| self.value(depth + 1)).collect())
            }
            9 => json!({ self.text(): self.value(depth + 1) }),
            _ => {
                let mut deep = json!(1);
                for _ in 0..200 {
                    deep = json!([deep]);
                }
                deep
            }
        }
    }

    /// A body for this schema in which one or two things are wrong; or nothing that is JSON at all.
    fn body(&mut self, document: &Value, schema: &Value) -> String {
        match self.below(8) {
            0 => "{".to_owned(),
            1 => self.text(),
            2 => self.value(0).to_string(),
            _ => {
                let mut object = self.like(document, schema, 0);
                if let Some(fields) = object.as_object_mut() {
                    let names: Vec<String> = fields.keys().cloned().collect();
                    if let Some(name) = names.get(self.below(names.len().max(1))) {
                        fields.insert(name.clone(), self.value(0));
                    }
                    if self.below(3) == 0 {
                        fields.insert(self.text(), self.value(0));
                    }
                }
                object.to_string()
            }
        }
    }

    /// A value that the schema would take.
    fn like(&mut self, document: &Value, schema: &Value, depth: usize) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.like(
                document,
                &document["components"]["schemas"][name],
                depth + 1,
            );
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            if let Some(parts) = schema[key].as_array() {
                let part = &parts[self.below(parts.len())];
                return self.like(document, part, depth + 1);
            }
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[self.below(words.len())].clone();
        }
        let kinds = &schema["type"];
        let kind = kinds.as_str().or_else(|| kinds[0].as_str());
        match kind {
            Some("object") if depth < 6 => {
                let fields = schema["properties"]
                    .as_object()
                    .cloned()
                    .unwrap_or_default();
                let each = fields.iter();
                Value::Object(
                    each.map(|(n, s)| (n.clone(), self.like(document, s, depth + 1)))
                        .collect(),
                )
            }
            Some("array") => json!([self.like(document, &schema["items"], depth + 1)]),
            Some("integer" | "number") => json!(self.below(1000)),
            // Nothing is done for good: it would take the subject away from the requests that follow.
            Some("boolean") => json!(true),
            _ => json!(self.text()),
        }
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// What is to come at once, on a machine with much to do.
const SOON: Duration = Duration::from_secs(20);
/// So long is waited for what may have nothing to say.
const MOMENT: Duration = Duration::from_secs(1);

/// The two operations that answer with a stream: what is wrong is refused at once, as elsewhere; what
/// may be asked begins with nothing but events, whatever it is.
async fn streams(http: &Http, dice: &mut Dice, seed: u64) {
    for _ in 0..24 {
        let text = encoded(&dice.text());
        let (method, target) = match dice.below(4) {
            0 => ("GET", format!("/v1/events?event={text}")),
            1 => ("GET", format!("/v1/events?{text}=1")),
            2 => ("POST", format!("/v1/check/{text}?{text}=1")),
            _ => ("POST", format!("/v1/check/{text}")),
        };
        let what = format!("seed {seed}: {method} {target}");
        let asked = http.send(method, &target, &[ADMIN], "{\"x\":");
        // A prefix of events that there are none of is waited for like any other.
        let may_stream =
            target.starts_with("/v1/events?event=") || target.starts_with("/v1/check/");
        let patience = if may_stream { MOMENT } else { SOON };
        let Ok(answer) = tokio::time::timeout(patience, asked).await else {
            assert!(may_stream, "{what}");
            continue;
        };
        let answer = answer.unwrap_or_else(|e| panic!("{what}: {e}"));
        let what = format!("{what}: {answer:?}");
        assert!(answer.status < 500 || answer.status == 503, "{what}");
        assert!(
            !answer.headers.iter().any(|(n, _)| n == "set-cookie"),
            "{what}"
        );
        match answer.status {
            200 => assert!(answer.body.lines().all(is_of_a_stream), "{what}"),
            _ => assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{what}"
            ),
        }
    }
}

/// Fields of server-sent events, comments, and the ends between them; lengths of HTTP's chunks.
fn is_of_a_stream(line: &str) -> bool {
    let known = ["event:", "data:", "id:", "retry:", ":"];
    let harmless = line.chars().all(|c| !c.is_control() && c != '\u{202e}');
    let length = line.bytes().all(|b| b.is_ascii_hexdigit());
    harmless && (length || known.iter().any(|field| line.starts_with(field)))
}

testkit::net_test! {
    async fn what_is_wrong_is_refused_as_a_problem_and_nothing_breaks() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let (relay, _folder) = relay(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let http = relay.http();
        let document = http.send("GET", "/v1/openapi.json", &[ADMIN], "").await.unwrap().json();
        let seed = std::env::var("API_SEED").ok().and_then(|s| s.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seed = seed.unwrap_or(now);
        let mut dice = Dice(seed);
        let (mut asked, mut refused) = (0, 0);
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                // One never ends; the other looks at the internet for a minute: see `streams`.
                if path == "/v1/events" || path == "/v1/check/{domain}" {
                    continue;
                }
                for _ in 0..25 {
                    let mut target = path.clone();
                    for name in ["{id}", "{domain}", "{subject}"] {
                        let value = if dice.below(3) == 0 { id.clone() } else { dice.text() };
                        target = target.replace(name, &encoded(&value));
                    }
                    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                    let queries = parameters.iter().filter(|p| p["in"] == "query");
                    let mut query: Vec<String> = Vec::new();
                    for parameter in queries {
                        if dice.below(3) == 0 {
                            let name = parameter["name"].as_str().unwrap();
                            query.push(format!("{name}={}", encoded(&dice.text())));
                        }
                    }
                    if dice.below(6) == 0 {
                        query.push(format!("{}={}", encoded(&dice.text()), encoded(&dice.text())));
                    }
                    if !query.is_empty() {
                        target = format!("{target}?{}", query.join("&"));
                    }
                    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                    let body = if schema.is_null() { String::new() } else { dice.body(&document, schema) };
                    let method = method.to_uppercase();
                    let answer = http.send(&method, &target, &[ADMIN], &body).await;
                    let answer = answer.unwrap_or_else(|e| panic!("seed {seed}: {method} {target} {body}: {e}"));
                    let what = format!("seed {seed}: {method} {target} {body}: {answer:?}");
                    assert!(answer.status < 500 || answer.status == 503, "{what}");
                    assert!(!answer.headers.iter().any(|(n, v)| n == "set-cookie" && v.contains("a=b")), "{what}");
                    if answer.status >= 400 {
                        refused += 1;
                        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
                        let problem = answer.json();
                        assert_eq!(problem["status"], answer.status, "{what}");
                        assert!(problem["type"].as_str().is_some_and(|t| t.starts_with("urn:sealpost:problem:")), "{what}");
                        assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{what}");
                    } else {
                        let described = &operation["responses"][answer.status.to_string()];
                        assert!(!described.is_null(), "not described: {what}");
                    }
                    asked += 1;
                }
            }
        }
        assert!(asked > 400 && refused > asked / 4, "{refused} of {asked}");
        streams(&http, &mut dice, seed).await;
        // Everything is as it was.
        assert_eq!(http.send("GET", "/healthz", &[], "").await.unwrap().status, 200);
        crate::net::ok(&relay, &["status"]).await;
    }
}

//! The API's description, held against the running server, over HTTP and over the control socket.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::api::{ADMIN, READER, relay};
use crate::net::{MESSAGE, Net, deferred};

testkit::net_test! {
    async fn every_described_operation_answers_as_described() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let (relay, _folder) = relay(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let http = relay.http();
        let document = http.send("GET", "/v1/openapi.json", &[ADMIN], "").await.unwrap();
        assert_eq!(document.status, 200);
        let document = document.json();
        let mut asked = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                // It never ends, and is read by a test of its own.
                if path == "/v1/events" {
                    continue;
                }
                let concrete = path.replace("{id}", &id).replace("{domain}", "d.test").replace("{subject}", "d.test");
                let method = method.to_uppercase();
                for body in ["", "{}"] {
                    let answer = http.send(&method, &concrete, &[ADMIN], body).await.unwrap();
                    let described = &operation["responses"][answer.status.to_string()];
                    assert!(!described.is_null(), "{method} {concrete} {body}: {answer:?} is not described");
                    let types = described["content"].as_object();
                    let types: Vec<&str> = types.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                    let of_answer = answer.header("content-type").split(';').next().unwrap_or_default();
                    let is_empty = of_answer.is_empty() && types.is_empty();
                    assert!(is_empty || types.contains(&of_answer), "{method} {concrete} {body}: {types:?}: {answer:?}");
                    if answer.status >= 400 {
                        assert_ne!(answer.problem(), "", "{method} {concrete}: {answer:?}");
                    } else if answer.header("content-type") == "application/json" {
                        let schema = &described["content"]["application/json"]["schema"];
                        holds(&document, schema, &answer.json(), &format!("{method} {path}"));
                    }
                    asked += 1;
                }
            }
        }
        assert!(asked > 30, "{asked}");
        for path in ["/v1/queue", "/v1/queue/summary", "/v1/policies"] {
            let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
            let limit = parameters.iter().find(|p| p["name"] == "limit").unwrap();
            assert_eq!(limit["schema"]["minimum"], 1, "{path}: {limit}");
        }
        let status = over_socket(&relay.folder().join("control.sock"), "/v1/openapi.json").await;
        assert_eq!(status["paths"], document["paths"], "one API, wherever it is asked for");
    }
}

testkit::net_test! {
    async fn every_refusal_of_the_guards_is_described() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        let document = http.send("GET", "/v1/openapi.json", &[ADMIN], "").await.unwrap().json();
        let large = ("Content-Length", "2000000");
        let mut refused = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let concrete = path.replace("{id}", "0000000000A").replace("{domain}", "d.test").replace("{subject}", "d.test");
                let method = method.to_uppercase();
                let elsewhere = format!("http://other.test{concrete}");
                let logs_in = (method.as_str(), path.as_str()) == ("POST", "/v1/session");
                let mut asked = vec![(421, &elsewhere, vec![ADMIN])];
                if !logs_in {
                    asked.extend([(413, &concrete, vec![ADMIN, large]), (401, &concrete, vec![])]);
                    assert_eq!(operation["security"], Value::Null, "{method} {path}");
                }
                if method != "GET" && path != "/v1/session" {
                    asked.push((403, &concrete, vec![READER]));
                }
                for (status, target, headers) in asked {
                    let answer = http.send(&method, target, &headers, "").await.unwrap();
                    assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
                    let described = &operation["responses"][status.to_string()];
                    let kind = answer.header("content-type");
                    assert!(described["content"][kind].is_object(), "{method} {path} {status}: {described}");
                    refused.insert(status);
                }
            }
        }
        assert_eq!(refused.into_iter().collect::<Vec<_>>(), [401, 403, 413, 421]);
        assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer", "{document}");
        // With the token, or over the socket without.
        assert_eq!(document["security"], serde_json::json!([{ "token": [] }, {}]));
    }
}

/// What is required is there, and nothing that is not described.
fn holds(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return holds(
            document,
            &document["components"]["schemas"][name],
            value,
            place,
        );
    }
    if let Some(items) = value.as_array() {
        for item in items {
            holds(document, &schema["items"], item, place);
        }
        return;
    }
    let (Some(object), Some(required)) = (value.as_object(), required(document, schema)) else {
        return;
    };
    for name in required {
        assert!(
            object.contains_key(&name),
            "{place}: {name} is missing in {value}"
        );
    }
    if let Some(known) = properties(document, schema) {
        for (name, value) in object {
            let Some(schema) = known.get(name) else {
                panic!("{place}: {name} is not described");
            };
            if !value.is_null() {
                holds(document, schema, value, &format!("{place}.{name}"));
            }
        }
    }
}

fn parts(document: &Value, schema: &Value) -> Vec<Value> {
    let resolve = |part: &Value| match part["$ref"].as_str() {
        Some(name) => document["components"]["schemas"][name.rsplit('/').next().unwrap()].clone(),
        None => part.clone(),
    };
    match schema["allOf"].as_array() {
        Some(all) => all
            .iter()
            .flat_map(|part| parts(document, &resolve(part)))
            .collect(),
        None => vec![schema.clone()],
    }
}

fn required(document: &Value, schema: &Value) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for part in parts(document, schema) {
        let of_part = part["required"].as_array().cloned().unwrap_or_default();
        names.extend(of_part.iter().filter_map(|n| n.as_str().map(str::to_owned)));
    }
    (!names.is_empty()).then_some(names)
}

fn properties(
    document: &Value,
    schema: &Value,
) -> Option<std::collections::BTreeMap<String, Value>> {
    let mut all = std::collections::BTreeMap::new();
    for part in parts(document, schema) {
        let of_part = part["properties"].as_object().cloned().unwrap_or_default();
        all.extend(of_part);
    }
    (!all.is_empty()).then_some(all)
}

async fn over_socket(socket: &std::path::Path, path: &str) -> Value {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

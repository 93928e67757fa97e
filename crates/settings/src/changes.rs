//! What a new configuration changes: key by key, as it is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use config::{Value, ValueKind};

use crate::layers::Layers;

/// Every key with its value as TOML, defaults included; entries as `route[0].relay`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

/// One key whose value is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// For instance `queue.retry` or `route[0].relay`.
    pub key: String,
    /// What it was; `None` if it was not set. Never a secret.
    pub old: Option<String>,
    /// What it is to be.
    pub new: Option<String>,
}

impl Values {
    pub(crate) fn of(layers: &Layers) -> Self {
        let mut values = BTreeMap::new();
        flatten(&layers.merged, String::new(), &mut values);
        Self(values)
    }

    /// What is different in the newer ones, in the order of the keys.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let keys: std::collections::BTreeSet<&String> =
            self.0.keys().chain(newer.0.keys()).collect();
        keys.into_iter()
            .filter(|key| self.0.get(*key) != newer.0.get(*key))
            .map(|key| Change {
                key: key.clone(),
                old: self.0.get(key).map(|v| shown(key, v)),
                new: newer.0.get(key).map(|v| shown(key, v)),
            })
            .collect()
    }

    /// Takes over the newer value of every key that `of` names.
    pub fn take_over(&mut self, newer: &Self, of: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| !of(key));
        let taken = newer.0.iter().filter(|(key, _)| of(key));
        self.0.extend(taken.map(|(k, v)| (k.clone(), v.clone())));
    }
}

/// The configuration holds no secrets but names of files; a key that is called one is masked all
/// the same.
fn shown(key: &str, value: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let secret = ["password", "secret", "token"]
        .iter()
        .any(|word| last.contains(word));
    if secret && !last.ends_with("-file") {
        return "(not shown)".to_owned();
    }
    value.to_owned()
}

fn flatten(value: &Value, path: String, out: &mut BTreeMap<String, String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let path = match path.as_str() {
                    "" => name.clone(),
                    above => format!("{above}.{name}"),
                };
                flatten(value, path, out);
            }
        }
        ValueKind::Array(items) if items.iter().any(is_table) => {
            for (n, item) in items.iter().enumerate() {
                flatten(item, format!("{path}[{n}]"), out);
            }
        }
        ValueKind::Nil => {}
        kind => {
            out.insert(path, text(kind));
        }
    }
}

const fn is_table(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Table(_))
}

fn text(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let mut out = String::from("[");
            for (n, item) in items.iter().enumerate() {
                // Writing to a string does not fail.
                let _ = write!(
                    out,
                    "{}{}",
                    if n == 0 { "" } else { ", " },
                    text(&item.kind)
                );
            }
            out + "]"
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(toml: &str) -> Values {
        let (layers, problems) = crate::layers::merge(Some(("x.toml", toml)), &[]);
        assert!(problems.is_empty(), "{problems:?}");
        Values::of(&layers.unwrap())
    }

    #[test]
    fn what_changed_is_told_key_by_key() {
        let old = values("[queue]\nretry = [\"5m\"]\n[[route]]\nrelay = \"a.test\"\n");
        let new = values(
            "[queue]\nretry = [\"5m\", \"1h\"]\n[[route]]\nrelay = \"b.test\"\nusername = \"u\"\n",
        );
        let told = old.changes(&new);
        let told: Vec<(&str, Option<&str>, Option<&str>)> = told
            .iter()
            .map(|c| (c.key.as_str(), c.old.as_deref(), c.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("queue.retry", Some("[\"5m\"]"), Some("[\"5m\", \"1h\"]")),
                ("route[0].relay", Some("\"a.test\""), Some("\"b.test\"")),
                ("route[0].username", None, Some("\"u\"")),
            ]
        );
        assert!(old.changes(&old).is_empty());
    }

    #[test]
    fn what_waits_for_a_restart_is_told_again() {
        let mut running = values("[queue]\nretry = [\"5m\"]\n");
        let new = values("[queue]\nretry = [\"1h\"]\n[server]\ndata-dir = \"/x\"\n");
        running.take_over(&new, |key| key == "queue.retry");
        let left = running.changes(&new);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].key, "server.data-dir");
    }

    #[test]
    fn a_key_that_sounds_secret_is_masked() {
        assert_eq!(shown("route[0].password", "\"x\""), "(not shown)");
        assert_eq!(shown("route[0].password-file", "\"/x\""), "\"/x\"");
    }
}

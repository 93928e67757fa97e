//! The layers, later wins: built-in defaults, the file, environment variables.
//!
//! The `config` crate merges them. What it is given keeps the place that each value came from in
//! the value's origin (`line:12`, `env:NAME`, none for defaults), and values of the environment
//! stay text, since only the key that they are for says what they are.

use std::collections::BTreeMap;

use config::{Config, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::keys::{self, ENTRY_SECTIONS};
use super::problem::{Place, Problem, printable};

/// The merged layers.
#[derive(Debug)]
pub(super) struct Layers {
    /// The whole as one table.
    pub merged: Value,
    /// The line of each key and table of the file by its path, for instance `listener[0].tls`.
    pub lines: BTreeMap<String, usize>,
}

/// Merges the layers; nothing if the file is not TOML. The problems are those that the walk over
/// the merged layers cannot find.
pub(super) fn merge(
    file: Option<(&str, &str)>,
    environment: &[(String, String)],
) -> (Option<Layers>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut lines = BTreeMap::new();
    let mut builder = Config::builder().add_source(Layer(defaults()));
    if let Some((name, text)) = file {
        let mut reading = Reading {
            name,
            starts: line_starts(text),
            lines: &mut lines,
            problems: &mut problems,
        };
        let Some(values) = reading.document(text) else {
            return (None, problems);
        };
        builder = builder.add_source(Layer(values));
    }
    let values = environment_values(environment, &mut problems);
    match builder.add_source(Layer(values)).build() {
        Ok(merged) => {
            let merged = merged.cache;
            (Some(Layers { merged, lines }), problems)
        }
        Err(error) => {
            problems.push(unmergeable(&error));
            (None, problems)
        }
    }
}

fn defaults() -> Map<String, Value> {
    keys::all()
        .filter(|key| !key.is_of_entry())
        .filter_map(|key| Some((key.name.to_owned(), default_value(key.default?))))
        .collect()
}

/// A default of the table of keys as a value; nil if the table is wrong, which a test excludes.
pub(super) fn default_value(toml: &str) -> Value {
    let text = format!("x = {toml}");
    let value = DeTable::parse(&text)
        .ok()
        .and_then(|table| Some(plain(table.get_ref().get("x")?.get_ref())));
    Value::new(None, value.unwrap_or(ValueKind::Nil))
}

/// The place that an origin names.
pub(super) fn place(origin: Option<&str>, file: &str) -> Place {
    match origin.and_then(|o| o.split_once(':')) {
        Some(("line", line)) => Place::Line(file.to_owned(), line.parse().unwrap_or_default()),
        Some((_, name)) => Place::Variable(name.to_owned()),
        None => Place::Default,
    }
}

/// Whether the value is text only because the environment has no other type.
pub(super) fn is_untyped(value: &Value) -> bool {
    value.origin().is_some_and(|o| o.starts_with("env:"))
}

/// A layer whose values are already there.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// Reads one file, remembering the line of everything.
struct Reading<'a> {
    name: &'a str,
    starts: Vec<usize>,
    lines: &'a mut BTreeMap<String, usize>,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn document(&mut self, text: &str) -> Option<Map<String, Value>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(1, |span| self.line(span.start));
            let place = Place::Line(self.name.to_owned(), line);
            self.problems.push(Problem::error(
                place,
                "",
                format!("not TOML: {}", error.message()),
                "correct the line",
            ));
        }
        errors.is_empty().then(|| self.table(table.get_ref(), ""))
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let line = self.line(key.span().start);
            if !is_key(name) {
                // Merging would take a dot for a path, so that such a name cannot be left to the walk.
                self.problems.push(Problem::error(
                    Place::Line(self.name.to_owned(), line),
                    &printable(name),
                    "no such key".into(),
                    "names of keys are letters, digits and hyphens",
                ));
                continue;
            }
            let path = join(path, name);
            self.lines.insert(path.clone(), line);
            values.insert(name.to_owned(), self.value(value.get_ref(), &path, line));
        }
        values
    }

    fn value(&mut self, value: &DeValue<'_>, path: &str, line: usize) -> Value {
        let kind = match value {
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
            DeValue::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (n, item) in items.iter().enumerate() {
                    let line = self.line(item.span().start);
                    let path = format!("{path}[{n}]");
                    self.lines.insert(path.clone(), line);
                    values.push(self.value(item.get_ref(), &path, line));
                }
                ValueKind::Array(values)
            }
            scalar => plain(scalar),
        };
        Value::new(Some(&format!("line:{line}")), kind)
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// Variables `SEALPOST__SECTION__KEY`, where `_` stands for a hyphen.
fn environment_values(
    environment: &[(String, String)],
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path = rest
            .to_ascii_lowercase()
            .replace("__", ".")
            .replace('_', "-");
        let section = path.split('.').next().unwrap_or_default();
        let origin = format!("env:{name}");
        if ENTRY_SECTIONS.contains(&section) {
            problems.push(Problem::error(
                place(Some(&origin), ""),
                &path,
                format!("entries of [[{section}]] come only from the file"),
                "write it there and unset the variable",
            ));
        } else if is_section(&path) {
            // In the merged layers it would take the place of the section, whatever else is set there.
            problems.push(Problem::error(
                place(Some(&origin), ""),
                &path,
                "is a section, not text".into(),
                "set a variable for each of its keys: SEALPOST__SECTION__KEY",
            ));
        } else if is_below_key(&path) {
            problems.push(Problem::error(
                place(Some(&origin), ""),
                &path,
                "no such key".into(),
                "what is before the last __ is a key: set that",
            ));
        } else if path.split('.').all(is_key) {
            let kind = ValueKind::String(text.clone());
            values.insert(path, Value::new(Some(&origin), kind));
        } else {
            problems.push(Problem::error(
                place(Some(&origin), ""),
                &printable(&path),
                "no such key".into(),
                "a variable is named SEALPOST__SECTION__KEY",
            ));
        }
    }
    values
}

fn is_section(path: &str) -> bool {
    let below = |key: &keys::Key| {
        let rest = key.name.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    keys::all().any(below)
}

fn is_below_key(path: &str) -> bool {
    let mut above = path.match_indices('.').map(|(at, _)| &path[..at]);
    above.any(|path| keys::find(path).is_some())
}

/// A value without tables below it; places are not kept.
fn plain(value: &DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(ValueKind::Nil, |n| {
                i64::try_from(n).map_or(ValueKind::I128(n), ValueKind::I64)
            }),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(ValueKind::Nil, ValueKind::Float),
        DeValue::Boolean(value) => ValueKind::Boolean(*value),
        // A date without quotes means what the same date in quotes does.
        DeValue::Datetime(when) => ValueKind::String(when.to_string()),
        DeValue::Array(items) => ValueKind::Array(
            items
                .iter()
                .map(|item| Value::new(None, plain(item.get_ref())))
                .collect(),
        ),
        DeValue::Table(_) => ValueKind::Table(Map::new()),
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn is_key(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
    std::iter::once(0)
        .chain(after_breaks.map(|(n, _)| n + 1))
        .collect()
}

fn unmergeable(error: &config::ConfigError) -> Problem {
    Problem::error(
        Place::Default,
        "",
        format!("the layers cannot be merged: {error}"),
        "please report this",
    )
}

const PREFIX: &str = "SEALPOST__";

#[cfg(test)]
mod tests {
    use crate::tests::{sources, text_file};
    use crate::{Problem, Sources, load};

    fn found(toml: &str, variables: &[(&str, &str)]) -> Vec<Problem> {
        let dir = tempfile::tempdir().unwrap();
        let environment = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        let given = Sources {
            environment: environment.collect(),
            ..sources(&text_file(&dir, toml))
        };
        load(&given).map_or_else(|error| error.0, |loaded| loaded.warnings)
    }

    fn has(found: &[Problem], begins: &str) -> bool {
        found.iter().any(|p| p.to_string().starts_with(begins))
    }

    #[test]
    fn a_section_that_only_the_environment_has_names_its_variables() {
        let found = found(
            "",
            &[("SEALPOST__FOO__BAR", "1"), ("SEALPOST__FOO__BAZ", "2")],
        );
        for variable in ["SEALPOST__FOO__BAR", "SEALPOST__FOO__BAZ"] {
            let begins = format!("${variable}: foo: no such section");
            assert!(has(&found, &begins), "{found:?}");
        }
    }

    #[test]
    fn a_variable_for_a_whole_section_hides_nothing_else() {
        let found = found(
            "",
            &[
                ("SEALPOST__QUEUE__RETRY", "5y"),
                ("SEALPOST__QUEUE", "1"),
                ("SEALPOST__QUEUE__RETRY__X", "1"),
                ("SEALPOST__DELIVERY__CONNECTIONS", "many"),
            ],
        );
        for begins in [
            "$SEALPOST__QUEUE: queue: is a section",
            "$SEALPOST__QUEUE__RETRY: queue.retry",
            "$SEALPOST__QUEUE__RETRY__X: queue.retry.x: no such key",
            "$SEALPOST__DELIVERY__CONNECTIONS: delivery.connections",
        ] {
            assert!(has(&found, begins), "{begins}: {found:?}");
        }
    }

    #[test]
    fn nobody_is_asked_for_a_name_that_stands_in_what_could_not_be_read() {
        let unnamed = |toml: &str, variables: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            let environment = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            let given = Sources {
                environment: environment.collect(),
                node: "localhost".into(),
                ..sources(&toml.replace("DIR", &dir.path().display().to_string()))
            };
            load(&given).map_or_else(|error| error.0, |loaded| loaded.warnings)
        };
        for found in [
            unnamed("server = 1\nadmin.socket = \"DIR/control.sock\"", &[]),
            unnamed(
                "server.hostname = \"relay.example.org\"\nserver.data-dir = \"DIR/data\"",
                &[("SEALPOST__SERVER", "1")],
            ),
        ] {
            assert!(found.iter().any(|p| p.key == "server"), "{found:?}");
            assert!(
                found.iter().all(|p| p.key != "server.hostname"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn g3_03_an_open_relay_is_seen_beside_what_is_no_network() {
        let found = found("access.relay-networks = [\"0.0.0.0/0\", \"zz\"]", &[]);
        assert!(
            found
                .iter()
                .any(|p| p.message.contains("would be an open relay")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|p| p.key == "access.relay-networks[1]"),
            "{found:?}"
        );
    }

    #[test]
    fn a_missing_file_is_told_once() {
        let found = found(
            "[[route]]\nrelay = \"[smart.example]\"\nusername = \"u\"\npassword-file = \"/nowhere/p\"\n\
             [telemetry.otlp]\nheaders-file = \"/nowhere/h\"",
            &[],
        );
        for file in ["/nowhere/p", "/nowhere/h"] {
            let told = found.iter().filter(|p| p.message.contains(file));
            assert_eq!(told.count(), 1, "{found:?}");
        }
    }
}

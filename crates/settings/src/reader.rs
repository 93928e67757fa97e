//! The walk over the merged layers against the table of keys: every problem is noted, reading goes
//! on with the default, so that one run finds them all.

use std::collections::{BTreeMap, BTreeSet};

use config::{Map, Value, ValueKind};

use super::keys::{self, ENTRY_SECTIONS, Key, Kind};
use super::layers::{Layers, default_value, is_untyped, join, place};
use super::nearest::nearest;
use super::parse::FromText;
use super::problem::{Place, Problem};

/// Reads typed values and collects what is wrong.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a str,
    layers: &'a Layers,
    /// What was found so far.
    pub problems: Vec<Problem>,
    /// The keys that were asked for: a test compares them with the table.
    pub asked: BTreeSet<&'static str>,
}

/// Where to read: the whole, or one `[[…]]` entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    table: &'a Value,
    /// Before the name of each key: `""` or `listener.`.
    prefix: &'a str,
    /// The path of the entry, for instance `listener[0]`.
    pub path: &'a str,
}

/// Where each key was set, for checks that compare several.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    file: String,
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, layers: &'a Layers) -> Self {
        Self {
            file,
            layers,
            problems: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The scope of everything that is no entry.
    pub(super) fn whole(&self) -> Scope<'a> {
        Scope {
            table: &self.layers.merged,
            prefix: "",
            path: "",
        }
    }

    /// How many `[[section]]` entries there are.
    pub(super) fn entries(&self, section: &str) -> &'a [Value] {
        match table(&self.layers.merged).and_then(|t| t.get(section)) {
            Some(Value {
                kind: ValueKind::Array(entries),
                ..
            }) => entries,
            _ => &[],
        }
    }

    /// Finds names that are no keys.
    pub(super) fn refuse_unknown(&mut self) {
        let root = &self.layers.merged;
        for (name, value) in sorted(root) {
            if ENTRY_SECTIONS.contains(&name) {
                self.refuse_unknown_in_entries(name, value);
            } else {
                self.refuse_unknown_below(name, value);
            }
        }
    }

    /// The value, or its default if it is missing or wrong; `None` if it has no default.
    pub(super) fn value<T: FromText>(&mut self, scope: Scope<'_>, name: &str) -> Option<T> {
        let key = self.key(scope, name)?;
        let given = lookup(scope, key);
        match given.map(|value| self.scalar::<T>(scope, key, &key.kind, value)) {
            Some(Some(value)) => Some(value),
            Some(None) => from_default(key),
            None => from_default(key).or_else(|| {
                self.missing(scope, key);
                None
            }),
        }
    }

    /// The value if it is there and right.
    pub(super) fn optional<T: FromText>(&mut self, scope: Scope<'_>, name: &str) -> Option<T> {
        let key = self.key(scope, name)?;
        self.scalar(scope, key, &key.kind, lookup(scope, key)?)
    }

    /// Whether the key is set at all.
    pub(super) fn is_given(&mut self, scope: Scope<'_>, name: &str) -> bool {
        let key = self.key(scope, name);
        key.is_some_and(|key| lookup(scope, key).is_some())
    }

    /// A value, or the word that stands for none; the outer `None` if neither is there.
    #[expect(
        clippy::option_option,
        reason = "not set, and set to the word, are different things"
    )]
    pub(super) fn optional_or_word<T: FromText>(
        &mut self,
        scope: Scope<'_>,
        name: &str,
    ) -> Option<Option<T>> {
        let key = self.key(scope, name)?;
        let Kind::WordOr(word, kind) = key.kind else {
            return None;
        };
        let value = lookup(scope, key)?;
        match &value.kind {
            ValueKind::String(text) if text == word => Some(None),
            _ => self.scalar(scope, key, kind, value).map(Some),
        }
    }

    /// A value or the word that stands for none; the outer `None` only if the table is wrong.
    pub(super) fn value_or_word<T: FromText>(
        &mut self,
        scope: Scope<'_>,
        name: &str,
    ) -> Option<Option<T>> {
        let key = self.key(scope, name)?;
        let Kind::WordOr(word, kind) = key.kind else {
            return None;
        };
        let read = |value: &Value| matches!(&value.kind, ValueKind::String(text) if text == word);
        let default = key.default.map(default_value)?;
        let fallback = if read(&default) {
            Some(None)
        } else {
            Some(T::from_text(&text_of(&default)?, kind).ok())
        };
        match lookup(scope, key) {
            None => fallback,
            Some(value) if read(value) => Some(None),
            Some(value) => match self.scalar(scope, key, kind, value) {
                Some(value) => Some(Some(value)),
                None => fallback,
            },
        }
    }

    /// The items that are right; the default if it is not a list or missing.
    pub(super) fn list<T: FromText>(&mut self, scope: Scope<'_>, name: &str) -> Option<Vec<T>> {
        let key = self.key(scope, name)?;
        let Kind::List(kind) = key.kind else {
            return None;
        };
        let default = || match default_value(key.default?).kind {
            ValueKind::Array(items) => items
                .iter()
                .map(|item| T::from_text(&text_of(item)?, kind).ok())
                .collect(),
            _ => None,
        };
        let Some(value) = lookup(scope, key) else {
            return default().or_else(|| {
                self.missing(scope, key);
                None
            });
        };
        let path = join(scope.path, name);
        match &value.kind {
            ValueKind::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (n, item) in items.iter().enumerate() {
                    let path = format!("{path}[{n}]");
                    list.extend(self.checked_scalar::<T>(&path, kind, item));
                }
                // What is wrong was said of the element: an empty list is another matter.
                if list.is_empty() && !items.is_empty() {
                    return default().or(Some(list));
                }
                Some(list)
            }
            ValueKind::String(text) if is_untyped(value) => {
                let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
                let mut list = Vec::new();
                for item in items {
                    let item = Value::new(value.origin().map(str::to_owned).as_ref(), item);
                    list.extend(self.checked_scalar::<T>(&path, kind, &item));
                }
                Some(list)
            }
            other => {
                let message = format!("must be a list, not {}", type_name(other));
                self.note(value, &path, message, "write it in brackets: [\"…\"]");
                default()
            }
        }
    }

    /// The places of everything, for checks that come later.
    pub(super) fn places(&self) -> Places {
        let mut variables = BTreeMap::new();
        collect_variables(&self.layers.merged, "", &mut variables);
        Places {
            file: self.file.to_owned(),
            lines: self.layers.lines.clone(),
            variables,
        }
    }

    /// The key of an asked-for name.
    fn key(&mut self, scope: Scope<'_>, name: &str) -> Option<&'static Key> {
        let key = keys::find(&format!("{}{name}", scope.prefix))?;
        self.asked.insert(key.name);
        Some(key)
    }

    fn scalar<T: FromText>(
        &mut self,
        scope: Scope<'_>,
        key: &Key,
        kind: &Kind,
        value: &Value,
    ) -> Option<T> {
        let name = key.name.strip_prefix(scope.prefix).unwrap_or(key.name);
        self.checked_scalar(&join(scope.path, name), kind, value)
    }

    fn checked_scalar<T: FromText>(&mut self, path: &str, kind: &Kind, value: &Value) -> Option<T> {
        let fits = match (&value.kind, kind) {
            (ValueKind::String(_), Kind::Bool | Kind::Count(..)) => is_untyped(value),
            (ValueKind::String(_), _) | (ValueKind::Boolean(_), Kind::Bool) => true,
            (ValueKind::I64(_) | ValueKind::I128(_), Kind::Count(..)) => true,
            _ => false,
        };
        let Some(text) = text_of(value).filter(|_| fits) else {
            let message = format!(
                "must be {}, not {}",
                kind.describe(),
                type_name(&value.kind)
            );
            self.note(value, path, message, type_remedy(kind));
            return None;
        };
        match T::from_text(&text, kind) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                let remedy = format!("it takes {}", kind.describe());
                self.note(value, path, format!("\"{text}\" {why}"), &remedy);
                None
            }
        }
    }

    fn missing(&mut self, scope: Scope<'_>, key: &Key) {
        let (section, last) = key.split();
        let place = self.places().of(scope.path);
        self.problems.push(Problem::error(
            place,
            scope.path,
            format!("{last} is missing"),
            &format!("every [[{section}]] needs {}", key.kind.describe()),
        ));
    }

    /// A value that its own type does not rule out.
    pub(super) fn refuse(&mut self, path: &str, message: String, remedy: &str) {
        let place = self.places().of(path);
        self.problems
            .push(Problem::error(place, path, message, remedy));
    }

    fn note(&mut self, value: &Value, path: &str, message: String, remedy: &str) {
        let place = place(value.origin(), self.file);
        self.problems
            .push(Problem::error(place, path, message, remedy));
    }

    fn refuse_unknown_below(&mut self, path: &str, value: &Value) {
        if keys::find(path).is_some() {
            return;
        }
        let inner = format!("{path}.");
        let is_section = keys::all().any(|key| key.name.starts_with(&inner));
        match (is_section, table(value)) {
            (true, Some(_)) => {
                for (name, value) in sorted(value) {
                    self.refuse_unknown_below(&join(path, name), value);
                }
            }
            (true, None) => {
                let message = format!("is a section, not {}", type_name(&value.kind));
                self.note(
                    value,
                    path,
                    message,
                    &format!("write [{path}] and keys below it"),
                );
            }
            (false, _) => self.unknown(path, value),
        }
    }

    fn refuse_unknown_in_entries(&mut self, section: &str, value: &Value) {
        let remedy = format!("write [[{section}]] in double brackets");
        let ValueKind::Array(entries) = &value.kind else {
            let place = self.places().of(section);
            let message = "may stand more than once".into();
            self.problems
                .push(Problem::error(place, section, message, &remedy));
            return;
        };
        for (n, entry) in entries.iter().enumerate() {
            let path = format!("{section}[{n}]");
            if table(entry).is_none() {
                let message = format!("must be a table, not {}", type_name(&entry.kind));
                self.note(entry, &path, message, &remedy);
            }
            for (name, value) in sorted(entry) {
                let key = format!("{section}.{name}");
                if keys::find(&key).is_none() {
                    self.unknown_in(&join(&path, name), &key, value);
                }
            }
        }
    }

    fn unknown(&mut self, path: &str, value: &Value) {
        self.unknown_in(path, path, value);
    }

    fn unknown_in(&mut self, path: &str, name: &str, value: &Value) {
        let places = match place(value.origin(), self.file) {
            Place::Default => self.places().of_all(path),
            known => vec![known],
        };
        let is_table = table(value).is_some();
        let sections = keys::all().map(|key| key.split().0);
        let guess = if is_table {
            nearest(name, sections)
        } else {
            nearest(name, keys::all().map(|key| key.name))
        };
        let last = path.rsplit('.').next().unwrap_or(path).replace('_', "-");
        let absent = ABSENT.iter().find(|(name, _)| *name == last);
        let remedy = match (absent, guess) {
            (Some((_, why)), _) => (*why).to_owned(),
            (None, Some(guess)) => format!("did you mean {guess}?"),
            (None, None) => "remove it; docs/configuration.md lists all keys".to_owned(),
        };
        let what = if is_table { "section" } else { "key" };
        for place in places {
            let message = format!("no such {what}");
            self.problems
                .push(Problem::error(place, path, message, &remedy));
        }
    }
}

/// What is absent on purpose: whoever asks for it learns why.
const ABSENT: [(&str, &str); 3] = [
    // Row G3-06.
    ("trust-ptr", NO_NAMES),
    ("relay-domains", NO_NAMES),
    ("relay-hosts", NO_NAMES),
];
const NO_NAMES: &str = "nobody may relay by a name: whoever owns an address writes what its reverse DNS says, and \
    whoever sends writes the sender; list addresses in access.relay-networks, or let clients log in";

impl<'a> Scope<'a> {
    /// The scope of one entry; `prefix` is `section.`.
    pub(super) const fn entry(table: &'a Value, prefix: &'a str, path: &'a str) -> Self {
        Self {
            table,
            prefix,
            path,
        }
    }
}

impl Places {
    /// Where a section was begun: the line, or every variable that is for something in it.
    fn of_all(&self, path: &str) -> Vec<Place> {
        let inner = format!("{path}.");
        let below = self.variables.iter().filter(|(p, _)| p.starts_with(&inner));
        let below: Vec<_> = below.map(|(_, v)| Place::Variable(v.clone())).collect();
        match self.of(path) {
            Place::Default if !below.is_empty() => below,
            known => vec![known],
        }
    }

    /// Where the value at this path was set.
    pub(super) fn of(&self, path: &str) -> Place {
        if let Some(name) = self.variables.get(path) {
            return Place::Variable(name.clone());
        }
        match self.lines.get(path) {
            Some(line) => Place::Line(self.file.clone(), *line),
            None => Place::Default,
        }
    }
}

fn lookup<'v>(scope: Scope<'v>, key: &Key) -> Option<&'v Value> {
    let name = key.name.strip_prefix(scope.prefix)?;
    name.split('.')
        .try_fold(scope.table, |value, part| table(value)?.get(part))
}

fn from_default<T: FromText>(key: &Key) -> Option<T> {
    let default = default_value(key.default?);
    T::from_text(&text_of(&default)?, &key.kind).ok()
}

fn table(value: &Value) -> Option<&Map<String, Value>> {
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// In a fixed order, since the map has none.
fn sorted(value: &Value) -> Vec<(&str, &Value)> {
    let mut rows: Vec<(&str, &Value)> = table(value)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    rows.sort_by_key(|(name, _)| *name);
    rows
}

fn text_of(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        ValueKind::Boolean(value) => Some(value.to_string()),
        ValueKind::I64(number) => Some(number.to_string()),
        ValueKind::I128(number) => Some(number.to_string()),
        _ => None,
    }
}

fn collect_variables(value: &Value, path: &str, variables: &mut BTreeMap<String, String>) {
    if let Some(name) = value.origin().and_then(|o| o.strip_prefix("env:")) {
        variables.insert(path.to_owned(), name.to_owned());
    }
    for (name, value) in table(value).into_iter().flatten() {
        collect_variables(value, &join(path, name), variables);
    }
}

const fn type_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a number"
        }
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::String(_) => "text",
        ValueKind::Table(_) => "a section",
        ValueKind::Array(_) => "a list",
    }
}

const fn type_remedy(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Count(..) => "write it without quotes",
        _ => "write it in quotes",
    }
}

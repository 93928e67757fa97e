//! From files and variables to settings that the server can start with.

use std::io;
use std::path::{Path, PathBuf};

use mail_types::{Domain, Timestamp};

use crate::changes::Values;
use crate::problem::{ConfigError, Place, Problem, Severity};
use crate::reader::Reader;
use crate::settings::Settings;
use crate::{build, check, files, hostname, layers};

/// Everything that a configuration is made from, so that a test can say what the system says.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and text of the file.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The system's node name (uname).
    pub node: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// Now, for rules that end.
    pub now: Timestamp,
}

/// A configuration that the server can start with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its values.
    pub settings: Settings,
    /// What is worth a line in the log.
    pub warnings: Vec<Problem>,
    /// Every key as it is written, to tell what a reload changes.
    pub values: Values,
}

/// Merges, reads and checks a configuration.
///
/// # Errors
/// Everything that is wrong with it, warnings included, in the order of the file.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let file = sources
        .file
        .as_ref()
        .map(|(path, text)| (path.display().to_string(), text.as_str()));
    let named = file.as_ref().map(|(name, text)| (name.as_str(), *text));
    let (layers, mut problems) = layers::merge(named, &sources.environment);
    let Some(layers) = layers else {
        return Err(ConfigError(problems));
    };
    let name = named.map_or("", |(name, _)| name);
    let mut reader = Reader::new(name, &layers);
    reader.refuse_unknown();
    let system_name = hostname::system_name(&sources.node, &sources.hosts);
    let built = build::build(&mut reader, system_name);
    let places = reader.places();
    problems.append(&mut reader.problems);
    let Some(mut built) = built else {
        problems.push(Problem::error(
            Place::Default,
            "",
            "a key has no usable default".into(),
            "this is a fault of this program: please report it",
        ));
        return Err(ConfigError(problems));
    };
    let refused: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
    let mut judged = check::check(&built, &places, sources.now);
    // What was refused has no value that could be judged.
    judged.retain(|p| {
        p.key.is_empty()
            || JUDGED_IN_PART.contains(&&*p.key)
            || !refused.iter().any(|key| is_part(key, &p.key))
    });
    problems.append(&mut judged);
    problems.append(&mut files::check(&built, &places));
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(ConfigError(problems));
    }
    built.settings.file = sources.file.as_ref().map(|(path, _)| path.clone());
    Ok(Loaded {
        settings: built.settings,
        warnings: problems,
        values: Values::of(&layers),
    })
}

/// The control socket alone, for the commands that talk to a running server: they must work for
/// operators who may not read keys and passwords, and beside a file that is being edited. Without
/// a file it is where the defaults and the environment say.
///
/// # Errors
/// The named file cannot be read, or what it says of `admin.socket` is wrong.
pub fn control_socket(config: Option<&Path>) -> Result<PathBuf, ConfigError> {
    alone(config, |r| r.value(r.whole(), "admin.socket"))
}

/// `access.users-file` alone, for the command that makes the file: the whole configuration is not
/// valid before.
///
/// # Errors
/// As [`control_socket`].
pub fn users_file(config: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    alone(config, |r| Some(r.optional(r.whole(), "access.users-file")))
}

fn alone<T>(
    config: Option<&Path>,
    value: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Result<T, ConfigError> {
    let path = match config {
        Some(path) => Some(path.to_owned()),
        None => visible_file(),
    };
    let file = match path {
        Some(path) => Some((path.display().to_string(), read(&path)?)),
        None => None,
    };
    let named = file
        .as_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let (layers, problems) = layers::merge(named, &environment()?);
    let Some(layers) = layers else {
        return Err(ConfigError(problems));
    };
    let mut reader = Reader::new(named.map_or("", |(name, _)| name), &layers);
    match value(&mut reader) {
        Some(value) if reader.problems.is_empty() => Ok(value),
        _ => Err(ConfigError(reader.problems)),
    }
}

/// The values alone, with nothing looked up in the file system: for programs of users who may
/// not read keys and passwords. Without a file they are the defaults.
///
/// # Errors
/// The file that was named, or the standard one that is there, cannot be read, or a value is wrong.
pub fn values(config: Option<&Path>) -> Result<Settings, ConfigError> {
    match config {
        Some(path) => values_of(Some(path), hostname::system_name),
        None => values_of(standard_file().ok().as_deref(), hostname::system_name),
    }
}

/// The same for those who have said what they need: a standard file that they may not read counts as
/// not there, and the system's name is good enough whatever it is.
///
/// # Errors
/// The file that was named cannot be read, or a value is wrong.
pub fn visible_values(config: Option<&Path>) -> Result<Settings, ConfigError> {
    match config {
        Some(path) => values_of(Some(path), hostname::local_name),
        None => values_of(visible_file().as_deref(), hostname::local_name),
    }
}

fn values_of(
    path: Option<&Path>,
    own_name: fn(&str, &str) -> Option<Domain>,
) -> Result<Settings, ConfigError> {
    let file = match path {
        Some(path) => Some((path.display().to_string(), read(path)?)),
        None => None,
    };
    let named = file
        .as_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let (layers, mut problems) = layers::merge(named, &environment()?);
    let Some(layers) = layers else {
        return Err(ConfigError(problems));
    };
    let mut reader = Reader::new(named.map_or("", |(name, _)| name), &layers);
    let uname = rustix::system::uname();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own_name = own_name(&uname.nodename().to_string_lossy(), &hosts);
    let built = build::build(&mut reader, own_name);
    problems.append(&mut reader.problems);
    match built {
        Some(built) if !problems.iter().any(|p| p.severity == Severity::Error) => {
            Ok(built.settings)
        }
        _ => Err(ConfigError(problems)),
    }
}

impl Sources {
    /// What this system and this process have: the file that was named, or else the first that is
    /// there of `/etc/sealpost/sealpost.toml` and `config/sealpost.toml`.
    ///
    /// # Errors
    /// The file cannot be read, or there is none, or a variable is not UTF-8.
    pub fn of_system(config: Option<&Path>, now: Timestamp) -> Result<Self, ConfigError> {
        let path = match config {
            Some(path) => path.to_owned(),
            None => standard_file()?,
        };
        let text = read(&path)?;
        Ok(Self {
            file: Some((path, text)),
            environment: environment()?,
            node: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            hosts: std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
            now,
        })
    }
}

/// Lists of which only this is said, that they are too wide: they are so whatever else is in them.
const JUDGED_IN_PART: [&str; 4] = [
    "access.relay-networks",
    "access.xforward-hosts",
    "access.xclient-hosts",
    "access.proxy-hosts",
];

/// Whether a key is this one or something in it: `listener[0].address[1]` in `listener[0].address`.
fn is_part(key: &str, whole: &str) -> bool {
    let rest = key.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let problem =
        |place, message, remedy| ConfigError(vec![Problem::error(place, "", message, remedy)]);
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let remedy = "let this user read it, or give a readable file with --config";
        let place = Place::File(name.clone());
        problem(place, format!("cannot be read: {error}"), remedy)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|octet| **octet == b'\n').count();
        let place = Place::Line(name, line);
        problem(place, "is not UTF-8".into(), "write the file as UTF-8 text")
    })
}

/// Whether there is a file where one is read that nobody has named.
#[must_use]
pub fn has_standard_file() -> bool {
    standard_file().is_ok()
}

/// The standard file, unless this user may not read it.
fn visible_file() -> Option<PathBuf> {
    let hidden = |path: &PathBuf| {
        std::fs::File::open(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    };
    standard_file().ok().filter(|path| !hidden(path))
}

/// One that cannot be looked at is there as well: whoever reads it says why it cannot be read, and
/// nothing else takes its place.
fn standard_file() -> Result<PathBuf, ConfigError> {
    STANDARD_FILES
        .iter()
        .map(PathBuf::from)
        .find(|path| match std::fs::metadata(path) {
            Ok(_) => true,
            Err(e) => !matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        })
        .ok_or_else(|| {
            ConfigError(vec![Problem::error(
                Place::Default,
                "",
                format!(
                    "no configuration: neither {} is there",
                    STANDARD_FILES.join(" nor ")
                ),
                "name a file with --config",
            )])
        })
}

fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|n| n.starts_with("SEALPOST__")) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(_) => problems.push(Problem::error(
                Place::Variable(name.to_owned()),
                "",
                "is not UTF-8".into(),
                "set it to text",
            )),
        }
    }
    if problems.is_empty() {
        Ok(variables)
    } else {
        Err(ConfigError(problems))
    }
}

const STANDARD_FILES: [&str; 2] = ["/etc/sealpost/sealpost.toml", "config/sealpost.toml"];

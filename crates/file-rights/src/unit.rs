//! What the unit `sealpost.service` makes of the file system: who the server runs as, what it does not
//! see, and where it may write. Of systemd.exec(5) only what the shipped unit sets, and what opens that again.

use std::fs;
use std::path::{Path, PathBuf};

/// The unit with its drop-ins, as far as it is read.
#[derive(Debug, Default)]
pub(crate) struct Unit(Vec<(String, String)>);

impl Unit {
    /// The one that systemd would start. `None`: there is none.
    pub(crate) fn installed() -> Option<Self> {
        let units = UNITS.iter().map(Path::new);
        let text = units
            .clone()
            .find_map(|directory| fs::read_to_string(directory.join("sealpost.service")).ok())?;
        let mut more: Vec<PathBuf> = units
            .filter_map(|directory| fs::read_dir(directory.join("sealpost.service.d")).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|kind| kind == "conf"))
            .collect();
        more.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        // Of several with one name only the first counts: its directory goes before (systemd.unit(5)).
        more.dedup_by(|a, b| a.file_name() == b.file_name());
        let more = more.iter().filter_map(|path| fs::read_to_string(path).ok());
        Some(Self::of(std::iter::once(text).chain(more)))
    }

    /// From the text of the unit and of its drop-ins, in their order.
    pub(crate) fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<(String, String)> = Vec::new();
        for text in texts {
            let lines = joined(&text);
            for (key, value) in lines.iter().filter_map(|line| line.split_once('=')) {
                let (key, value) = (key.trim(), value.trim());
                // An empty value takes back what was said before.
                if value.is_empty() {
                    all.retain(|(before, _)| before != key);
                }
                all.push((key.to_owned(), value.to_owned()));
            }
        }
        Self(all)
    }

    fn one(&self, key: &str) -> Option<&str> {
        let mut all = self.0.iter().rev().filter(|(name, _)| name == key);
        all.next().map(|(_, value)| value.as_str())
    }

    /// What `Group=` and `SupplementaryGroups=` name.
    pub(crate) fn groups(&self) -> Vec<String> {
        let names = self.words("Group").chain(self.words("SupplementaryGroups"));
        names.map(str::to_owned).collect()
    }

    fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        let all = self.0.iter().filter(move |(name, _)| name == key);
        all.flat_map(|(_, value)| unquoted(value))
    }

    /// Whom the server runs as.
    pub(crate) fn user(&self) -> Option<&str> {
        self.one("User").filter(|user| !user.is_empty())
    }

    /// Whether it is this configuration that it starts the server with.
    pub(crate) fn serves(&self, config: &Path) -> bool {
        let start = self.one("ExecStart").unwrap_or_default();
        let mut words = unquoted(start);
        let named = words.find_map(|word| match word.strip_prefix("--config") {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        });
        let named = match named {
            Some("") => words.next().unwrap_or_default(),
            Some(named) => named,
            None => STANDARD_FILE,
        };
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        real(Path::new(named)) == real(config)
    }

    /// The setting that keeps the server from seeing a path.
    pub(crate) fn hides(&self, path: &Path) -> Option<&'static str> {
        let bound = ["BindPaths", "BindReadOnlyPaths"];
        if bound.iter().any(|key| self.covers(key, path)) {
            return None;
        }
        let below = |directories: &[&str]| directories.iter().any(|d| path.starts_with(d));
        let is_set = |key| self.one(key).is_some_and(|value| HIDING.contains(&value));
        if is_set("ProtectHome") && below(&HOMES) {
            return Some("ProtectHome=");
        }
        (is_set("PrivateTmp") && below(&TEMPORARY)).then_some("PrivateTmp=")
    }

    /// Whether the server can write nowhere below a path, whoever owns it.
    pub(crate) fn is_read_only(&self, path: &Path) -> bool {
        if self.one("ProtectSystem") != Some("strict") {
            return false;
        }
        let own = DIRECTORIES.iter().any(|(key, above)| {
            let mut names = self.words(key);
            names.any(|name| path.starts_with(Path::new(above).join(name)))
        });
        let listed = ["ReadWritePaths", "BindPaths"];
        let listed = listed.iter().any(|key| self.covers(key, path));
        let always = ["/dev", "/proc", "/sys"];
        !own && !listed && !always.iter().any(|above| path.starts_with(above))
    }

    /// The directory of state that systemd makes and gives to the server's user, if the path lies in one.
    pub(crate) fn state(&self, path: &Path) -> Option<PathBuf> {
        let names = self.words("StateDirectory");
        let mut directories = names.map(|name| Path::new("/var/lib").join(name));
        directories.find(|directory| path.starts_with(directory))
    }

    /// Whether a list of paths has this one, or one above it. With specifiers it may.
    fn covers(&self, key: &str, path: &Path) -> bool {
        self.words(key).any(|listed| {
            let listed = listed.trim_start_matches(['-', '+']);
            // Of SOURCE:DESTINATION:OPTIONS it is the second that the server sees.
            let mut parts = listed.split(':');
            let first = parts.next().unwrap_or_default();
            listed.contains('%') || path.starts_with(parts.next().unwrap_or(first))
        })
    }
}

/// Its lines without comments. One that ends with a backslash goes on in the next that is no comment, with a space in
/// its stead (systemd.syntax(7)).
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    let is_comment = |line: &&str| line.starts_with(['#', ';']);
    for line in text.lines().map(str::trim).filter(|line| !is_comment(line)) {
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some(begun) => {
                begun.push(' ');
                begun.push_str(part);
            }
            None => lines.push(part.to_owned()),
        }
        goes_on = more;
    }
    lines
}

/// The words of a value; quotes around a word are no part of it, and spaces between them are.
fn unquoted(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let (word, after) = match first {
            '"' | '\'' => {
                let inner = rest.get(1..)?;
                inner.split_once(first).unwrap_or((inner, ""))
            }
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        rest = after;
        Some(word)
    })
}

const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const STANDARD_FILE: &str = "/etc/sealpost/sealpost.toml";
const HIDING: [&str; 6] = ["yes", "true", "on", "1", "tmpfs", "disconnected"];
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// Directories of the service's own, and where they are.
const DIRECTORIES: [(&str, &str); 5] = [
    ("StateDirectory", "/var/lib"),
    ("LogsDirectory", "/var/log"),
    ("CacheDirectory", "/var/cache"),
    ("RuntimeDirectory", "/run"),
    ("ConfigurationDirectory", "/etc"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(texts: &[&str]) -> Unit {
        Unit::of(texts.iter().map(|&text| text.to_owned()))
    }

    fn shipped() -> String {
        let file = "../../deploy/systemd/sealpost.service";
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
    }

    #[test]
    fn the_shipped_unit_is_understood() {
        let unit = unit(&[&shipped()]);
        assert_eq!(unit.user(), Some("sealpost"));
        assert_eq!(unit.groups(), ["sealpost-admin", "sealpost"]);
        assert!(unit.serves(Path::new("/etc/sealpost/sealpost.toml")));
        assert!(!unit.serves(Path::new("/srv/other.toml")));
        let hides = |path: &str| unit.hides(Path::new(path));
        assert_eq!(hides("/home/ann/key.pem"), Some("ProtectHome="));
        assert_eq!(hides("/root/key.pem"), Some("ProtectHome="));
        assert_eq!(hides("/tmp/key.pem"), Some("PrivateTmp="));
        assert_eq!(hides("/etc/sealpost/key.pem"), None);
        for (path, read_only) in [
            ("/var/lib/sealpost", false),
            ("/var/lib/sealpost/a", false),
            ("/var/log/sealpost/events", false),
            ("/dev/stdout", false),
            ("/srv/mail", true),
            ("/var/lib/sealpost2", true),
            ("/var/log/events", true),
        ] {
            assert_eq!(unit.is_read_only(Path::new(path)), read_only, "{path}");
        }
        assert!(unit.state(Path::new("/var/lib/sealpost/a")).is_some());
        assert!(unit.state(Path::new("/srv/mail")).is_none());
    }

    #[test]
    fn drop_ins_open_what_the_unit_has_closed() {
        let more = "[Service]\n# ProtectSystem=full\nProtectHome=read-only\nPrivateTmp=no\n\
            ReadWritePaths=-/srv/mail /srv/log\nBindPaths=/data/a:/home/b\nExecStart=\n\
            ExecStart=/usr/bin/sealpost serve --config=/srv/other.toml\nUser=\n";
        let unit = unit(&[&shipped(), more]);
        for path in ["/home/ann/k", "/tmp/k"] {
            assert_eq!(unit.hides(Path::new(path)), None, "{path}");
        }
        for (path, read_only) in [
            ("/srv/mail/q", false),
            ("/home/b/q", false),
            ("/data/a/q", true),
        ] {
            assert_eq!(unit.is_read_only(Path::new(path)), read_only, "{path}");
        }
        assert!(unit.serves(Path::new("/srv/other.toml")));
        assert_eq!(unit.user(), None);
    }

    #[test]
    fn lines_go_on_behind_a_backslash_and_quotes_are_no_part_of_words() {
        let more = "[Service]\nReadWritePaths=/srv/a \\\n  # not this: \\\n  \"/srv/with space\" \\\n/srv/c\n\
            ExecStart=\nExecStart=/usr/bin/sealpost serve \\\n  --config \"/srv/other one.toml\"\n";
        let unit = unit(&[&shipped(), more]);
        for (path, read_only) in [
            ("/srv/a/q", false),
            ("/srv/with space/q", false),
            ("/srv/c/q", false),
            ("/srv/with", true),
        ] {
            assert_eq!(unit.is_read_only(Path::new(path)), read_only, "{path}");
        }
        assert!(unit.serves(Path::new("/srv/other one.toml")));
    }
}

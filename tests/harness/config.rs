//! The relay's configuration file, made for a test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use testkit::TestCa;

/// Keys and values that become `sealpost.toml`.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Raw TOML values by table and key.
    tables: BTreeMap<String, BTreeMap<String, String>>,
    /// Raw TOML at the end, for `[[route]]` and the like.
    more: String,
    listen: SocketAddr,
    http: SocketAddr,
}

impl Default for RelayConfig {
    /// For a small internet on 127.0.0.0/8: DNS at 127.0.0.53:53, mail in at 127.0.0.1:2525, HTTP at
    /// 127.0.0.1:8025, quick retries, JSON events.
    fn default() -> Self {
        let config = Self {
            tables: BTreeMap::new(),
            more: String::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 2525)),
            http: SocketAddr::from(([127, 0, 0, 1], 8025)),
        };
        config
            .set("server.hostname", r#""relay.test""#)
            .set("server.drain-timeout", r#""5s""#)
            .set("dns.servers", r#"["127.0.0.53:53"]"#)
            .set("egress.allow-special-use", r#"["127.0.0.0/8"]"#)
            .set("queue.retry", r#"["1s"]"#)
            .set("log.format", r#""json""#)
            .set("log.level", r#""info""#)
    }
}

impl RelayConfig {
    /// Trusts the test's authority besides the usual roots.
    #[must_use]
    pub fn trust(self, ca: &TestCa) -> Self {
        let path = quoted(ca.root_path());
        self.set("tls.dangerous-extra-roots", &format!("[{path}]"))
    }

    /// Sets `table.key` to a value in TOML's own notation: `"\"text\""`, `"7"`, `"[1, 2]"`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let (table, key) = key.rsplit_once('.').expect("table.key");
        self.tables
            .entry(table.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds TOML at the end of the file: `[[route]]`, `[[domain]]`, further listeners.
    #[must_use]
    pub fn append(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// Where mail comes in.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http(mut self, address: SocketAddr) -> Self {
        self.http = address;
        self
    }

    pub(crate) fn listen_address(&self) -> SocketAddr {
        self.listen
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The file's text, for a relay that lives in `folder`.
    pub fn text(&self, folder: &Path) -> String {
        let whole = self
            .clone()
            .set("server.data-dir", &quoted(&folder.join("data")))
            .set("admin.socket", &quoted(&folder.join("control.sock")))
            .set("admin.http", &format!("\"{}\"", self.http))
            .set("log.file", &quoted(&folder.join("events.log")));
        let mut text = String::new();
        for (table, keys) in &whole.tables {
            let _ = writeln!(text, "[{table}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        let _ = writeln!(
            text,
            "[[listener]]\nname = \"relay\"\naddress = [\"{}\"]\nrole = \"relay\"\ntls = \"off\"",
            self.listen
        );
        text.push_str(&self.more);
        text
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_win_and_tables_are_whole() {
        let text = RelayConfig::default()
            .set("queue.retry", r#"["2s"]"#)
            .append("[[route]]\nrecipient-domain = \"d.test\"")
            .text(Path::new("/x"));
        assert!(text.contains("retry = [\"2s\"]") && !text.contains("[\"1s\"]"));
        assert_eq!(text.matches("[server]").count(), 1);
        assert!(text.contains("data-dir = \"/x/data\""), "{text}");
        assert!(text.ends_with("recipient-domain = \"d.test\"\n"));
    }

    #[test]
    fn the_server_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let ca = TestCa::new();
        let text = RelayConfig::default()
            .trust(&ca)
            .append(
                "[[route]]\nrecipient-domain = \"org.test\"\nrelay = \"[127.0.0.1]:25\"\n\
                 tls = \"dangerous-off\"",
            )
            .text(folder.path());
        let sources = settings::Sources {
            file: Some((folder.path().join("sealpost.toml"), text.clone())),
            ..settings::Sources::default()
        };
        let loaded = settings::load(&sources).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
        assert_eq!(loaded.settings.server.hostname.to_string(), "relay.test");
    }
}

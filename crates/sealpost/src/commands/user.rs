//! `sealpost user`: changes the users file, without the daemon.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use file_rights::cannot_create;
use serde_json::json;
use users::{EditError, Name, Password, UsersFile};
use zeroize::Zeroizing;

use crate::cli::{UserAdd, UserCommand};
use crate::exit::{Failure, Status};
use terminal::Output;

/// Runs one of the commands.
pub(super) fn run(config: Option<&Path>, command: UserCommand) -> anyhow::Result<Status> {
    let file = file(config)?;
    let mut out = Output::stdout();
    match command {
        UserCommand::Add(add) => add_user(&file, &add, &mut out)?,
        UserCommand::Remove { name } => {
            let name = parse(&name)?;
            users::remove(&file, &name).map_err(|e| fail(Status::Data, &in_full(&file, &e)))?;
            out.line(&format!("removed {name}; {RELOAD}"))?;
        }
        UserCommand::List(json) => {
            let users =
                UsersFile::read(&file).map_err(|e| fail(Status::Data, &in_full(&file, &e)))?;
            for user in users.users() {
                let (name, scram) = (user.name.as_str(), user.has_scram());
                if json.json {
                    out.json(&json!({ "name": name, "scram": scram }))?;
                } else {
                    let how = if scram { "" } else { " (PLAIN and LOGIN only)" };
                    out.line(&format!("{name}{how}"))?;
                }
            }
        }
    }
    out.flush()?;
    Ok(Status::Ok)
}

/// A file that is not there yet is made by the first `sealpost user add`.
fn in_full(file: &Path, error: &impl std::fmt::Display) -> String {
    if file.exists() {
        error.to_string()
    } else {
        format!("{error}; the first `sealpost user add` makes it")
    }
}

fn add_user(file: &Path, add: &UserAdd, out: &mut Output) -> anyhow::Result<()> {
    let name = parse(&add.name)?;
    makeable(file)?;
    let text = match &add.password_file {
        Some(path) => {
            let text = first_line(path)?;
            if let Some(warning) = open_to_everybody(path) {
                writeln!(io::stderr(), "sealpost: {warning}")?;
            }
            text
        }
        None if io::stdin().is_terminal() => ask(&name)?,
        None => line(&mut io::stdin().lock())?,
    };
    let password = Password::choose(&text).map_err(|e| fail(Status::Data, &e))?;
    if let Some(weakness) = password.weakness(&name) {
        writeln!(io::stderr(), "sealpost: the password is weak: {weakness}")?;
    }
    let existed = file.exists();
    let new = users::add(file, &name, &password, !add.no_scram);
    let new = new.map_err(|e| match e {
        EditError::File { path, source } => not_written(&path, &source),
        e => fail(Status::CannotCreate, &e),
    })?;
    let done = if new {
        "added"
    } else {
        "changed the password of"
    };
    out.line(&format!("{done} {name}; {RELOAD}"))?;
    if !existed {
        let file = file.display();
        out.line(&format!(
            "made {file} with mode 0600: the server's user has to be able to read it"
        ))?;
    }
    Ok(())
}

/// Before anybody is asked for a password.
fn makeable(file: &Path) -> anyhow::Result<()> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(not_written(file, &io::ErrorKind::IsADirectory.into())),
        Err(error)
            if file
                .parent()
                .is_some_and(|p| !p.as_os_str().is_empty() && !p.is_dir()) =>
        {
            Err(not_written(file, &error))
        }
        _ => Ok(()),
    }
}

fn not_written(file: &Path, error: &io::Error) -> anyhow::Error {
    let text = cannot_create(file, error, "another file in access.users-file");
    fail(Status::CannotCreate, &text)
}

fn file(config: Option<&Path>) -> anyhow::Result<PathBuf> {
    settings::users_file(config)?.ok_or_else(|| {
        let text = "access.users-file is not set: name the file of the users in the configuration";
        fail(Status::Configuration, &text)
    })
}

fn parse(name: &str) -> anyhow::Result<Name> {
    Name::parse(name).map_err(|e| fail(Status::Usage, &e))
}

fn first_line(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| line_of(&mut io::BufReader::new(file)));
    read.map_err(|e| {
        fail(
            Status::Data,
            &format!("--password-file {}: {e}", path.display()),
        )
    })
}

/// A warning only: the file may be gone a moment later, and the users file keeps no password.
fn open_to_everybody(path: &Path) -> Option<String> {
    let facts = std::fs::metadata(path).ok()?;
    let mode = facts.permissions().mode() & 0o777;
    // A pipe or a terminal gives its octets once.
    (facts.is_file() && mode & 0o004 != 0).then(|| {
        let path = path.display();
        format!("--password-file {path}: everybody may read it (mode {mode:o}): remove it, or chmod 0600 it")
    })
}

fn line(input: &mut impl BufRead) -> anyhow::Result<Zeroizing<String>> {
    line_of(input).map_err(|e| fail(Status::Data, &format!("standard input: {e}")))
}

/// Room is made before, so that no copy stays behind in memory that was given back.
fn line_of(input: &mut impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    io::Read::take(input, 4096).read_line(&mut text)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

/// Twice, without showing it.
fn ask(name: &Name) -> anyhow::Result<Zeroizing<String>> {
    let first = prompt(&format!("Password for {name}: "))?;
    let second = prompt("The same again: ")?;
    if first != second {
        return Err(fail(Status::Data, &"the two are not the same"));
    }
    Ok(first)
}

fn prompt(text: &str) -> anyhow::Result<Zeroizing<String>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = io::stdin();
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let mut errors = io::stderr();
    write!(errors, "{text}")?;
    errors.flush()?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let read = line(&mut terminal.lock());
    tcsetattr(&terminal, OptionalActions::Now, &shown)?;
    writeln!(errors)?;
    read
}

fn fail(status: Status, what: &impl std::fmt::Display) -> anyhow::Error {
    Failure::new(status, what.to_string()).into()
}

const RELOAD: &str = "a running server takes it up with `sealpost reload`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_is_told_before_a_password_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| makeable(&directory.path().join(name));
        let error = at("none/users").unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.status, Status::CannotCreate);
        assert!(failure.message.contains("`mkdir -p"), "{error}");
        assert!(at("").unwrap_err().to_string().contains("is a directory"));
        assert!(at("users").is_ok());
    }

    #[test]
    fn a_password_file_that_everybody_may_read_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode.clone()).unwrap();
            let told = open_to_everybody(file.path());
            assert_eq!(told.is_some(), warned, "{mode:?}: {told:?}");
        }
        assert_eq!(open_to_everybody(Path::new("/dev/null")), None);
    }
}

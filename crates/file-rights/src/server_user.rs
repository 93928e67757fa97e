//! What the server's user could not read or write, asked by root, to whom nothing is closed.
//!
//! That user is the owner of the data directory, or, as long as there is none, the user whose home it
//! is to be. Where a permission may come from elsewhere (ACLs, groups of a user who is not in the local
//! files) nothing is said.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;
use rustix::io::Errno;

/// Who the server runs as.
#[derive(Debug)]
pub struct ServerUser(User);

/// What that user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Who may not do what, and why.
    pub message: String,
    /// The command that mends it.
    pub remedy: String,
}

impl ServerUser {
    /// Of the server with this data directory. `None` if it is not known, if it is root, or if another
    /// user than root asks: whoever meets a closed file sees that without us.
    #[must_use]
    pub fn of(data: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let accounts = Accounts {
            passwd: text("/etc/passwd"),
            group: text("/etc/group"),
            unit_groups: unit_groups(),
        };
        accounts.owner(data, Disk.facts(data)).map(Self)
    }

    /// A file of the configuration; `own`: not even a group may read it.
    #[must_use]
    pub fn cannot_read(&self, file: &Path, own: bool) -> Option<Trouble> {
        unreadable(file, own, &self.0, &Disk)
    }

    /// The data directory and what lies in it.
    #[must_use]
    pub fn cannot_write(&self, data: &Path) -> Option<Trouble> {
        unwritable(data, &self.0, &Disk)
    }

    /// The log file.
    #[must_use]
    pub fn cannot_append(&self, log: &Path) -> Option<Trouble> {
        refused_log(log, &self.0, &Disk)
    }
}

#[derive(Debug)]
struct User {
    name: String,
    uid: u32,
    /// `None`: not known.
    groups: Option<BTreeSet<u32>>,
    /// What a key may be given to.
    group: String,
}

/// Whose a file is, and who may do what with it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    uid: u32,
    gid: u32,
    mode: u32,
    /// An ACL says more than the mode.
    acl: bool,
}

/// What is looked at.
trait World {
    fn facts(&self, path: &Path) -> Option<Facts>;
    /// Where a path leads in the end.
    fn target(&self, path: &Path) -> Option<PathBuf>;
    fn entries(&self, directory: &Path) -> Vec<PathBuf>;
}

struct Disk;

impl World for Disk {
    fn facts(&self, path: &Path) -> Option<Facts> {
        let found = fs::metadata(path).ok()?;
        let acl = getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024][..]);
        Some(Facts {
            uid: found.uid(),
            gid: found.gid(),
            mode: found.mode(),
            acl: !matches!(acl, Err(Errno::NODATA | Errno::NOTSUP)),
        })
    }

    fn target(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }

    fn entries(&self, directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

fn unreadable(file: &Path, own: bool, user: &User, world: &impl World) -> Option<Trouble> {
    let path = std::path::absolute(file).ok()?;
    // systemd gives it to the service, whoever that runs as.
    if path.starts_with("/run/credentials") {
        return None;
    }
    let (at, facts) = closed(&path, READ, user, world)?;
    let name = &user.name;
    let message = if at == path || world.target(&path).as_ref() == Some(&at) {
        format!("user {name} may not read {} ({facts})", path.display())
    } else {
        format!(
            "user {name} may not read {}: {} is closed ({facts})",
            path.display(),
            at.display()
        )
    };
    let remedy = remedy(file, own, &at, facts, user);
    Some(Trouble { message, remedy })
}

fn remedy(file: &Path, own: bool, at: &Path, facts: Facts, user: &User) -> String {
    let (name, group, shown) = (&user.name, &user.group, at.display());
    if HIDDEN.iter().any(|above| at.starts_with(above)) {
        return format!(
            "put a copy into /etc/sealpost: `install -m 0640 -g {group} {} /etc/sealpost/`",
            file.display()
        );
    }
    let is_directory = facts.is(DIRECTORY);
    if own && !is_directory {
        return format!("`chown {name} {shown}`");
    }
    let wanted = if is_directory { EXEC } else { READ };
    if facts.gid != 0 && facts.mode >> 3 & wanted != 0 {
        return format!(
            "`usermod --append --groups $(stat -c %G {shown}) {name}`, and restart the server"
        );
    }
    let right = if is_directory { "x" } else { "r" };
    format!("`chgrp {group} {shown} && chmod g+{right} {shown}`")
}

/// That the data directory and what lies in it are the user's.
fn unwritable(data: &Path, user: &User, world: &impl World) -> Option<Trouble> {
    let data = std::path::absolute(data).ok()?;
    world.facts(&data)?;
    let (name, shown) = (&user.name, data.display());
    if let Some((at, facts)) = closed(&data, READ | WRITE | EXEC, user, world) {
        let message = format!(
            "user {name} may not write to {shown}: {} is closed ({facts})",
            at.display()
        );
        let remedy = match at == data {
            true => format!("`chmod u+rwx {shown}`"),
            false => format!("`chmod o+x {}`, or another server.data-dir", at.display()),
        };
        return Some(Trouble { message, remedy });
    }
    let foreign = |path: &PathBuf| {
        if path.ends_with("lost+found") {
            // Of a file system that is mounted there.
            return None;
        }
        let facts = world.facts(path)?;
        (may(facts, WRITE, user) == Some(false) && !facts.acl).then_some(facts)
    };
    let found = world
        .entries(&data)
        .into_iter()
        .find_map(|path| Some((foreign(&path)?, path)));
    let (facts, path) = found?;
    let message = format!(
        "user {name} may not write to {} ({facts}): perhaps the server has run as another user once",
        path.display()
    );
    let remedy = format!("`chown -R {name} {shown}`");
    Some(Trouble { message, remedy })
}

fn refused_log(log: &Path, user: &User, world: &impl World) -> Option<Trouble> {
    let log = std::path::absolute(log).ok()?;
    let facts = world.facts(&log)?;
    if facts.acl || may(facts, WRITE, user) != Some(false) {
        return None;
    }
    // A device such as /dev/stdout is no file of ours.
    if !facts.is(REGULAR) {
        return None;
    }
    let (name, shown) = (&user.name, log.display());
    let message = format!("user {name} may not write to {shown} ({facts})");
    let remedy = format!("`chown {name} {shown}`");
    Some(Trouble { message, remedy })
}

/// The first on the way to a path that the user cannot pass, or the path itself.
fn closed(path: &Path, wanted: u32, user: &User, world: &impl World) -> Option<(PathBuf, Facts)> {
    // What a link leads to has a way of its own.
    let target = world.target(path).filter(|target| target != path);
    let ways = [Some(path.to_owned()), target];
    let mut steps: Vec<(PathBuf, u32)> = Vec::new();
    for way in ways.into_iter().flatten() {
        let mut above: Vec<_> = way
            .ancestors()
            .skip(1)
            .map(|p| (p.to_owned(), EXEC))
            .collect();
        above.reverse();
        steps.extend(above);
        steps.push((way, wanted));
    }
    for (at, wanted) in steps {
        let Some(facts) = world.facts(&at) else {
            continue;
        };
        if may(facts, wanted, user) == Some(false) {
            // An ACL may open it, and what lies behind it is not known then.
            return (!facts.acl).then_some((at, facts));
        }
    }
    None
}

/// As the kernel decides: the first class that fits counts. `None`: it hangs on groups that are not known.
fn may(facts: Facts, wanted: u32, user: &User) -> Option<bool> {
    let allows = |bits: u32| bits & wanted == wanted;
    let (group, others) = (allows(facts.mode >> 3), allows(facts.mode));
    if facts.uid == user.uid {
        return Some(allows(facts.mode >> 6));
    }
    match &user.groups {
        Some(groups) if groups.contains(&facts.gid) => Some(group),
        Some(_) => Some(others),
        None => (group == others).then_some(group),
    }
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |id: u32| match id {
            0 => "root".to_owned(),
            id => id.to_string(),
        };
        let (owner, group) = (named(self.uid), named(self.gid));
        let mode = self.mode & 0o7777;
        write!(f, "mode {mode:04o}, owner {owner}, group {group}")
    }
}

impl Facts {
    const fn is(self, kind: u32) -> bool {
        self.mode & KIND == kind
    }
}

/// What the system says of users and groups.
struct Accounts {
    passwd: String,
    group: String,
    /// Names of groups that the unit gives the service.
    unit_groups: Vec<String>,
}

impl Accounts {
    fn owner(&self, data: &Path, found: Option<Facts>) -> Option<User> {
        let line = self
            .passwd
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>());
        let line = line
            .filter(|fields| fields.len() >= 6)
            .find(|fields| match found {
                Some(facts) => fields[2].parse() == Ok(facts.uid),
                None => Path::new(fields[5]) == data,
            });
        let uid = match (found, &line) {
            (Some(facts), _) => facts.uid,
            (None, Some(fields)) => fields[2].parse().ok()?,
            (None, None) => return None,
        };
        if uid == 0 {
            return None;
        }
        let Some(fields) = line else {
            return Some(User {
                name: uid.to_string(),
                uid,
                groups: None,
                group: found?.gid.to_string(),
            });
        };
        let (name, first) = (fields[0], fields[3].parse().ok()?);
        let mut groups = BTreeSet::from([first]);
        groups.extend(found.map(|facts| facts.gid));
        let mut group = first.to_string();
        for line in self.group.lines() {
            let fields: Vec<_> = line.split(':').collect();
            let [entry, _, gid, members] = fields[..] else {
                continue;
            };
            let Ok(gid) = gid.parse() else { continue };
            if gid == first {
                entry.clone_into(&mut group);
            }
            let given = self.unit_groups.iter().any(|g| g == entry);
            if given || members.split(',').any(|member| member == name) {
                groups.insert(gid);
            }
        }
        Some(User {
            name: name.to_owned(),
            uid,
            groups: Some(groups),
            group,
        })
    }
}

/// `Group=` and `SupplementaryGroups=` of the unit and its drop-ins.
fn unit_groups() -> Vec<String> {
    let mut names = Vec::new();
    for directory in UNITS {
        let unit = Path::new(directory).join("sealpost.service");
        let more = Disk.entries(&Path::new(directory).join("sealpost.service.d"));
        for file in std::iter::once(unit).chain(more) {
            names.extend(groups_in(&fs::read_to_string(file).unwrap_or_default()));
        }
    }
    names
}

fn groups_in(unit: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("Group=")
            .or_else(|| line.strip_prefix("SupplementaryGroups="))
    });
    values
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

const READ: u32 = 4;
const WRITE: u32 = 2;
const EXEC: u32 = 1;
/// What a mode says of the kind of file (inode(7)).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
/// `ProtectHome=yes` of the unit.
const HIDDEN: [&str; 2] = ["/home", "/root"];
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

#[cfg(test)]
mod tests;

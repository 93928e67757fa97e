//! What the server's user could not read or write, asked by root, to whom nothing is closed.
//!
//! That user is the one whom the unit `sealpost.service` names, if it is that which starts the server with
//! this configuration; else the owner of the data directory, or, as long as there is none, the user
//! whose home it is to be. What the unit hides or keeps from being written is told as well. Where a permission may come from elsewhere (ACLs, groups of a user who is not in the local
//! files) nothing is said.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;
use rustix::io::Errno;

use crate::unit::Unit;

/// Who the server runs as.
#[derive(Debug)]
pub struct ServerUser {
    user: User,
    /// If it is the unit that starts the server.
    unit: Unit,
}

/// What that user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Who may not do what, and why.
    pub message: String,
    /// The command that mends it.
    pub remedy: String,
}

impl ServerUser {
    /// Of the server with this data directory and configuration file. `None` if it is not known, if it is root, or if another
    /// user than root asks: whoever meets a closed file sees that without us.
    #[must_use]
    pub fn of(data: &Path, config: Option<&Path>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let installed = Unit::installed().unwrap_or_default();
        let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let accounts = Accounts {
            passwd: text("/etc/passwd"),
            group: text("/etc/group"),
            unit_groups: installed.groups(),
        };
        let serves = config.is_some_and(|file| installed.serves(file));
        let unit = if serves { installed } else { Unit::default() };
        accounts.server(data, Disk.facts(data), unit)
    }

    /// A file of the configuration; `own`: not even a group may read it.
    #[must_use]
    pub fn cannot_read(&self, file: &Path, own: bool) -> Option<Trouble> {
        unseen(file, &self.unit, &self.user, &Disk)
            .or_else(|| unreadable(file, own, &self.user, &Disk))
    }

    /// The data directory and what lies in it.
    #[must_use]
    pub fn cannot_write(&self, data: &Path) -> Option<Trouble> {
        read_only(data, &self.unit, "/var/lib/sealpost")
            .or_else(|| unwritable(data, &self.unit, &self.user, &Disk))
    }

    /// The log file.
    #[must_use]
    pub fn cannot_append(&self, log: &Path) -> Option<Trouble> {
        read_only(log, &self.unit, "/var/log/sealpost")
            .or_else(|| refused_log(log, &self.user, &Disk))
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

/// What the unit hides, whatever modes and owners say.
fn unseen(file: &Path, unit: &Unit, user: &User, world: &impl World) -> Option<Trouble> {
    let path = std::path::absolute(file).ok()?;
    let target = world.target(&path);
    let ways = [Some(&path), target.as_ref()];
    let setting = ways.into_iter().flatten().find_map(|way| unit.hides(way))?;
    Some(Trouble {
        message: format!(
            "the server does not see {}: {setting} of sealpost.service hides it",
            path.display()
        ),
        remedy: copied(file, &user.group),
    })
}

fn copied(file: &Path, group: &str) -> String {
    format!(
        "put a copy into /etc/sealpost: `install -m 0640 -g {group} {} /etc/sealpost/`",
        file.display()
    )
}

/// What the unit keeps from being written, whatever modes and owners say; `below`: where the server may.
fn read_only(path: &Path, unit: &Unit, below: &str) -> Option<Trouble> {
    let path = std::path::absolute(path).ok()?;
    let shown = path.display();
    let (setting, open) = match unit.hides(&path) {
        Some(setting) => (setting, ""),
        None if unit.is_read_only(&path) => (
            "ProtectSystem=strict",
            ", or open its directory with ReadWritePaths= in `systemctl edit sealpost`",
        ),
        None => return None,
    };
    Some(Trouble {
        message: format!(
            "the server may not write to {shown}: {setting} of sealpost.service keeps it from that"
        ),
        remedy: format!("name another below {below}{open}"),
    })
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
        return copied(file, group);
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
fn unwritable(data: &Path, unit: &Unit, user: &User, world: &impl World) -> Option<Trouble> {
    let data = std::path::absolute(data).ok()?;
    world.facts(&data)?;
    let state = unit.state(&data).and_then(|state| world.facts(&state));
    if state.is_some_and(|state| state.uid != user.uid) {
        // systemd gives it to the user when the service starts, with all that is in it.
        return None;
    }
    let (name, shown) = (&user.name, data.display());
    if let Some((at, facts)) = closed(&data, READ | WRITE | EXEC, user, world) {
        let message = format!(
            "user {name} may not write to {shown}: {} is closed ({facts})",
            at.display()
        );
        let remedy = match at == data {
            true if facts.uid == user.uid => format!("`chmod u+rwx {shown}`"),
            true => format!("`chown -R {name} {shown}`"),
            false => format!("`chmod o+x {}`, or another server.data-dir", at.display()),
        };
        return Some(Trouble { message, remedy });
    }
    let foreign = |path: &PathBuf| {
        // What else lies there is nobody's business: `lost+found`, or what root keeps beside.
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| OURS.contains(&name)) {
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
    fn server(&self, data: &Path, found: Option<Facts>, unit: Unit) -> Option<ServerUser> {
        let uid = unit.user().map(|name| self.uid(name));
        let user = match uid {
            // Whose the directory is decides nothing then: it may have been made by root.
            Some(Some(uid)) => {
                let gid = found.filter(|facts| facts.uid == uid).map(|f| f.gid);
                let owner = Facts {
                    uid,
                    gid: gid.or_else(|| self.first_group(uid))?,
                    mode: 0,
                    acl: false,
                };
                self.owner(data, Some(owner))?
            }
            // A user whom systemd makes, or a directory service knows.
            Some(None) => return None,
            None => self.owner(data, found)?,
        };
        Some(ServerUser { user, unit })
    }

    fn field(&self, n: usize, is: &str, wanted: usize) -> Option<u32> {
        let mut lines = self
            .passwd
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>());
        let line = lines.find(|fields| fields.get(n).is_some_and(|field| *field == is))?;
        line.get(wanted)?.parse().ok()
    }

    fn uid(&self, name: &str) -> Option<u32> {
        let number = name.parse().ok();
        number.or_else(|| self.field(0, name, 2))
    }

    fn first_group(&self, uid: u32) -> Option<u32> {
        self.field(2, &uid.to_string(), 3)
    }

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

const READ: u32 = 4;
const WRITE: u32 = 2;
const EXEC: u32 = 1;
/// What a mode says of the kind of file (inode(7)).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
/// `ProtectHome=yes` of the unit.
const HIDDEN: [&str; 2] = ["/home", "/root"];
/// What the server keeps in the data directory.
const OURS: [&str; 10] = [
    "LOCK",
    "auth-secret",
    "clock",
    "clock.new",
    "delivery",
    "dnssec-works",
    "known-logins",
    "known-logins.new",
    "policies",
    "queue",
];

#[cfg(test)]
mod tests;

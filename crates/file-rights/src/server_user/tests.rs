use std::collections::BTreeMap;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    sealpost:x:990:990::/var/lib/sealpost:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsealpost:x:990:\nssl-cert:x:110:a,sealpost\nkeys:x:111:a\n\
    sealpost-admin:x:991:sealpost\n";

#[derive(Default)]
struct Fake {
    files: BTreeMap<PathBuf, Facts>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Fake {
    fn with(mut self, path: &str, mode: u32, uid: u32, gid: u32) -> Self {
        let acl = false;
        let facts = Facts {
            uid,
            gid,
            mode,
            acl,
        };
        self.files.insert(path.into(), facts);
        self
    }

    fn link(mut self, from: &str, to: &str) -> Self {
        self.links.insert(from.into(), to.into());
        self
    }
}

impl World for Fake {
    fn facts(&self, path: &Path) -> Option<Facts> {
        let path = self.links.get(path).map_or(path, PathBuf::as_path);
        self.files.get(path).copied()
    }

    fn target(&self, path: &Path) -> Option<PathBuf> {
        Some(self.links.get(path).map_or(path, PathBuf::as_path).into())
    }

    fn entries(&self, directory: &Path) -> Vec<PathBuf> {
        let inside = |p: &&PathBuf| p.parent() == Some(directory);
        self.files.keys().filter(inside).cloned().collect()
    }
}

fn accounts(unit_groups: &[&str]) -> Accounts {
    Accounts {
        passwd: PASSWD.to_owned(),
        group: GROUP.to_owned(),
        unit_groups: unit_groups.iter().map(|&g| g.to_owned()).collect(),
    }
}

fn user() -> User {
    let data = Path::new("/var/lib/sealpost");
    accounts(&[]).owner(data, None).unwrap()
}

fn said(trouble: Trouble) -> String {
    format!("{}; {}", trouble.message, trouble.remedy)
}

fn judged(world: &Fake, path: &str, own: bool) -> Option<String> {
    unreadable(Path::new(path), own, &user(), world).map(said)
}

#[test]
fn a_key_that_only_root_may_read_is_told_with_the_command_that_mends_it() {
    let key = |mode, uid, gid| Fake::default().with("/k", REGULAR | mode, uid, gid);
    let said = |mode, uid, gid, own| judged(&key(mode, uid, gid), "/k", own);
    assert_eq!(
        said(0o600, 0, 0, false).unwrap(),
        "user sealpost may not read /k (mode 0600, owner root, group root); \
         `chgrp sealpost /k && chmod g+r /k`"
    );
    assert!(
        said(0o600, 0, 0, true)
            .unwrap()
            .ends_with("`chown sealpost /k`")
    );
    let other_group = said(0o640, 0, 111, false).unwrap();
    assert!(other_group.contains("usermod --append"), "{other_group}");
    for (mode, uid, gid) in [
        (0o600, 990, 0),
        (0o640, 0, 990),
        (0o640, 0, 110),
        (0o644, 0, 0),
    ] {
        assert_eq!(said(mode, uid, gid, false), None, "{mode:o} {uid} {gid}");
    }
}

#[test]
fn a_closed_directory_on_the_way_of_a_link_is_found() {
    let world = Fake::default()
        .with("/etc/live", DIRECTORY | 0o755, 0, 0)
        .with("/etc/archive", DIRECTORY | 0o700, 0, 0)
        .with("/etc/archive/k1", REGULAR | 0o644, 0, 0)
        .link("/etc/live/k", "/etc/archive/k1");
    let said = judged(&world, "/etc/live/k", false).unwrap();
    assert!(
        said.contains("/etc/live/k: /etc/archive is closed"),
        "{said}"
    );
    assert!(said.ends_with("`chgrp sealpost /etc/archive && chmod g+x /etc/archive`"));
    let world = Fake::default().with("/root", DIRECTORY | 0o700, 0, 0);
    let said = judged(&world, "/root/k", false).unwrap();
    assert!(said.contains("install -m 0640 -g sealpost /root/k /etc/sealpost/"));
}

#[test]
fn no_false_alarm_where_a_permission_may_come_from_elsewhere() {
    let mut world = Fake::default().with("/k", REGULAR | 0o640, 0, 0);
    world.files.get_mut(Path::new("/k")).unwrap().acl = true;
    assert_eq!(judged(&world, "/k", false), None);
    let world = Fake::default().with("/run/credentials/s/k", REGULAR | 0o400, 0, 0);
    assert_eq!(judged(&world, "/run/credentials/s/k", false), None);
    // Given by the unit; and a user whom only a directory service knows.
    let data = Path::new("/var/lib/sealpost");
    let by_unit = accounts(&["keys"]).owner(data, None).unwrap();
    let facts = |uid, mode| Facts {
        uid,
        gid: 111,
        mode,
        acl: false,
    };
    assert_eq!(may(facts(0, 0o640), READ, &by_unit), Some(true));
    let foreign = accounts(&[]).owner(data, Some(facts(5000, 0o700))).unwrap();
    assert_eq!(may(facts(0, 0o640), READ, &foreign), None);
    assert_eq!(may(facts(0, 0o600), READ, &foreign), Some(false));
}

#[test]
fn the_user_is_the_data_directorys_owner_or_the_one_it_is_to_be_made_for() {
    let owned = |uid| Facts {
        uid,
        gid: 991,
        mode: 0o700,
        acl: false,
    };
    let accounts = accounts(&[]);
    let data = Path::new("/var/lib/sealpost");
    assert_eq!(
        accounts.owner(data, Some(owned(990))).unwrap().name,
        "sealpost"
    );
    assert_eq!(accounts.owner(data, None).unwrap().group, "sealpost");
    // Root serves; nobody is known.
    assert!(accounts.owner(data, Some(owned(0))).is_none());
    assert!(accounts.owner(Path::new("/srv/mail"), None).is_none());
}

#[test]
fn what_another_user_has_left_in_the_data_directory_is_told() {
    let data = Path::new("/data");
    let good = || {
        Fake::default()
            .with("/data", DIRECTORY | 0o700, 990, 991)
            .with("/data/queue", DIRECTORY | 0o700, 990, 991)
    };
    assert!(unwritable(data, &Unit::default(), &user(), &good()).is_none());
    // What root keeps beside, and what a file system brings, is not the server's.
    let mounted = good()
        .with("/data/lost+found", DIRECTORY | 0o700, 0, 0)
        .with("/data/backup.tar", REGULAR | 0o600, 0, 0);
    assert!(unwritable(data, &Unit::default(), &user(), &mounted).is_none());
    assert!(unwritable(data, &Unit::default(), &user(), &Fake::default()).is_none());
    let said = |world: Fake| said(unwritable(data, &Unit::default(), &user(), &world).unwrap());
    let foreign = said(good().with("/data/policies", DIRECTORY | 0o700, 0, 0));
    assert!(foreign.contains("/data/policies (mode 0700, owner root"));
    assert!(foreign.ends_with("`chown -R sealpost /data`"), "{foreign}");
    let shut = said(good().with("/data", DIRECTORY | 0o500, 990, 991));
    assert!(shut.ends_with("`chmod u+rwx /data`"), "{shut}");
}

fn unit(text: &str) -> Unit {
    Unit::of([text.to_owned()])
}

#[test]
fn who_serves_is_said_by_the_unit_also_where_root_has_made_the_directory() {
    let roots = Facts {
        uid: 0,
        gid: 0,
        mode: DIRECTORY | 0o755,
        acl: false,
    };
    let data = Path::new("/srv/mail");
    let served = |text: &str| accounts(&[]).server(data, Some(roots), unit(text));
    let server = served("User=sealpost").unwrap();
    assert_eq!(
        (server.user.name.as_str(), server.user.uid),
        ("sealpost", 990)
    );
    let world = Fake::default().with("/srv/mail", DIRECTORY | 0o755, 0, 0);
    let said = said(unwritable(data, &server.unit, &server.user, &world).unwrap());
    assert!(said.ends_with("`chown -R sealpost /srv/mail`"), "{said}");
    for text in ["", "User=root", "User=somebody"] {
        assert!(served(text).is_none(), "{text}");
    }
    // Below /var/lib systemd gives it to the user.
    let data = Path::new("/var/lib/sealpost");
    let made = Fake::default().with("/var/lib/sealpost", DIRECTORY | 0o755, 0, 0);
    let state = unit("User=sealpost\nStateDirectory=sealpost");
    assert!(unwritable(data, &state, &user(), &made).is_none());
    assert!(unwritable(data, &Unit::default(), &user(), &made).is_some());
}

#[test]
fn what_the_unit_hides_is_told_whatever_the_modes_say() {
    let world = Fake::default()
        .with("/home/ann/k", REGULAR | 0o644, 0, 0)
        .link("/etc/sealpost/k", "/home/ann/k");
    let hiding = unit("ProtectHome=yes\nProtectSystem=strict\nLogsDirectory=sealpost");
    for path in ["/home/ann/k", "/etc/sealpost/k"] {
        let told = said(unseen(Path::new(path), &hiding, &user(), &world).unwrap());
        let begins = format!("the server does not see {path}: ProtectHome= of sealpost.service");
        assert!(told.starts_with(&begins), "{told}");
        assert!(unseen(Path::new(path), &Unit::default(), &user(), &world).is_none());
    }
    let log = said(read_only(Path::new("/srv/events"), &hiding, "/var/log/sealpost").unwrap());
    assert!(log.contains("ProtectSystem=strict"), "{log}");
    assert!(read_only(Path::new("/var/log/sealpost/events"), &hiding, "").is_none());
}

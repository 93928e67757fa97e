//! Where commands, programs and the page come in: open before mail can come, so that whoever sees the SMTP
//! port open can ask about it. Connections wait until all stands.

use std::path::Path;

use settings::Settings;
use tokio::net::{TcpListener, UnixListener};

use super::open;
use crate::exit::Status;

/// Open, and not served yet.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) control: UnixListener,
    pub(super) http: Option<TcpListener>,
}

impl Doors {
    /// # Errors
    /// One of them is somebody else's, or we may not have it.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let control = control(&settings.admin.socket, operators()).await?;
        let http = match settings.admin.http {
            Some(at) => Some(
                web::bind(at)
                    .await
                    .map_err(|e| open::fail(Status::System, &e))?,
            ),
            None => None,
        };
        Ok(Self { control, http })
    }
}

/// Who may connect is the file's business: its mode and group, and those of its directory.
async fn control(path: &Path, group: Option<u32>) -> anyhow::Result<UnixListener> {
    let bound = admin::bind_socket(path).await;
    let bound = bound.map_err(|e| open::fail(Status::CannotCreate, &e))?;
    // Who is neither root nor a member keeps their own.
    let _ = std::os::unix::fs::chown(path, None, group);
    Ok(bound)
}

/// The group that may use the commands, where there is one. The shipped unit gives it to the process as well.
fn operators() -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    group_id(&groups, OPERATORS)
}

/// The number of a group in the text of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

const OPERATORS: &str = "sealpost-admin";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_group_of_operators_is_found_by_its_whole_name() {
        let groups =
            "root:x:0:\nsealpost:x:64001:\nsealpost-admin:x:64002:sealpost,ann\nodd\nodder:x:y:\n";
        assert_eq!(group_id(groups, OPERATORS), Some(64_002));
        assert_eq!(group_id(groups, "sealpost"), Some(64_001));
        for name in ["sealpost-adm", "odd", "odder", "ann"] {
            assert_eq!(group_id(groups, name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn the_socket_is_of_the_operators_where_that_can_be() {
        let dir = tempfile::tempdir().unwrap();
        // Who is not root may give nothing to a stranger's group: then it is as it was.
        let probe = dir.path().join("probe");
        std::fs::write(&probe, "").unwrap();
        let before = std::fs::metadata(&probe).unwrap().gid();
        let may = std::os::unix::fs::chown(&probe, None, Some(64_002)).is_ok();
        let path = dir.path().join("control.sock");
        let _listener = control(&path, Some(64_002)).await.unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.gid(), if may { 64_002 } else { before });
        assert_eq!(file.mode() & 0o777, 0o660);
    }
}

//! Where commands, programs and the page come in: open before mail can come, so that whoever sees the SMTP
//! port open can ask about it. Until all stands they are told that it does not yet.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use web::{Access, HttpError, Tls};

use crate::gate::{Gate, Starting};
use crate::socket::{ServeError, SocketFile, bind_socket, serve_socket};

/// Why one of them cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The control socket.
    #[error(transparent)]
    Control(ServeError),
    /// `admin.http`.
    #[error(transparent)]
    Http(HttpError),
}

/// Open.
#[derive(Debug)]
pub struct Doors {
    /// The control socket's; first, since it has to be dropped before what listens.
    pub file: SocketFile,
    /// The control socket.
    pub control: Gate,
    /// `admin.http`, if there is one.
    pub http: Option<HttpDoor>,
    /// What they tell until all stands.
    pub starting: Arc<Starting>,
    /// What serves them: none of it ends by itself.
    pub served: JoinSet<()>,
}

/// Served once it is known who may come in.
#[derive(Debug)]
pub struct HttpDoor {
    listener: Option<TcpListener>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is behind it.
    pub gate: Gate,
}

impl Doors {
    /// Opens `admin.socket`, which is served at once, and `admin.http`.
    ///
    /// # Errors
    /// One of them is somebody else's, or we may not have it.
    pub async fn open(socket: &Path, http: Option<SocketAddr>) -> Result<Self, DoorError> {
        let (listener, file) = control(socket, operators())
            .await
            .map_err(DoorError::Control)?;
        let starting = Starting::at("files and policies are being read");
        let http = match http {
            Some(at) => {
                let listener = web::bind(at).await.map_err(DoorError::Http)?;
                Some(HttpDoor {
                    // With port 0 the system chose another.
                    address: listener.local_addr().unwrap_or(at),
                    listener: Some(listener),
                    gate: Gate::new(Arc::clone(&starting)),
                })
            }
            None => None,
        };
        let control = Gate::new(Arc::clone(&starting));
        let mut served = JoinSet::new();
        served.spawn(serve_socket(listener, control.router()));
        Ok(Self {
            file,
            control,
            http,
            starting,
            served,
        })
    }

    /// `admin.http`, from here on: the configuration's names, tokens and certificate are known.
    pub fn serve_http(&mut self, access: &Access, tls: Option<Arc<Tls>>) {
        let Some(http) = &mut self.http else { return };
        let Some(listener) = http.listener.take() else {
            return;
        };
        let router = web::guarded(http.gate.router(), access);
        self.served.spawn(web::serve(listener, router, tls));
    }
}

/// Who may connect is the file's business: its mode and group, and those of its directory.
async fn control(
    path: &Path,
    group: Option<u32>,
) -> Result<(UnixListener, SocketFile), ServeError> {
    let bound = bind_socket(path).await?;
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
        let _held = control(&path, Some(64_002)).await.unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.gid(), if may { 64_002 } else { before });
        assert_eq!(file.mode() & 0o777, 0o660);
    }
}

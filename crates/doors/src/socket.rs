//! Serves the API on the control socket.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use admin::{Operator, Problem};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::{UnixListener, UnixStream};

/// Why the socket is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket's path cannot be used.
    #[error(
        "the control socket {path} cannot be made: {cause}; set admin.socket to a path that this user may write"
    )]
    Socket {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A living process serves it.
    #[error(
        "another process answers on the control socket {path}, and its commands would come here; set admin.socket to a \
         path of this daemon's own, or end the other one"
    )]
    Answered {
        /// Which.
        path: PathBuf,
    },
}

/// While nothing can be delivered: whatever is asked is answered by what is wrong and what to do.
pub fn refusing_router(why: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    Router::new().fallback(move || std::future::ready(Problem::unavailable(why())))
}

/// The name of a bound control socket, taken away when this is dropped: nothing is left behind that nobody answers on.
/// To be dropped before the listener, so that nobody has taken the path over meanwhile.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: the file may have been removed by hand, and be another daemon's now.
    ours: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            ours: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.ours) {
            // Who may not is no worse off than after a kill: the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Makes the control socket (mode 0660); until it is served, commands wait. What a dead process left is replaced,
/// what somebody answers on is not: the data directory's lock keeps only those daemons apart that share it.
///
/// # Errors
/// Nothing was made, or nobody can use it.
pub async fn bind_socket(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    let refuse = |cause| ServeError::Socket {
        path: path.to_owned(),
        cause,
    };
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(refuse)?;
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(refuse)?;
        }
        // Its queue is full of connections: somebody lives, though too busy to take them.
        Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(refuse(e)),
        Ok(_) | Err(_) => {
            return Err(ServeError::Answered {
                path: path.to_owned(),
            });
        }
    }
    let listener = UnixListener::bind(path).map_err(refuse)?;
    let file = SocketFile::of(path).map_err(refuse)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(refuse)?;
    Ok((listener, file))
}

/// Serves the control socket until the future is dropped.
pub async fn serve_socket(listener: UnixListener, router: Router) {
    let router = router.layer(axum::middleware::from_fn(name_operator));
    let service = router.into_make_service_with_connect_info::<Peer>();
    if let Err(error) = axum::serve(listener, service).await {
        tracing::error!(%error, "the control socket is no longer served");
    }
}

/// Who connected to the socket.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|cred| cred.uid()))
    }
}

async fn name_operator(
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    request
        .extensions_mut()
        .insert(Operator::Socket { uid: peer.0 });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn h6_08_a_socket_that_somebody_answers_on_is_left_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/control.sock");
        let (first, file) = bind_socket(&path).await.unwrap();
        let refused = bind_socket(&path).await.err().unwrap();
        assert!(matches!(refused, ServeError::Answered { .. }), "{refused}");
        let said = refused.to_string();
        assert!(
            said.contains("admin.socket") && said.contains("control.sock"),
            "{said}"
        );
        UnixStream::connect(&path).await.unwrap();
        drop(first);
        std::mem::forget(file);
        // What a dead process leaves is in nobody's way.
        drop(bind_socket(&path).await.unwrap());
    }

    #[tokio::test]
    async fn only_its_own_file_is_taken_away_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (first, file) = bind_socket(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());
        drop(first);
        // Somebody has removed it by hand, and started another on it.
        let (_first, file) = bind_socket(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let (_second, theirs) = bind_socket(&path).await.unwrap();
        drop(file);
        UnixStream::connect(&path).await.unwrap();
        drop(theirs);
        assert!(!path.exists());
    }
}

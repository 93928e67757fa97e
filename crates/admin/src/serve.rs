//! Serves the API on the control socket.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use crate::operator::Operator;
use crate::problem::Problem;

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
}

/// For the time in which nothing can be delivered: whatever is asked is answered by what is wrong and what
/// to do about it.
pub fn refusing_router(why: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    Router::new().fallback(move || std::future::ready(Problem::unavailable(why())))
}

/// Makes the control socket (mode 0660) and serves it until the future is dropped.
///
/// Who may connect is the file's business: its mode and group, and those of its directory. A socket
/// that a dead process left behind is replaced; the data directory's lock keeps two daemons apart.
///
/// # Errors
/// [`ServeError::Socket`], before anything is served.
pub fn serve_socket(
    path: &Path,
    router: Router,
) -> Result<impl Future<Output = ()> + use<>, ServeError> {
    let refuse = |cause| ServeError::Socket {
        path: path.to_owned(),
        cause,
    };
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(refuse)?;
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(refuse(e)),
    }
    let listener = UnixListener::bind(path).map_err(refuse)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(refuse)?;
    let router = router.layer(axum::middleware::from_fn(name_operator));
    let service = router.into_make_service_with_connect_info::<Peer>();
    Ok(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the control socket is no longer served");
        }
    })
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

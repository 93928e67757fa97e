//! Listening where a server that was just dropped may not have let go yet.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;

/// Listens on `ip:port`.
///
/// # Panics
/// With the address and `purpose`, if that cannot be.
pub(crate) async fn tcp(address: &str, purpose: &str) -> TcpListener {
    match patiently(address).await {
        Ok(listener) => listener,
        Err(e) => panic!("cannot listen on {address} for {purpose} (made by net_test!?): {e}"),
    }
}

/// Dropping a server aborts its task, and another thread may still hold its socket then.
async fn patiently(address: &str) -> io::Result<TcpListener> {
    for _ in 0..TRIES {
        match TcpListener::bind(address).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return other,
        }
    }
    TcpListener::bind(address).await
}

/// Ten seconds and more in all.
const TRIES: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_let_go_is_taken() {
        let first = tcp("127.0.0.1:0", "a test").await;
        let address = first.local_addr().unwrap().to_string();
        let second = tokio::spawn(async move { tcp(&address, "a test").await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!second.is_finished(), "it is in use");
        drop(first);
        second.await.unwrap();
    }
}

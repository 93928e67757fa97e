//! What each name server does that has not answered, and which are not there at all. hickory's sockets are not connected, so that a closed port looks to
//! it like silence; for whoever has to mend it, a resolver that does not run is another fault than packets that
//! are dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::servers::code_name;
use dns_health::Conduct;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// What is to be said of these servers, none of which has answered.
pub(crate) async fn why(servers: &[(SocketAddr, Conduct)]) -> String {
    let looks = servers.iter().map(|(server, conduct)| async move {
        let ip = server.ip();
        match conduct {
            Conduct::Refuses => format!("{ip} answers every question with REFUSED"),
            Conduct::Fails(code) => {
                let code = code_name((*code).into());
                format!("{ip} answers every question with {code}")
            }
            Conduct::Refers => {
                format!("{ip} does not recurse: it only refers to other servers")
            }
            Conduct::Cut => format!(
                "{ip} answers over UDP that every answer is too long for that, and gives none over TCP"
            ),
            Conduct::Unreadable => format!("{ip} gives answers that cannot be read"),
            _ if is_closed(*server).await => {
                let port = server.port();
                format!("{ip}: nothing answers on port {port} there (connection refused)")
            }
            Conduct::Silent | Conduct::Answers => format!("{ip}: no answer in time"),
        }
    });
    futures_util::future::join_all(looks).await.join("; ")
}

async fn is_closed(server: SocketAddr) -> bool {
    let asked = timeout(BRIEFLY, ask(server)).await;
    asked.is_ok_and(|result| {
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// A connected socket is told that the port is closed.
async fn ask(server: SocketAddr) -> std::io::Result<usize> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&ROOT_SOA).await?;
    socket.recv(&mut [0; 512]).await
}

/// `. SOA`, recursion desired. The answer is not looked at.
const ROOT_SOA: [u8; 17] = [0x5e, 0xa1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
const BRIEFLY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn h1_02_a_closed_port_is_told_from_a_silent_one() {
        // Bound and never read.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // An address that no other test uses: nobody takes the port meanwhile.
        let free = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
        let (open, closed) = (silent.local_addr().unwrap(), free.local_addr().unwrap());
        drop(free);
        let (open, closed) = ((open, Conduct::Silent), (closed, Conduct::Silent));
        assert_eq!(why(&[open]).await, "127.0.0.1: no answer in time");
        let said = why(&[closed, open]).await;
        let port = closed.0.port();
        assert_eq!(
            said,
            format!(
                "127.0.0.77: nothing answers on port {port} there (connection refused); \
                 127.0.0.1: no answer in time"
            )
        );
        let said = why(&[open, (closed.0, Conduct::Refuses)]).await;
        assert_eq!(
            said,
            "127.0.0.1: no answer in time; 127.0.0.77 answers every question with REFUSED"
        );
    }
}

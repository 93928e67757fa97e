//! The content of a message on its way from the queue to the client.

use outbound_queue::{Leased, QueueError, QueueStore};
use smtp_client::Body;
use tokio::io::AsyncWriteExt;

/// The content, from the beginning. What is still in memory is shared, small content is read at
/// once, large content is piped in blocks.
pub(crate) async fn open<S: QueueStore>(queue: &S, leased: &Leased) -> Result<Body, QueueError> {
    if let Some(held) = &leased.body {
        return Ok(Body::from_chunks(held.chunks().iter().cloned()));
    }
    let mut body = queue.open_body(leased.id).await?;
    if body.size() <= SMALL {
        let mut chunks = Vec::new();
        while let Some(chunk) = body.next().await? {
            chunks.push(chunk);
        }
        return Ok(Body::from_chunks(chunks));
    }
    let (mut writer, reader) = tokio::io::duplex(PIPE);
    let id = leased.id;
    tokio::spawn(async move {
        // One block is held back until the next one, or the end, has been read and checked: a
        // damaged message must not reach its end.
        let mut last = None;
        loop {
            match body.next().await {
                Ok(next) => {
                    let block = std::mem::replace(&mut last, next);
                    if let Some(block) = block
                        && writer.write_all(&block).await.is_err()
                    {
                        return; // The session ended: it says why.
                    }
                    if last.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(queue_id = %id, %error, "the content of a message cannot be read");
                    return;
                }
            }
        }
    });
    Ok(Body::from_async_read(reader))
}

/// The first `limit` octets, for a notification.
pub(crate) async fn head<S: QueueStore>(
    queue: &S,
    leased: &Leased,
    limit: usize,
) -> Result<Vec<u8>, QueueError> {
    let mut out = Vec::new();
    if let Some(held) = &leased.body {
        for chunk in held.chunks() {
            out.extend_from_slice(chunk);
            if out.len() >= limit {
                break;
            }
        }
    } else {
        let mut body = queue.open_body(leased.id).await?;
        while out.len() < limit
            && let Some(chunk) = body.next().await?
        {
            out.extend_from_slice(&chunk);
        }
    }
    out.truncate(limit);
    Ok(out)
}

const SMALL: u64 = 256 * 1024;
const PIPE: usize = 256 * 1024;

//! The suite that every queue store has to pass, run from another crate: as the author of a store of his
//! own would run it.

use outbound_queue::conformance::{LEASE_TIME, placement, run};
use outbound_queue::{EmbeddedOptions, EmbeddedStore, MemoryStore};

#[tokio::test]
async fn the_store_in_memory_keeps_its_promises() {
    run(async |_| MemoryStore::new(placement(), LEASE_TIME)).await;
}

#[tokio::test]
async fn the_store_on_disk_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    run(async |name| {
        let options = EmbeddedOptions {
            lease_time: LEASE_TIME,
            free_space_floor: 0,
            ..EmbeddedOptions::new(directory.path().join(name), placement(), 1)
        };
        EmbeddedStore::open(options).unwrap()
    })
    .await;
}

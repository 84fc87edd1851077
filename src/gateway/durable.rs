//! How far the journal is: for those who acknowledge what is in it, and those who hold gateways back when it is full.

use tokio::sync::watch;

/// One per connection. Without a journal everything is at once as durable as it will ever be.
#[derive(Clone, Debug)]
pub struct Durable {
    committed: watch::Receiver<u64>,
    has_room: watch::Receiver<bool>,
    promises: bool,
}

impl Durable {
    /// `committed`: the last record that survives a crash. `promises`: it survives a loss of power too.
    pub fn new(committed: watch::Receiver<u64>, has_room: watch::Receiver<bool>, promises: bool) -> Durable {
        Durable { committed, has_room, promises }
    }

    /// There is no journal.
    pub fn off() -> Durable {
        // Nobody waits for what has been reached.
        let (committed, has_room) = (watch::channel(u64::MAX).1, watch::channel(true).1);
        Durable { committed, has_room, promises: false }
    }

    pub(super) fn promises(&self) -> bool {
        self.promises
    }

    pub(super) fn is_off(&self) -> bool {
        *self.committed.borrow() == u64::MAX
    }

    /// Waits until the journal has more than when it was last asked. Never returns where the service goes down before.
    pub(super) async fn more(&mut self) {
        if self.committed.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the record is committed. Never returns where the service goes down before.
    pub(super) async fn reached(&mut self, record: u64) {
        if self.committed.wait_for(|committed| *committed >= record).await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) fn has_room(&self) -> bool {
        *self.has_room.borrow()
    }

    /// Waits until there is room. Never returns where the service goes down before.
    pub(super) async fn room(&mut self) {
        if self.has_room.wait_for(|has_room| *has_room).await.is_err() {
            std::future::pending().await
        }
    }
}

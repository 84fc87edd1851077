//! The call tables of the feeds of calls' messages: which feeds share one, and how they are saved.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::FeedSettings;
use crate::ingest::CallTable;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// Each with the feed that was the first to use it.
    pub(super) tables: Vec<(String, Arc<CallTable>)>,
    /// By name of the feed.
    pub(super) of_feed: HashMap<String, usize>,
}

impl Calls {
    /// Calls are kept together with those of all feeds that merge and say the same of whose a call is and what its numbers
    /// mean. For what is told of a call later is told by whichever of them comes next.
    pub(super) fn new(feeds: &[FeedSettings], table: impl Fn() -> CallTable) -> Calls {
        let merges = |feed: &FeedSettings| feed.merge != Some(false);
        let mut calls = Calls::default();
        let mut known: Vec<&FeedSettings> = Vec::new();
        for feed in feeds.iter().filter(|feed| feed.format.is_signalling()) {
            let is_alike = |other: &&FeedSettings| {
                merges(other)
                    && merges(feed)
                    && (&other.customer, &other.trunks, &other.dial_plan)
                        == (&feed.customer, &feed.trunks, &feed.dial_plan)
            };
            let number = known.iter().position(is_alike).unwrap_or(known.len());
            if number == known.len() {
                known.push(feed);
                calls.tables.push((feed.name.clone(), Arc::new(table())));
            }
            calls.of_feed.insert(feed.name.clone(), number);
        }
        calls
    }

    pub(super) fn of(&self, feed: &str) -> Option<&Arc<CallTable>> {
        self.tables.get(*self.of_feed.get(feed)?).map(|(_, table)| table)
    }

    /// Hands out all that the tables know, part by part, each with the name of its table in front.
    pub(super) fn save(&self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut piece = Vec::new();
        for (name, table) in &self.tables {
            for part in 0..CallTable::PARTS {
                piece.clear();
                piece.push(u8::try_from(name.len()).map_err(std::io::Error::other)?);
                piece.extend_from_slice(name.as_bytes());
                piece.push(u8::try_from(part).map_err(std::io::Error::other)?);
                table.save_part(part, &mut piece);
                take(&piece)?;
            }
        }
        Ok(())
    }
}

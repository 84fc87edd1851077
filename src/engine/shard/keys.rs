//! Looking at the keys of a rule, and taking some back.

use super::{AnyTable, Shard};
use crate::engine::keys::Reset;
use crate::engine::table::Look;
use crate::engine::work::{Outcome, Work};

impl Shard {
    /// See [`crate::engine::table::Table::look`]. With each open key, since when it is.
    pub(crate) fn look(
        &self,
        counter: usize,
        partition: u32,
        from: usize,
        n: usize,
        at: i64,
    ) -> (Vec<(Look, Option<i64>)>, Option<usize>) {
        let (Some(table), Some(open)) = (self.tables.get(counter), self.open.get(counter)) else {
            return (Vec::new(), None);
        };
        let (looks, next) = each_table!(table, t => t.look(partition, from, n, at));
        let since = |look: &Look| look.episode.and_then(|(episode, _)| open.get(&episode)).map(|subject| subject.since);
        (looks.into_iter().map(|look| (look.clone(), since(&look))).collect(), next)
    }

    /// Takes back the keys of this shard that somebody chose.
    pub(super) fn reset(&mut self, reset: &Reset, work: &Work, out: &mut Outcome) {
        let n_shards = self.plan.n_shards;
        let mut n_reset = 0;
        for (place, key) in reset.keys.iter().filter(|((partition, _), _)| partition % n_shards == self.number) {
            let found = &mut self.found;
            let Some(table) = self.tables.get_mut(usize::from(reset.counter)) else { continue };
            n_reset += u64::from(each_table!(table, t => t.take_back(*place, key, reset.at.0, found)));
        }
        reset.count(n_reset);
        self.collect(reset.counter, 0, work, out);
        self.tell_size(reset.counter, out);
    }
}

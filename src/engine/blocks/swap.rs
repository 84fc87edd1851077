//! Lists go on under another policy.

use super::Blocks;
use crate::engine::numbers::Numbers;
use crate::policy::dynamic::Listed;

impl Blocks {
    /// The lists there are now. What stood on others is forgotten.
    pub(crate) fn set_lists(&mut self, numbers: &Numbers) {
        let is_there = |list: usize| numbers.place(list as u16).is_some();
        self.lists.set_numbers(numbers.all().to_vec());
        let gone = self.holders.iter().map(|(key, _)| key).filter(|(list, _)| !is_there(*list));
        let gone: Vec<(usize, Listed)> = gone.cloned().collect();
        for key in &gone {
            drop(self.holders.remove(key));
        }
        self.full_until.retain(|list, _| is_there(*list));
        if gone.is_empty() {
            return;
        }
        let made: Vec<u64> = self.made.iter().map(|(number, _)| *number).collect();
        for number in made {
            if let Some(made) = self.made.get_mut(&number) {
                made.entries.retain(|(list, ..)| is_there(*list));
            }
        }
    }
}

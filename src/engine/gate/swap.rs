//! The gate goes on under another policy.

use super::Gate;
use crate::engine::answers::Answers;
use crate::engine::plan::Plan;
use crate::engine::saved::shape::Mapping;

impl Gate {
    /// `answers`: what calls were told, by the numbers of now.
    pub(crate) fn swap(&mut self, was: &Plan, plan: &Plan, mapping: &Mapping, answers: &Answers) {
        let minds = |plan: &Plan| plan.minds_blocked && !plan.is_coupled;
        match (minds(was), minds(plan)) {
            (true, true) => self.answers.renumber(&mapping.firewall),
            (false, true) => self.answers = answers.clone(),
            (_, false) => self.answers = Answers::default(),
        }
        self.decided.matched.clear();
    }
}

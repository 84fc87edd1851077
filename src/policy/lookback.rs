//! How far back the past decides what rules say now: who judges recorded calls from some time on has to read from so much
//! earlier.

use super::{ListContent, Measure, Policy, Predicate, Reaction, ThresholdRule};
use crate::limits::{CALL_AGE_MS_MAX, EMERGENCY_CALLBACK_MS};

impl ThresholdRule {
    /// How long after an event a level may be reached because of it.
    pub fn tells_ms(&self) -> i64 {
        let measures = std::iter::once(&self.measure).chain(self.also.iter().map(|also| &also.measure));
        let reach = |measure: &Measure| match measure {
            Measure::Concurrent | Measure::Longest => CALL_AGE_MS_MAX,
            Measure::FirstSeen(_, memory_ms) => self.window_ms.max(*memory_ms),
            _ => self.window_ms,
        };
        measures.map(reach).max().unwrap_or(0).saturating_add(self.hold_ms)
    }

    /// How long what its violations put on a list lasts; `None` where they put nothing there.
    fn holds_ms(&self, list: usize) -> Option<i64> {
        let ttl = |reaction: &Reaction| reaction.block.as_ref().filter(|block| block.list == list).map(|b| b.ttl_ms);
        let within = self.chains.iter().filter(|chain| chain.list == list).map(|chain| chain.within_ms).max();
        ttl(&self.on_warning).max(ttl(&self.on_critical)).max(within)
    }

    fn conditions(&self) -> impl Iterator<Item = &Predicate> {
        let excused = self.concern.except.iter().chain(self.concern.mute.iter());
        self.condition.iter().chain(excused.map(|(_, exception)| &exception.condition))
    }
}

impl Policy {
    /// How far back the past decides what these thresholds and the firewall say. An episode that has gone on for longer
    /// may have begun before.
    pub fn lookback_ms<'p>(&'p self, rules: impl IntoIterator<Item = &'p ThresholdRule>) -> i64 {
        let own = rules.into_iter().map(|rule| self.lookback_of(rule, &mut Vec::new())).max().unwrap_or(0);
        let firewall = self.firewall.iter().flat_map(|rule| {
            std::iter::once(&rule.when).chain(rule.concern.except.iter().map(|(_, exception)| &exception.condition))
        });
        own.max(self.lookback_of_lists(firewall, &mut Vec::new())).max(EMERGENCY_CALLBACK_MS)
    }

    fn lookback_of(&self, rule: &ThresholdRule, lists: &mut Vec<usize>) -> i64 {
        let own = rule.tells_ms().saturating_add(rule.cooldown_ms);
        own.saturating_add(self.lookback_of_lists(rule.conditions(), lists))
    }

    /// How far back it was decided what stands on the lists that thresholds fill. `lists`: those that are looked at
    /// already, for rules may depend on each other in a circle.
    fn lookback_of_lists<'p>(&'p self, conditions: impl Iterator<Item = &'p Predicate>, lists: &mut Vec<usize>) -> i64 {
        let mut read = Vec::new();
        for condition in conditions {
            condition.any_list(&mut |list| {
                read.push(list);
                false
            });
        }
        let is_dynamic =
            |list: usize| self.lists.get(list).is_some_and(|l| matches!(l.content, ListContent::Dynamic(_)));
        let mut longest = 0;
        for list in read {
            if lists.contains(&list) || !is_dynamic(list) {
                continue;
            }
            lists.push(list);
            for rule in &self.thresholds {
                if let Some(holds_ms) = rule.holds_ms(list) {
                    longest = longest.max(holds_ms.saturating_add(self.lookback_of(rule, lists)));
                }
            }
            lists.pop();
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, RuleSource, load};

    const MINUTE_MS: i64 = 60_000;

    fn lookback_ms(rules: &str, id: &str) -> i64 {
        let text = format!("ringfence = 1\ndefault_action = 'allow'\n{rules}");
        let loaded = load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default());
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        policy.lookback_ms(policy.thresholds.iter().filter(|rule| rule.id == id)) / MINUTE_MS
    }

    fn rule(id: &str, more: &str) -> String {
        format!("[[threshold]]\nid = '{id}'\non = 'attempt'\nper = ['caller']\nwarning = '>= 2'\n{more}\n")
    }

    #[test]
    fn a_window_a_cooldown_and_a_hold_look_back_one_behind_the_other() {
        let count = "measure = 'count'\nwindow = '2h'\n";
        assert_eq!(lookback_ms(&rule("a", count), "a"), 240, "the cooldown is the window unless it is written");
        assert_eq!(lookback_ms(&rule("a", &format!("{count}cooldown = '5m'\nfor = '3m'")), "a"), 128);
        assert_eq!(
            lookback_ms(&rule("a", "measure = 'count'\nwindow = '1m'"), "a"),
            30,
            "the firewall remembers emergency calls"
        );
    }

    #[test]
    fn calls_are_as_old_as_calls_get_and_a_memory_is_its_own_window() {
        let calls = "[[threshold]]\nid = 'up'\non = 'call'\nmeasure = 'concurrent'\nper = ['caller']\nwarning = '>= 2'\n\
                     cooldown = '0s'\n";
        assert_eq!(lookback_ms(calls, "up"), 12 * 60);
        let seen = "measure = 'first_seen(callee)'\nmemory = '20d'\nwindow = '1h'\ncooldown = '0s'";
        assert_eq!(lookback_ms(&rule("a", seen), "a"), 20 * 24 * 60);
    }

    #[test]
    fn what_a_rule_follows_and_what_stands_on_lists_was_decided_before_it() {
        let lead = rule("lead", "measure = 'count'\nwindow = '2h'\ncooldown = '0s'");
        let after = "measure = 'count'\nwindow = '1h'\ncooldown = '0s'\nafter = { rule = 'lead', within = '6h' }";
        assert_eq!(lookback_ms(&[lead, rule("next", after)].concat(), "next"), 60 + 360 + 120);
        let lists = "[lists]\nbad = { type = 'number', dynamic = true }\n";
        let fills = "measure = 'count'\nwindow = '2h'\ncooldown = '0s'\n\
                     on_warning = { do = ['alert'], block = { list = 'bad', ttl = '6h' } }";
        let looks = "measure = 'count'\nwindow = '1h'\ncooldown = '0s'\n\
                     mute = [{ where = 'caller in $bad', reason = 'known' }]";
        let both = [lists, &rule("fills", fills), &rule("looks", looks)].concat();
        assert_eq!(lookback_ms(&both, "looks"), 60 + 360 + 120);
        assert_eq!(lookback_ms(&both, "fills"), 120);
        let blocks = "[[firewall]]\nid = 'fw'\nwhen = 'caller in $bad'\naction = 'block'\n";
        assert_eq!(lookback_ms(&[&both, blocks].concat(), "fills"), 480, "the verdict is told too");
    }

    #[test]
    fn rules_that_depend_on_themselves_come_to_an_end() {
        let own = "measure = 'count'\nwindow = '1h'\ncooldown = '0s'\nwhere = 'caller in $bad'\n\
                   on_warning = { do = ['alert'], block = { list = 'bad', ttl = '6h' } }";
        let rules = ["[lists]\nbad = { type = 'number', dynamic = true }\n", &rule("own", own)].concat();
        assert_eq!(lookback_ms(&rules, "own"), 60 + 360 + 60);
    }
}

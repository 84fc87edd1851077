//! How many messages one address gets by a channel: past it they become one digest. The gravest are never held back.

use crate::clock::Timestamp;

/// So many within so long.
type Limit = (usize, i64);

const MINUTE_MS: i64 = 60_000;
const SMS: [Limit; 3] = [(5, 15 * MINUTE_MS), (11, 60 * MINUTE_MS), (21, 180 * MINUTE_MS)];
const MAIL: [Limit; 2] = [(20, 15 * MINUTE_MS), (60, 60 * MINUTE_MS)];

/// Severities from this on are held back.
pub(super) const SEVERITY_MIN: u8 = 2;

fn limits(channel: &str) -> &'static [Limit] {
    match channel {
        "sms" => &SMS,
        "mail" => &MAIL,
        _ => &[],
    }
}

/// How far back it matters what an address was handed; none where the channel has no limit.
pub(super) fn reach_ms(channel: &str) -> Option<i64> {
    limits(channel).iter().map(|(_, ms)| *ms).max()
}

/// When the next one may go, where not now. `handed`: what the address was handed lately, the oldest first.
pub(super) fn next(channel: &str, handed: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let free = |(n, width_ms): &Limit| {
        // The one that has to leave the window first.
        let place = handed.len().checked_sub(*n)?;
        handed.get(place).map(|at| at.plus_ms(*width_ms))
    };
    limits(channel).iter().filter_map(free).filter(|at| *at > now).max()
}

/// Why one was held back.
pub(super) fn reason(channel: &str) -> &'static str {
    match channel {
        "sms" => "more than 5 texts in 15 min, 11 in an hour or 21 in 3 h",
        _ => "more than 20 mails in 15 min or 60 in an hour",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_text_of_a_quarter_of_an_hour_waits_until_the_first_is_old() {
        let at = |minutes: i64| Timestamp(minutes * MINUTE_MS);
        let five: Vec<Timestamp> = (0..5).map(at).collect();
        assert_eq!(next("sms", &five[..4], at(5)), None);
        assert_eq!(next("sms", &five, at(5)), Some(at(15)));
        assert_eq!(next("sms", &five, at(15)), None);
        assert_eq!(next("webhook:noc", &five, at(5)), None);
    }

    #[test]
    fn the_longest_wait_of_all_limits_counts() {
        let many: Vec<Timestamp> = (0..21).map(|n| Timestamp(n * 8 * MINUTE_MS)).collect();
        let now = Timestamp(161 * MINUTE_MS);
        assert_eq!(next("sms", &many, now), Some(Timestamp(180 * MINUTE_MS)));
    }
}

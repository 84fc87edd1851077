//! Whether a provider is worth trying: after some failures in a row it is left alone for a while, then tried with one.
//! And how long one delivery waits between its own tries.

use crate::clock::Timestamp;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 3;
/// Rest before the first probe; it doubles with each that fails, up to the other.
const REST_MS: i64 = 15_000;
const REST_MS_MAX: i64 = 5 * 60_000;
/// Between the tries of one delivery, doubling up to the other.
const WAIT_MS: i64 = 5_000;
const WAIT_MS_MAX: i64 = 15 * 60_000;

/// One provider's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Circuit {
    n_failed: u32,
    /// Left alone until then.
    until: Option<Timestamp>,
    is_probing: bool,
}

impl Circuit {
    /// Something may be tried now; while it rests, nothing, and after that one at a time.
    pub(super) fn allows(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now >= until && !self.is_probing)
    }

    pub(super) fn is_open(&self) -> bool {
        self.until.is_some()
    }

    /// Something is being tried.
    pub(super) fn tries(&mut self) {
        self.is_probing = self.until.is_some();
    }

    /// The provider answered sensibly, whatever it said.
    pub(super) fn works(&mut self) {
        *self = Circuit::default();
    }

    pub(super) fn fails(&mut self, now: Timestamp) {
        if self.until.is_some() && !self.is_probing {
            // One of those that were under way when it opened.
            return;
        }
        self.n_failed = self.n_failed.saturating_add(1);
        self.is_probing = false;
        if let Some(over) = self.n_failed.checked_sub(FAILURES_MAX) {
            self.until = Some(now.plus_ms((REST_MS << over.min(8)).min(REST_MS_MAX)));
        }
    }
}

/// Wait before the next try after `n` failed, doubling, shortened by up to a half: which part depends on the delivery, so
/// that many do not come back at once.
pub(super) fn wait_ms(n: u32, delivery: i64) -> i64 {
    let whole = (WAIT_MS << n.saturating_sub(1).min(12)).min(WAIT_MS_MAX);
    let mixed = (delivery as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(n % 64) >> 33;
    whole - (mixed as i64) % (whole / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it_and_one_probe_at_a_time_tries_again() {
        let mut circuit = Circuit::default();
        let at = Timestamp(1_000_000);
        for _ in 0..2 {
            circuit.fails(at);
            assert!(circuit.allows(at));
        }
        circuit.works();
        for _ in 0..3 {
            assert!(circuit.allows(at));
            circuit.fails(at);
        }
        assert!(circuit.is_open() && !circuit.allows(at.plus_ms(REST_MS - 1)));
        let later = at.plus_ms(REST_MS);
        assert!(circuit.allows(later));
        circuit.tries();
        assert!(!circuit.allows(later), "one probe is enough");
        circuit.fails(later);
        assert!(!circuit.allows(later.plus_ms(2 * REST_MS - 1)) && circuit.allows(later.plus_ms(2 * REST_MS)));
        circuit.tries();
        circuit.works();
        assert!(circuit.allows(later) && !circuit.is_open());
    }

    #[test]
    fn tries_lie_between_half_and_whole_of_five_seconds_to_a_quarter_of_an_hour_and_differ_by_delivery() {
        let waits: Vec<i64> = (0..1_000).map(|id| wait_ms(1, id)).collect();
        assert!(waits.iter().all(|ms| (2_500..=5_000).contains(ms)));
        assert!(waits.iter().min() < waits.iter().max());
        for n in 9..200 {
            assert!((WAIT_MS_MAX / 2..=WAIT_MS_MAX).contains(&wait_ms(n, 7)), "{n}");
        }
    }
}

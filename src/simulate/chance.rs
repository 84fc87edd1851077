//! Chance from a seed: xoshiro256++ seeded by splitmix64, and the few distributions that calls follow.
//!
//! Own code, so that the same arguments give the same bytes whatever a library does to its generators.
//! Never used for anything that must not be guessed.

/// A stream of pseudo-random numbers. Streams of one seed and different names are unrelated, so adding an
/// attack leaves every clean call as it was.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: [u64; 4],
}

/// Spreads the bits of a value: the output step of splitmix64. Also turns a running number into
/// something that looks like a telephone number or a Call-ID.
pub(crate) fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Chance {
    pub(crate) fn new(seed: u64, stream: &str) -> Chance {
        // FNV-1a tells the streams apart; mix makes neighbours unalike.
        let name =
            stream.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let start = mix(seed) ^ name;
        let word = |i: u64| mix(start.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Chance { state: [word(1), word(2), word(3), word(4)] }
    }

    /// 64 fair bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`; 0 where `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform, both ends included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    pub(crate) fn happens(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Log-normal by its median: what talk and ringing times follow.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    /// An index of `0..n` by popularity: the density falls with rank as `rank^-(1 - 1/skew)`, a Zipf law of
    /// that exponent. `skew` 1 is uniform, 2 is `rank^-0.5`.
    pub(crate) fn popular(&mut self, n: u64, skew: f64) -> u64 {
        ((n as f64 * self.unit().powf(skew)) as u64).min(n.saturating_sub(1))
    }

    /// One of a table of weights and values. The table must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, table: &[(u32, T)]) -> T {
        let total: u32 = table.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(u64::from(total)) as u32;
        for (weight, value) in table {
            if at < *weight {
                return *value;
            }
            at -= weight;
        }
        table.last().expect("tables of weights are not empty").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_stream_give_the_same_bits_and_others_do_not() {
        let draw = |seed, stream| {
            (0..4)
                .map({
                    let mut c = Chance::new(seed, stream);
                    move |_| c.bits()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7, "clean"), draw(7, "clean"));
        assert_ne!(draw(7, "clean"), draw(8, "clean"));
        assert_ne!(draw(7, "clean"), draw(7, "tdos"));
    }

    #[test]
    fn distributions_keep_to_their_bounds_and_their_middle() {
        let mut c = Chance::new(1, "test");
        let mut below_median = 0;
        for _ in 0..10_000 {
            assert!(c.below(3) < 3);
            assert!((5..=9).contains(&c.between(5, 9)));
            assert!(c.popular(100, 2.0) < 100);
            below_median += u32::from(c.log_normal(90.0, 1.1) < 90.0);
        }
        assert!((4_800..5_200).contains(&below_median), "{below_median}");
        let ones = (0..10_000).filter(|_| c.pick(&[(1, true), (3, false)])).count();
        assert!((2_300..2_700).contains(&ones), "{ones}");
        assert_eq!(c.below(0), 0);
    }
}

//! The small parts: windows that slide as the engine's do, keys as conditions, texts made harmless.

use super::edits::has_key;
use super::ranking::Ranking;
use super::series::{self, Kind, Meter};
use super::tally::Hit;
use super::{plain, watch};
use crate::clock::Timestamp;
use crate::incident::{Alert, AlertState};

fn alert(key: &[(&str, &str)]) -> Alert {
    Alert {
        id: 1,
        customer: "acme".into(),
        rule: "r".into(),
        key: key.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        is_others: false,
        is_silent: false,
        is_muted: false,
        state: AlertState::Open,
        is_critical: false,
        count: 1,
        first: Timestamp(0),
        last: Timestamp(0),
        opened: Timestamp(0),
        changed: Timestamp(0),
        seen: Timestamp(0),
        incident: None,
        flaps: Vec::new(),
        n_flaps: 0,
        is_flapping: false,
    }
}

#[test]
fn the_peak_is_that_of_every_window_counted_by_hand() {
    // A generator with a fixed seed: the same events each time.
    let mut state = 7u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for window_ms in [1, 10, 100] {
        let mut hits: Vec<Hit> =
            (0..200).map(|_| Hit { rule: 0, key: 0, time: random(1000) as i64, value: random(20) }).collect();
        hits.sort_unstable();
        for kind in [Kind::Count, Kind::Distinct, Kind::Minutes] {
            let by_hand = hits.iter().map(|now| {
                // All of that time are in, those one window old are out.
                let inside = hits.iter().filter(|h| h.time <= now.time && h.time > now.time - window_ms);
                let mut values: Vec<u64> = inside.map(|h| h.value).collect();
                match kind {
                    Kind::Count => values.len() as u64,
                    Kind::Distinct => {
                        values.sort_unstable();
                        values.dedup();
                        values.len() as u64
                    }
                    _ => values.iter().sum(),
                }
            });
            let peak = series::peak(Meter { kind, window_ms }, hits.iter());
            assert_eq!(Some(peak), by_hand.max(), "{kind:?} {window_ms}");
        }
    }
}

#[test]
fn values_over_time_are_the_highest_of_each_stretch_and_forget_at_the_edge() {
    let mut series = series::buckets(&[], Timestamp(0), Timestamp(4_000));
    assert_eq!((series.bucket_ms, series.points.len()), (1_000, 5));
    let hits = [(0, 1), (100, 2), (1_999, 3), (3_500, 4)].map(|(time, value)| Hit { rule: 0, key: 0, time, value });
    series::values(&mut series, Meter { kind: Kind::Count, window_ms: 2_000 }, hits.iter());
    let values: Vec<f64> = series.points.iter().filter_map(|point| point.value).collect();
    // At 2,000 the first of all is exactly one window old.
    assert_eq!(values, [2.0, 3.0, 2.0, 2.0, 1.0]);
    assert_eq!(series.peak, Some(3.0));
}

#[test]
fn a_long_time_still_fits_into_the_picture() {
    for span in [1, 999, 86_400_000, 31 * 86_400_000, 400 * 86_400_000, i64::MAX / 4] {
        let series = series::buckets(&[], Timestamp(12_345), Timestamp(12_345 + span));
        assert!(series.points.len() <= crate::limits::FINDINGS_BUCKETS_MAX, "{span}: {}", series.points.len());
    }
}

#[test]
fn normal_is_told_by_the_smallest_value_that_so_many_do_not_exceed() {
    let meter = Meter { kind: Kind::Count, window_ms: 1 };
    let peaks = series::peaks(meter, (1..=100).collect(), Timestamp(0), Timestamp(1)).unwrap();
    assert_eq!((peaks.median, peaks.p99, peaks.highest), (50.0, 99.0, 100.0));
    let one = series::peaks(meter, vec![7], Timestamp(0), Timestamp(1)).unwrap();
    assert_eq!((one.keys, one.median, one.p99), (1, 7.0, 7.0));
    assert_eq!(series::peaks(meter, vec![], Timestamp(0), Timestamp(1)), None);
}

#[test]
fn the_fewest_that_make_most_of_it_are_found_and_not_more_than_asked() {
    let values = ["a", "a", "a", "b", "b", "c", "", "d"];
    let ranking = Ranking::of(values.into_iter());
    assert_eq!((ranking.total, ranking.values), (7, 4));
    let most = |percent, n| ranking.most(percent, n).iter().map(|r| r.value.as_str()).collect::<String>();
    assert_eq!(
        (most(40, 5), most(60, 5), most(60, 1), most(100, 4)),
        ("a".into(), "ab".into(), String::new(), "abcd".into())
    );
}

#[test]
fn a_key_is_a_condition_only_where_nothing_in_it_can_do_harm() {
    let of = |key: &[(&str, &str)]| has_key(&alert(key));
    let all = [("caller", "+46701234567"), ("trunk", "pstn-1")];
    assert_eq!(of(&all).as_deref(), Some("caller == +46701234567 and trunk == \"pstn-1\""));
    assert_eq!(of(&[("prefix(caller, 7)", "+2235550*")]).as_deref(), Some("caller in {+2235550*}"));
    assert_eq!(of(&[("prefix(caller, 7)", "+22355")]).as_deref(), Some("caller == +22355"));
    assert_eq!(of(&[("source_ip", "2001:db8::1")]).as_deref(), Some("source_ip == 2001:db8::1"));
    for (name, value) in [
        ("account", "x\" or caller is present"),
        ("account", "it's"),
        ("trunk", ""),
        ("caller", "(others)"),
        ("caller", "+4670*"),
        ("nothing", "+46701234567"),
        ("prefix(caller, 7)", "*"),
        ("source_ip", "192.0.2.1/8"),
    ] {
        assert_eq!(of(&[(name, value)]), None, "{name} {value}");
    }
    assert_eq!(has_key(&Alert { is_others: true, ..alert(&all) }), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn names_of_key_parts_are_fields_again() {
    for name in ["caller", "prefix(callee, 6)", "lower(user_agent)", "len(caller)", "source_ip"] {
        assert!(watch::operand(name).is_some(), "{name}");
    }
    for name in ["", "prefix(caller)", "prefix(caller, x)", "len(", "callers"] {
        assert!(watch::operand(name).is_none(), "{name}");
    }
}

#[test]
fn texts_from_outside_are_one_short_line() {
    assert_eq!(plain("<b>Anna</b>\r\n Berg\u{202e}\u{2028}x"), "(b)Anna(/b) Berg x");
    assert_eq!(plain(&"x".repeat(5_000_000)).len(), 60);
}

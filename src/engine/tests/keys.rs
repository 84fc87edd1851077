//! Keys: what makes two of them the same, and what happens when there are too many.

use proptest::prelude::*;

use super::*;

fn per(per: &str, more: &str) -> String {
    format!(
        "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = [{per}]; window = '10s'; warning = '>= 2'; {more}"
    )
}

#[test]
fn the_same_number_of_two_customers_is_two_keys_however_many_there_are() {
    let mut timeline = String::new();
    for i in 0..300 {
        timeline += &format!("t={i} +46700001 -> +46811 customer=c{i} trunk=t account=long-account-{i}\n");
        timeline += &format!("t={i} +46700001 -> +46811 customer=d{i} trunk=t account=long-account-{i}\n");
    }
    timeline += "t=300 +46700001 -> +46811 customer=c290 trunk=t account=long-account-290\n";
    timeline += "t=300 +46700001 -> +46811 customer=c295 trunk=t account=long-account-295\n";
    for (key, shown) in [
        ("'caller'", "caller=+46700001"),
        ("'trunk'", "trunk=t"),
        ("'account'", "account=long-account-295"),
        ("'trunk', 'caller'", "trunk=t caller=+46700001"),
    ] {
        let said = said(&per(key, ""), &timeline, PLAIN);
        assert_eq!(said.violations, [format!("t=300 warning r {shown} 2 of c295")], "{key}");
        assert_eq!(said.count("r")[5], 600);
    }
}

#[test]
fn keys_of_other_kinds_with_the_same_symbols_are_different() {
    check(
        &per("'caller'", ""),
        "
        t=0 +112233 -> +46811
        t=1 112233 -> +46811
        t=2 caller=112233x -> +46811
        t=3 caller=112233X -> +46811
        t=4 caller=112233x -> +46811
        t=5 +112233 -> +46811
        ",
        expect![[r#"
            t=4 warning r caller=112233x 2
            t=5 warning r caller=+112233 2"#]],
    );
}

#[test]
fn parts_that_only_together_look_the_same_are_different_keys() {
    check(
        &per("'trunk', 'account'", ""),
        "
        t=0 trunk=ab account=c
        t=0 trunk=a account=bc
        t=1 trunk=ab account=c
        ",
        expect!["t=1 warning r trunk=ab account=c 2"],
    );
}

#[test]
fn a_missing_part_is_skipped_or_merged() {
    let timeline = "
        t=0 trunk=a
        t=0 _ trunk=a
        t=0 anonymous trunk=a
        t=1 _ trunk=b
        t=1 +46700001
        t=2 +46700001
    ";
    check(&per("'trunk', 'caller'", ""), timeline, expect![""]);
    check(
        &per("'trunk', 'caller'", "missing_key = 'merge'"),
        timeline,
        expect![[r#"
            t=0 warning r trunk=a caller=(none) 2
            t=2 warning r trunk=(none) caller=+46700001 2"#]],
    );
}

#[test]
fn the_prefix_of_a_shorter_number_is_the_number_itself() {
    check(
        &per("'prefix(caller, 5)'", ""),
        "
        t=0 +46700
        t=1 +467001
        t=2 +467002
        t=3 +46700
        t=4 112
        t=4 112
        ",
        expect![[r#"
            t=2 warning r prefix(caller, 5)=+46700* 2
            t=3 warning r prefix(caller, 5)=+46700 2"#]],
    );
}

#[test]
fn past_its_key_limit_a_rule_forgets_quiet_keys_and_never_an_open_episode() {
    // One key a partition. Whose episode is open stays; what finds no room is counted as `(other)`.
    let mut timeline = String::new();
    for i in 0..400 {
        timeline += &format!("t=0 +4670{i:04}\nt=0 +4670{i:04}\n");
    }
    let said = said(&per("'caller'", "max_keys = 1"), &timeline, PLAIN);
    let others = said.violations.iter().filter(|v| v.contains("(other)")).count();
    assert_eq!(said.count("r")[3], 0);
    assert!(said.violations.len() - others <= 64 && (1..=64).contains(&others), "{:?}", said.violations);
    assert!((64..=128).contains(&said.count("r")[5]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `said` has compared 1, 2 and 8 threads.
    #[test]
    fn with_room_for_few_keys_nothing_depends_on_threads_and_no_bound_is_passed(
        calls in prop::collection::vec((0u32..150, 0u32..40, 0u32..3), 1..300),
        max_keys in 1u32..200,
        measure in prop::sample::select(vec!["count", "distinct(callee)", "run(callee, 1)"]),
        small_bytes in any::<bool>(),
    ) {
        let (mut timeline, mut now) = (String::new(), 0);
        for (caller, callee, step) in calls {
            now += step;
            timeline += &format!("t={now} +4670{caller:04} -> +4681{callee:04}\n");
        }
        let max_bytes = if small_bytes { 1 << 16 } else { 1 << 30 };
        let rule = per("'caller'", &format!("max_keys = {max_keys}; max_bytes = {max_bytes}"))
            .replace("'count'", &format!("'{measure}'"));
        let said = said(&rule, &timeline, PLAIN);
        let [.., keys] = said.count("r");
        let most = i64::from(max_keys.div_ceil(64)) * 64;
        // And `(other)` of each partition.
        prop_assert!(keys <= most + 64, "{} keys", keys);
        prop_assert!(said.bytes.0 >= 0 && said.bytes.1 > 0, "{:?}", said.bytes);
    }
}

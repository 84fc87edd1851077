//! Windows, episodes and time.

use super::*;

const COUNT: &str =
    "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '10s'; warning = '>= 3'; ";

#[test]
fn third_call_alerts_once_and_the_window_forgets_at_its_edge() {
    check(
        COUNT,
        "
        t=0    +46700001 -> +46811
        t=4    +46700001 -> +46812
        t=9    +46700001 -> +46813
        t=14   +46700001 -> +46814
        t=100  +46700001 -> +46814
        t=105  +46700001 -> +46814
        t=110  +46700001 -> +46814
        t=110  +46700001 -> +46814
        ",
        expect![[r#"
            t=9 warning r caller=+46700001 3
            t=110 warning r caller=+46700001 3"#]],
    );
}

#[test]
fn critical_from_closed_is_one_violation_and_from_warning_a_second() {
    check(
        "[[threshold]]; id = 'sum'; on = 'end'; measure = 'sum(duration)'; per = ['caller']; window = '1h'
         warning = '>= 60s'; critical = '>= 120s'",
        "
        t=0 end +46700001 -> +46811 duration=200
        t=1 end +46700001 -> +46811 duration=200
        t=0 end +46700002 -> +46811 duration=60
        t=1 end +46700002 -> +46811 duration=59.999
        t=2 end +46700002 -> +46811 duration=0.001
        ",
        expect![[r#"
            t=0 critical sum caller=+46700001 200
            t=0 warning sum caller=+46700002 60
            t=2 critical sum caller=+46700002 120"#]],
    );
}

#[test]
fn an_episode_closes_when_clear_for_the_cooldown_and_a_tick_says_when() {
    // 0, 1, 2 leave at 10, 11, 12: the level no longer holds from 10 on, and the cooldown is the window.
    let calls = "
        t=0 +46700001 -> +46811
        t=1 +46700001 -> +46811
        t=2 +46700001 -> +46811
    ";
    let with = |rest: &str| format!("{calls}{rest}");
    check_closed(PLAIN, COUNT, &with("tick t=19.999"), expect!["t=2 warning r caller=+46700001 3"]);
    check_closed(
        PLAIN,
        COUNT,
        &with("tick t=20"),
        expect![[r#"
            t=2 warning r caller=+46700001 3
            t=20 closed r caller=+46700001"#]],
    );
    // However late the tick, the instant is the same; and a second tick finds nothing.
    check_closed(
        PLAIN,
        COUNT,
        &with("tick t=500\ntick t=600"),
        expect![[r#"
            t=2 warning r caller=+46700001 3
            t=20 closed r caller=+46700001"#]],
    );
}

#[test]
fn a_cooldown_that_ends_at_an_event_has_ended_before_it() {
    let rule = format!("{COUNT}cooldown = '5s'; ");
    let calls = |t: f64| {
        format!("t=0 +46700001\nt=1 +46700001\nt=2 +46700001\nt=14 +46700001\nt=14.5 +46700001\nt={t} +46700001")
    };
    check_closed(
        PLAIN,
        &rule,
        &calls(15.0),
        expect![[r#"
            t=2 warning r caller=+46700001 3
            t=15 warning r caller=+46700001 3
            t=15 closed r caller=+46700001"#]],
    );
    check_closed(PLAIN, &rule, &calls(14.999), expect!["t=2 warning r caller=+46700001 3"]);
}

#[test]
fn an_event_that_leaves_as_another_comes_makes_no_dip() {
    let rule = format!("{COUNT}cooldown = '0s'; ");
    check_closed(
        PLAIN,
        &rule,
        "
        t=0  +46700001
        t=1  +46700001
        t=2  +46700001
        t=10 +46700001
        t=11.001 +46700001
        ",
        expect![[r#"
            t=2 warning r caller=+46700001 3
            t=11.001 warning r caller=+46700001 3
            t=11 closed r caller=+46700001"#]],
    );
}

#[test]
fn a_tick_neither_moves_a_clock_nor_makes_an_event_late() {
    let said = said(COUNT, "t=0 +46700001\nt=1 +46700001\ntick t=1000\nt=2 +46700001", PLAIN);
    assert_eq!(said.violations, ["t=2 warning r caller=+46700001 3"]);
    assert_eq!(said.count("r"), [3, 0, 0, 0, 0, 1]);
}

#[test]
fn a_late_event_is_put_in_its_place_and_its_violation_is_of_the_window_that_ends_now() {
    let said = said(
        COUNT,
        "
        t=5  +46700001
        t=12 +46700001
        t=2.001 +46700001
        t=2  +46700001
        t=20 +46700001
        t=10.5 +46700001
        ",
        PLAIN,
    );
    assert_eq!(said.violations, ["t=12 warning r caller=+46700001 3 late"]);
    // At 2 the event is a whole window older than the clock at 12.
    assert_eq!(said.count("r"), [5, 2, 1, 0, 0, 1]);
}

#[test]
fn events_without_the_measured_field_move_the_clock_and_count_for_min_count_alone() {
    check(
        "[[threshold]]; id = 'avg'; on = 'end'; measure = 'avg(ring)'; per = ['caller']; window = '1m'
         min_count = 3; warning = '>= 10s'",
        "
        t=0 end +46700001 ring=12
        t=1 end +46700001
        t=2 end +46700001
        t=0 end +46700002 ring=12
        t=1 end +46700002
        t=60 end +46700002
        ",
        expect!["t=2 warning avg caller=+46700001 12"],
    );
}

#[test]
fn shares_below_min_count_neither_fire_nor_clear() {
    let rule = "[[threshold]]; id = 's'; on = 'end'; measure = 'share(status == busy)'; per = ['trunk']; window = '10s'
        min_count = 3; warning = '>= 50%'; cooldown = '0s'";
    check_closed(
        PLAIN,
        rule,
        "
        t=0 end trunk=a status=busy
        t=1 end trunk=a status=busy
        t=2 end trunk=a status=answered
        # At 10 two are left, too few to clear; at 12 none, and that is clear when nothing else comes at 12.
        tick t=12
        tick t=12.001
        ",
        expect![[r#"
            t=2 warning s trunk=a 66.67
            t=12 closed s trunk=a"#]],
    );
}

#[test]
fn runs_are_chains_of_neighbours_in_whatever_order() {
    check(
        "[[threshold]]; id = 'run'; on = 'attempt'; measure = 'run(callee, 2)'; per = ['caller']; window = '1m'; warning = '>= 4'",
        "
        t=0 +46700001 -> +468100
        t=1 +46700001 -> +468106
        t=2 +46700001 -> +468102
        t=3 +46700001 -> +468102
        t=4 +46700001 -> +468107
        t=5 +46700001 -> +468104
        ",
        expect!["t=5 warning run caller=+46700001 5"],
    );
}

#[test]
fn distinct_holds_with_more_values_than_a_scan_takes() {
    let mut timeline = String::new();
    // 200 callees, each called twice, 0.1 s apart; window 30 s; the level is reached by the 150th other callee.
    for i in 0..400 {
        timeline += &format!("t={} +46700001 -> +46800{:03}\n", i as f64 / 10.0, i % 200);
    }
    check(
        "[[threshold]]; id = 'd'; on = 'attempt'; measure = 'distinct(callee)'; per = ['caller']; window = '30s'; warning = '>= 150'; critical = '>= 201'",
        &timeline,
        expect!["t=14.9 warning d caller=+46700001 150"],
    );
}

#[test]
fn a_call_record_meets_all_phases_and_its_violations_are_in_rule_order() {
    let rule = |id: &str, on: &str| {
        format!(
            "[[threshold]]; id = '{id}'; on = '{on}'; measure = 'count'; per = ['caller']; window = '1m'; warning = '>= 1'\n"
        )
    };
    let rules = [rule("z-end", "end"), rule("answer", "answer"), rule("a-attempt", "attempt")].concat();
    check(
        &rules,
        "
        t=9 cdr +46700001 -> +46811 status=answered duration=5
        t=9 cdr +46700002 -> +46811 status=busy
        ",
        expect![[r#"
            t=9 warning z-end caller=+46700001 1
            t=9 warning answer caller=+46700001 1
            t=9 warning a-attempt caller=+46700001 1
            t=9 warning z-end caller=+46700002 1
            t=9 warning a-attempt caller=+46700002 1"#]],
    );
}

#[test]
fn times_at_the_ends_of_the_calendar_are_counted_like_others() {
    let (first, last) = ((Timestamp::MIN.0 - START_MS) / 1000, (Timestamp::MAX.0 - START_MS) / 1000);
    let timeline =
        format!("t={first} +46700001\nt={first} +46700001\nt={first} +46700001\nt={last} +46700001\ntick t={last}");
    let said = said(COUNT, &timeline, PLAIN);
    assert_eq!(said.violations, [format!("t={first} warning r caller=+46700001 3")]);
    assert_eq!(said.closed, [format!("t={} closed r caller=+46700001", first + 20)]);
}

#[test]
fn an_idle_key_forgets_however_long_it_was_idle() {
    // Times are held as 32 bits of milliseconds, which come round after 49.7 days.
    let round = 4_294_967.296;
    for measure in ["count", "distinct(callee)", "sum(duration)", "avg(duration)", "run(callee, 1)"] {
        // Two calls never reach these, three would.
        let level = match measure {
            "sum(duration)" => "warning = '>= 15s'",
            "avg(duration)" => "warning = '>= 5s'; min_count = 3",
            _ => "warning = '>= 3'",
        };
        let rule = format!(
            "[[threshold]]; id = 'r'; on = 'end'; measure = '{measure}'; per = ['caller']; window = '10s'; {level}"
        );
        let mut timeline = String::new();
        for (n, times) in [1.0, 2.0, 3.5].iter().enumerate() {
            for i in 0..2 {
                let at = times * round + f64::from(i);
                timeline += &format!("t={at} end +46700001 -> +4681{n}{i} duration=5\n");
            }
        }
        assert_eq!(said(&rule, &timeline, PLAIN).violations, [""; 0], "{measure}");
    }
}

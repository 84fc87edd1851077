//! Levels against what is usual of the key in that hour of the week; `t=0` is a Monday at ten.

use super::*;

/// Of the rule, with rows: key, hour, value.
fn rules(rule: &str, rows: &[(&str, usize, &str)]) -> String {
    let rows = rows.iter().map(|(key, hour, value)| format!("r,default,{key},{hour},{value}; "));
    format!(
        "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['trunk']; window = '1m'; cooldown = '0s'; {rule}; \
         --- baselines/r.csv; rule,customer,key,hour_of_week,value; {}",
        rows.collect::<String>()
    )
}

fn calls(trunk: &str, times: std::ops::Range<i64>) -> String {
    times.map(|at| format!("t={at} +46700001 -> +46810 trunk={trunk}\n")).collect()
}

#[test]
fn a_level_rises_and_falls_with_what_is_usual_of_the_key() {
    let rules = rules("warning = '>= 3x'; critical = '>= 5x'", &[("a", 10, "2"), ("a", 11, "4"), ("*", 10, "3")]);
    let calls = [calls("a", 0..10), calls("b", 10..19), calls("a", 3600..3612)].concat();
    check(
        &rules,
        &calls,
        expect![[r#"
            t=5 warning r trunk=a 6
            t=9 critical r trunk=a 10
            t=18 warning r trunk=b 9
            t=3611 warning r trunk=a 12"#]],
    );
}

#[test]
fn small_numbers_are_nothing_however_many_times_what_is_usual() {
    let rows = [("a", 10, "0.3")];
    check(&rules("warning = '>= 3x'", &rows), &calls("a", 0..9), expect!["t=0 warning r trunk=a 1"]);
    check(&rules("warning = '>= 3x'; min_value = '5'", &rows), &calls("a", 0..9), expect!["t=4 warning r trunk=a 5"]);
    // In an hour that never had a call everything is unusual, from that value on.
    check(
        &rules("warning = '>= 3x'; min_value = '4'", &[("a", 3, "1")]),
        &calls("a", 0..9),
        expect!["t=3 warning r trunk=a 4"],
    );
}

#[test]
fn of_what_nothing_is_known_nothing_is_said() {
    check(&rules("warning = '>= 3x'", &[("a", 10, "0")]), &calls("b", 0..50), expect![""]);
    let without =
        "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['trunk']; window = '1m'; warning = '>= 3x'";
    check(without, &calls("b", 0..50), expect![""]);
}

#[test]
fn a_key_is_clear_when_it_is_as_usual_again_or_too_small_to_matter() {
    let rows = [("a", 10, "2")];
    check_closed(
        PLAIN,
        &rules("warning = '>= 3x'; clear = '< 2x'", &rows),
        &format!("{}tick t=64\ntick t=500", calls("a", 0..6)),
        expect![[r#"
            t=5 warning r trunk=a 6
            t=62 closed r trunk=a"#]],
    );
    check_closed(
        PLAIN,
        &rules("warning = '>= 3x'; clear = '< 2x'; min_value = '6'", &rows),
        &format!("{}tick t=500", calls("a", 0..6)),
        expect![[r#"
            t=5 warning r trunk=a 6
            t=60 closed r trunk=a"#]],
    );
}

#[test]
fn less_than_usual_is_found_as_the_window_empties() {
    // The first calls of a window are too few as well: `for` is for that.
    let rules = rules("warning = '< 0.5x'; for = '20s'; min_value = '4'", &[("a", 10, "10"), ("b", 10, "3")]);
    let few = format!("{}{}", calls("b", 0..2), calls("a", 50..54));
    check(&rules, &format!("{few}tick t=69\ntick t=70"), expect!["t=70 warning r trunk=a 4"]);
    // Six left at 100, four at 104; an empty window is clear, and as good as forgotten.
    let calls = calls("a", 42..50);
    check(&rules, &format!("{calls}tick t=103\ntick t=106\ntick t=200"), expect![""]);
    let calls = format!("{calls}t=90 +46700001 -> +46810 trunk=a\n");
    check(&rules, &format!("{calls}tick t=106\ntick t=125\ntick t=126"), expect!["t=126 warning r trunk=a 1"]);
}

#[test]
fn shares_and_spans_are_held_against_what_is_usual_of_them() {
    let share = "[[threshold]]; id = 'r'; on = 'end'; measure = 'share(status == answered)'; per = ['trunk']; window = '10m'; \
                 min_count = 4; warning = '< 0.5x'; --- baselines/r.csv; rule,customer,key,hour_of_week,value; r,default,*,10,60.0";
    let end = |at: i64, status: &str| format!("t={at} end +46700001 -> +46810 trunk=a status={status} duration=30\n");
    let ends = [
        end(0, "answered"),
        end(1, "answered"),
        end(2, "failed"),
        end(3, "failed"),
        end(4, "failed"),
        end(5, "failed"),
        end(6, "failed"),
    ];
    // Below 30 %: two of seven.
    check(share, &ends.concat(), expect!["t=6 warning r trunk=a 28.57"]);
    let sum = "[[threshold]]; id = 'r'; on = 'end'; measure = 'sum(duration)'; per = ['trunk']; window = '10m'; \
               warning = '>= 2x'; min_value = '1m'; --- baselines/r.csv; rule,customer,key,hour_of_week,value; r,default,a,10,50";
    check(sum, &ends.concat(), expect!["t=3 warning r trunk=a 120"]);
}

#[test]
fn a_violation_tells_the_threshold_as_it_was_then() {
    let rules = rules("warning = '>= 2.5x'; critical = '>= 4x'; min_value = '7'", &[("a", 10, "2")]);
    let policy = policy(&rules);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let take = {
        let shown = Arc::clone(&shown);
        move |judged: &Judged| {
            shown.lock().unwrap().extend(judged.violations.iter().filter_map(|v| output::shown(&policy, v)));
        }
    };
    run_with(&Arc::new(Names::new()), &rules, &calls("a", 0..9), (PLAIN, 1, 1), Box::new(take));
    assert_eq!(*shown.lock().unwrap(), [(7.0, 7.0), (8.0, 8.0)], "2.5 times 2 is less than the least");
}

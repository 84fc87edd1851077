//! One call told of by several feeds, legs of calls, and which calls are up.

use super::*;

const ATTEMPTS: &str =
    "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '20h'; warning = '>= 99'\n";
const UP: &str = "[[threshold]]; id = 'up'; on = 'call'; measure = 'concurrent'; per = ['trunk']; warning = '>= 2'; critical = '>= 3'; cooldown = '0s'\n";

#[test]
fn a_merging_feed_counts_one_attempt_a_call() {
    let said = said(
        ATTEMPTS,
        "
        t=0 +46700001 -> +46811 id=a
        t=1 +46700001 -> +46811 id=a
        t=2 answer +46700001 -> +46811 id=a
        t=9 cdr +46700001 -> +46811 id=a status=answered duration=7
        # Within two minutes of its end a call is still known.
        t=129 +46700001 -> +46811 id=a
        t=129.001 +46700001 -> +46811 id=a
        t=129 +46700001 -> +46811 id=a customer=other
        ",
        MERGE,
    );
    assert_eq!(said.count("r")[0], 3);
}

#[test]
fn a_diverted_call_is_a_new_attempt_and_its_retransmission_is_none() {
    let said = said(
        ATTEMPTS,
        "
        t=0 +46700001 -> +46811 id=a
        t=1 +46700001 -> +46812 id=a diverting=+46811
        t=2 +46700001 -> +46812 id=a diverting=+46811
        t=3 answer +46700001 -> +46812 id=b
        t=4 +46700001 -> +46812 id=b diverting=+46811
        t=5 +46700001 -> +46812 id=b diverting=+46811
        ",
        MERGE,
    );
    assert_eq!(said.count("r")[0], 3);
}

#[test]
fn b_legs_are_not_seen_unless_the_feed_says_so() {
    let timeline = "
        t=0 +46700001 -> +46811 id=a leg=a
        t=0 +46700001 -> +46811 id=a leg=b
        t=0 +46700001 -> +46811 id=b leg=b
    ";
    assert_eq!(said(ATTEMPTS, timeline, MERGE).count("r")[0], 1);
    assert_eq!(said(ATTEMPTS, timeline, LaneOptions { both_legs: true, ..MERGE }).count("r")[0], 3);
}

#[test]
fn records_of_b_legs_are_not_seen_on_any_feed_unless_it_says_so() {
    let timeline = "
        t=0 cdr +46700001 -> +46811 id=a status=answered duration=5
        t=0 cdr +46700001 -> +46811 id=a leg=b status=answered duration=5
        t=0 cdr +46700001 -> +46811 leg=b status=busy
    ";
    assert_eq!(said(ATTEMPTS, timeline, PLAIN).count("r")[0], 1);
    assert_eq!(said(ATTEMPTS, timeline, LaneOptions { both_legs: true, ..PLAIN }).count("r")[0], 3);
}

#[test]
fn concurrent_calls_are_a_set_of_call_ids() {
    check(
        UP,
        "
        t=0 trunk=a id=1
        t=1 trunk=a id=1
        t=2 answer trunk=a id=1
        t=3 end id=unknown trunk=a
        t=4 trunk=a id=2
        t=5 end id=2
        t=5 end id=2
        t=6 trunk=a id=3
        t=7 trunk=a id=4
        t=8 trunk=a id=2
        ",
        expect![[r#"
            t=4 warning up trunk=a 2
            t=6 warning up trunk=a 2
            t=7 critical up trunk=a 3"#]],
    );
}

#[test]
fn the_end_of_a_b_leg_is_not_the_end_of_the_call() {
    let timeline = "
        t=0 trunk=a id=1
        t=1 end id=1 leg=b status=busy
        t=2 answer trunk=a id=x leg=b
        t=3 trunk=a id=2
    ";
    check_closed(MERGE, UP, timeline, expect!["t=3 warning up trunk=a 2"]);
}

#[test]
fn a_call_record_ends_the_call_it_tells_of() {
    for options in [PLAIN, MERGE] {
        check_closed(
            options,
            UP,
            "
            t=0 trunk=a id=1
            t=1 cdr trunk=a id=1 status=busy
            t=2 trunk=a id=2
            t=3 cdr trunk=a id=3 status=answered
            t=4 trunk=a id=4
            ",
            expect!["t=4 warning up trunk=a 2"],
        );
    }
}

#[test]
fn a_blocked_call_is_not_up_and_no_interim_makes_it_so() {
    check_closed(
        MERGE,
        &format!("[[firewall]]; id = 'no'; when = 'caller in {{+46700001}}'; action = 'block'\n{UP}"),
        "
        t=0 +46700002 trunk=a id=1
        t=1 +46700001 trunk=a id=2
        t=2 answer +46700001 trunk=a id=2
        t=3 interim +46700001 trunk=a id=2
        t=4 +46700002 trunk=a id=3
        ",
        expect!["t=4 warning up trunk=a 2"],
    );
}

#[test]
fn a_call_is_up_for_12_h_unless_an_interim_says_it_still_is() {
    check_closed(
        PLAIN,
        UP,
        "
        t=0     trunk=a id=1
        t=0     trunk=b id=2
        t=36000 interim id=2
        # An old one shortens nothing.
        t=100   interim id=2
        t=43200 trunk=a id=3
        t=43200 trunk=b id=4
        ",
        expect!["t=43200 warning up trunk=b 2"],
    );
}

#[test]
fn an_episode_of_concurrent_calls_closes_when_enough_of_them_ended() {
    check_closed(
        PLAIN,
        UP,
        "
        t=0 trunk=a id=1
        t=1 trunk=a id=2
        t=5 end id=1
        tick t=5
        t=6 trunk=a id=3
        ",
        expect![[r#"
            t=1 warning up trunk=a 2
            t=6 warning up trunk=a 2
            t=5 closed up trunk=a"#]],
    );
}

#[test]
fn what_follows_a_blocked_attempt_is_blocked_too_where_a_rule_does_not_count_that() {
    let ends = "[[threshold]]; id = 'ends'; on = 'end'; measure = 'count'; per = ['callee']; window = '1h'; warning = '>= 9'; count_blocked = false\n";
    let block = "[[firewall]]; id = 'no'; when = 'caller in {+46700001}'; action = 'block'\n";
    let timeline = "
        t=0 +46700001 -> +46811 id=a
        t=0 +46700002 -> +46811 id=b
        t=1 end +46700001 -> +46811 id=a status=rejected
        t=1 end +46700002 -> +46811 id=b status=answered
        t=2 cdr +46700001 -> +46811 id=c status=rejected
    ";
    let said_by = |rules: &str, options| said(rules, timeline, options).count("ends")[0];
    assert_eq!(said_by(&format!("{block}{ends}"), MERGE), 1);
    // On a feed that does not merge, an end is an event by itself.
    assert_eq!(said_by(&format!("{block}{ends}"), PLAIN), 2);
    // The same where events are judged one after the other.
    let coupled = "[lists]; dyn = { type = 'number', dynamic = true }
        [[firewall]]; id = 'dyn'; when = 'caller in $dyn'; action = 'block'
        [[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '10s'
        warning = '>= 1'; on_warning = { block = { list = 'dyn', ttl = '5s' } }; where = 'caller in {+46700001}'\n";
    assert_eq!(said_by(&format!("{coupled}{ends}"), MERGE), 1);
}

//! Verdicts: the first rule that matches, what only marks, what only watches, and what nothing can block.

use super::*;

const BLOCK: &str = "[[firewall]]; id = 'no'; when = 'caller in {+4670*}'; action = 'block'\n";

#[test]
fn flags_mark_and_go_on_and_monitored_rules_never_decide() {
    check_verdicts(
        PLAIN,
        "[lists]; bad = { type = 'number', items = ['+4670*'] }
         [[firewall]]; id = 'mark'; when = 'caller in {+46*}'; action = 'flag'; flag = 'swedish'
         [[firewall]]; id = 'watch'; when = 'caller in {+46*}'; action = 'block'; mode = 'monitor'
         [[firewall]]; id = 'listed'; when = 'caller in $bad'; action = 'block'; sip_code = 603
         [[firewall]]; id = 'mark-2'; when = 'caller in {+46*}'; action = 'flag'; flag = 'late'
         [[firewall]]; id = 'off'; when = 'caller in {+46*}'; action = 'block'; mode = 'off'",
        "
        t=0 +46700001 -> +46811
        t=1 +46800001 -> +46811
        t=2 +47700001 -> +46811
        ",
        expect![[r#"
            t=0 block listed list flags=swedish
            t=1 allow default none flags=swedish,late
            t=2 allow default none"#]],
    );
}

#[test]
fn a_call_record_is_decided_by_the_first_rule_of_its_attempt_then_answer_then_end() {
    let rules = "[[firewall]]; id = 'end'; on = 'end'; when = 'caller in {+4670*}'; action = 'block'
        [[firewall]]; id = 'attempt'; when = 'caller in {+46700002}'; action = 'divert'; divert_to = '+46899'
        [[firewall]]; id = 'answer'; on = 'answer'; when = 'caller in {+46700003}'; action = 'block'";
    check_verdicts(
        PLAIN,
        rules,
        "
        t=0 cdr +46700001 status=busy
        t=1 cdr +46700002 status=busy
        t=2 cdr +46700003 status=answered
        t=3 cdr +46700003 status=busy
        ",
        expect![[r#"
            t=0 block end policy
            t=1 divert attempt policy
            t=2 block answer policy
            t=3 block end policy"#]],
    );
}

#[test]
fn events_after_the_attempt_repeat_its_verdict_on_a_merging_feed() {
    let timeline = "
        t=0 +46700001 -> +46811 id=a
        t=0 +46800001 -> +46811 id=b
        t=1 answer +46700001 id=a
        t=2 interim +46700001 id=a
        t=3 end +46700001 id=a status=answered
        t=3 end +46800001 id=b status=answered
        t=4 answer +46700001 id=c
    ";
    let rules = format!(
        "{BLOCK}[[firewall]]; id = 'end-b'; on = 'end'; when = 'caller in {{+468*}}'; action = 'divert'; divert_to = '+46899'"
    );
    check_verdicts(
        MERGE,
        &rules,
        timeline,
        expect![[r#"
            t=0 block no policy
            t=0 allow default none
            t=1 block no policy
            t=2 block no policy
            t=3 block no policy
            t=3 divert end-b policy
            t=4 allow default none"#]],
    );
    check_verdicts(
        PLAIN,
        &rules,
        timeline,
        expect![[r#"
            t=0 block no policy
            t=0 allow default none
            t=1 allow default none
            t=2 allow default none
            t=3 allow default none
            t=3 divert end-b policy
            t=4 allow default none"#]],
    );
}

#[test]
fn a_verdict_that_is_repeated_has_its_flags_too() {
    let rules =
        format!("[[firewall]]; id = 'mark'; when = 'caller in {{+46*}}'; action = 'flag'; flag = 'seen'\n{BLOCK}");
    check_verdicts(
        VERDICT,
        &rules,
        "t=0 +46700001 id=a\nt=1 +46700001 id=a\nt=2 +46800001 id=b\nt=3 +46800001 id=b",
        expect![[r#"
            t=0 block no policy flags=seen
            t=1 block no policy flags=seen
            t=2 allow default none flags=seen
            t=3 allow default none flags=seen"#]],
    );
}

#[test]
fn the_same_question_within_32_s_has_the_same_answer_and_is_not_counted() {
    let rule = "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '1h'; warning = '>= 3'\n";
    let said = said(
        &format!("{BLOCK}{rule}"),
        "
        t=0  +46700001 id=a
        t=32 +46700001 id=a
        t=32.001 +46700001 id=a
        t=33 +46700001 id=b
        t=33 +46700001
        t=33 +46700001
        ",
        VERDICT,
    );
    assert!(said.verdicts.iter().all(|v| v.contains("block no")), "{:?}", said.verdicts);
    assert_eq!(said.count("r")[0], 5);
}

#[test]
fn duplicates_are_dropped_before_the_policy_and_get_the_verdict_of_the_first() {
    let rule = "[[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '1h'; warning = '>= 2'\n";
    let timeline = "
        t=0 +46700001 id=a
        t=0 +46700001 id=a
        t=0 +46700001 id=a leg=x
        t=0 end +46700001 id=a
        t=0 +46700001
        t=0 +46700001
    ";
    for options in [DEDUP, LaneOptions { dedup: true, ..VERDICT }, LaneOptions { dedup: true, ..MERGE }] {
        let said = said(&format!("{BLOCK}{rule}"), timeline, options);
        assert_eq!(said.duplicates, 1);
        if options != DEDUP {
            // A second asking must not be the way past the firewall.
            assert_eq!(said.verdicts[1], "t=0 block no policy", "{options:?}");
        }
    }
    let said = said(&format!("{BLOCK}{rule}"), timeline, DEDUP);
    assert_eq!(said.count("r")[0], 4);
}

#[test]
fn emergency_calls_pass_every_rule_and_are_counted() {
    let said = said(
        "default_action = 'block'
         [[firewall]]; id = 'all'; when = 'caller in {+46*}'; action = 'block'
         [[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '1h'; warning = '>= 2'",
        "
        t=0 +46700001 -> 112 direction=outbound
        t=1 +46700001 -> 911 direction=outbound
        t=2 +46700001 -> +46811 direction=outbound
        ",
        PLAIN,
    );
    assert_eq!(
        said.verdicts,
        ["t=0 allow builtin:emergency policy", "t=1 allow builtin:emergency policy", "t=2 block all policy"]
    );
    assert_eq!(said.violations, ["t=1 warning r caller=+46700001 2"]);
}

#[test]
fn the_call_back_passes_for_30_min_after_the_latest_emergency_call() {
    check_verdicts(
        PLAIN,
        "default_action = 'block'",
        "
        t=0    +46811 -> +46700001
        t=10   +46700001 -> 112 direction=outbound
        # Its end is told late, with an earlier time: that shortens nothing.
        t=5    +46700001 -> 112 direction=outbound
        t=11   +46811 -> +46700001
        t=12   +46811 -> +46700001 direction=outbound
        t=13   +46811 -> +46700002
        t=14   +46811 -> +46700001 customer=other
        t=1810 +46811 -> +46700001
        t=1810.001 +46811 -> +46700001
        ",
        expect![[r#"
            t=0 block default none
            t=10 allow builtin:emergency policy
            t=5 allow builtin:emergency policy
            t=11 allow builtin:emergency policy
            t=12 block default none
            t=13 block default none
            t=14 block default none
            t=1810 allow builtin:emergency policy
            t=1810.001 block default none"#]],
    );
}

#[test]
fn a_tracked_rule_tells_once_a_caller_until_it_was_quiet_for_5_min() {
    check_closed(
        PLAIN,
        "[[firewall]]; id = 'no'; when = 'callee in {+4681*}'; action = 'block'; track = ['alert:critical']",
        "
        t=0   +46700001 -> +46811
        t=100 +46700001 -> +46811
        t=100 +46700002 -> +46811
        t=299 +46700001 -> +46811
        t=500 +46700001 -> +46811
        t=800 +46700001 -> +46811
        tick t=1100
        ",
        expect![[r#"
            t=0 critical no caller=+46700001 1
            t=100 critical no caller=+46700002 1
            t=800 critical no caller=+46700001 1
            t=800 closed no caller=+46700001
            t=400 closed no caller=+46700002
            t=1100 closed no caller=+46700001"#]],
    );
}

#[test]
fn a_tracked_rule_keys_by_the_source_address_where_the_caller_is_withheld() {
    check(
        "[[firewall]]; id = 'no'; on = 'request'; when = 'trunk == \"a\"'; action = 'block'; mode = 'monitor'; track = ['alert:warning']",
        "
        t=0 anonymous -> +46811 trunk=a source_ip=192.0.2.1
        t=1 _ -> +46811 trunk=a source_ip=192.0.2.1
        t=2 register _ -> +46811 trunk=a source_ip=192.0.2.2
        t=3 _ -> +46811 trunk=a
        ",
        expect![[r#"
            t=0 warning no source_ip=192.0.2.1 1
            t=2 warning no source_ip=192.0.2.2 1"#]],
    );
}

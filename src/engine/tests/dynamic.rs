//! Lists that thresholds fill: when an entry begins and ends, and what never is on one.

use super::*;

/// Callers of three attempts in 10 s are blocked; the episode ends 10 s after the level ceased to hold, the entry 5 s on.
fn rules(list: &str, more: &str) -> String {
    format!(
        "[lists]; dyn = {{ type = 'number', dynamic = true{list} }}; {more}
         [[firewall]]; id = 'no'; when = 'caller in $dyn'; action = 'block'
         [[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '10s'; count_blocked = false
         warning = '>= 3'; on_warning = {{ block = {{ list = 'dyn', ttl = '5s' }} }}"
    )
}

#[test]
fn the_call_that_crosses_is_judged_again_and_the_entry_holds_for_the_episode_and_its_ttl() {
    let three = "t=0 +46700001\nt=1 +46700001\nt=2 +46700001\n";
    check_verdicts(
        PLAIN,
        &rules("", ""),
        // Clear from 10 on, closed at 20, on the list until 25; whether or not a tick came.
        &format!("{three}t=24.999 +46700001\nt=25 +46700001\nt=24 +46700001"),
        expect![[r#"
            t=0 allow default none
            t=1 allow default none
            t=2 block no analytics
            t=24.999 block no analytics
            t=25 allow default none
            t=24 block no analytics"#]],
    );
    check_verdicts(
        PLAIN,
        &rules("", ""),
        &format!("{three}tick t=22\nt=24.999 +46700001\nt=25 +46700001"),
        expect![[r#"
            t=0 allow default none
            t=1 allow default none
            t=2 block no analytics
            t=24.999 block no analytics
            t=25 allow default none"#]],
    );
}

#[test]
fn a_rule_that_is_met_twice_for_one_event_matched_once() {
    let rules = rules("", "") + "\n[[firewall]]; id = 'rest'; when = 'trunk == \"a\"'; action = 'allow'";
    let said = said(&rules, "t=0 +46700001 trunk=a\nt=1 +46700001 trunk=a\nt=2 +46700001 trunk=a", PLAIN);
    assert_eq!((said.count("no")[0], said.count("rest")[0]), (1, 2));
    let rules = rules_after_an_allow();
    let said = super::said(&rules, "t=0 +46700001 trunk=a\nt=1 +46700001 trunk=a\nt=2 +46700001 trunk=a", PLAIN);
    assert_eq!((said.count("no")[0], said.count("first")[0]), (0, 3));
}

fn rules_after_an_allow() -> String {
    rules("", "").replacen(
        "[[firewall]]",
        "[[firewall]]; id = 'first'; when = 'trunk == \"a\"'; action = 'allow'\n[[firewall]]",
        1,
    )
}

#[test]
fn a_full_list_refuses_and_takes_again_when_an_entry_has_ended() {
    let said = said(
        &rules(", max_entries = 1", ""),
        "
        t=0 +46700001\nt=0 +46700001\nt=0 +46700001
        t=1 +46700002\nt=1 +46700002\nt=1 +46700002
        # The first entry ends at 25.
        t=25 +46700003\nt=25 +46700003\nt=25 +46700003
        ",
        PLAIN,
    );
    let blocked: Vec<&String> = said.verdicts.iter().filter(|v| v.contains("block")).collect();
    assert_eq!(blocked, ["t=0 block no analytics", "t=25 block no analytics"]);
    assert_eq!((said.count("r")[4], said.violations.len()), (1, 3));
}

#[test]
fn own_numbers_are_never_blocked_by_counting() {
    let own = "own_numbers = { type = 'number', items = ['+46700001', '+468400*'] }";
    let own_callers = "t=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=0 +46700002\nt=0 +46700002\nt=0 +46700002";
    let said = said(&rules("", own), own_callers, PLAIN);
    assert_eq!(said.verdicts.iter().filter(|v| v.contains("block")).count(), 1);
    // Nor by a prefix that covers them.
    let rules = rules("", own).replace("per = ['caller']", "per = ['prefix(caller, 5)']");
    let said = super::said(
        &rules,
        "t=0 +46700002\nt=0 +46700003\nt=0 +46700004\nt=1 +46700001\nt=1 +46700009\nt=2 +46840009\nt=2 +46841009\nt=2 +46840001\nt=2 +46841001\nt=3 +46840001\nt=3 +46841001",
        PLAIN,
    );
    assert_eq!(
        said.verdicts[2..],
        [
            "t=0 block no analytics",
            "t=1 allow default none",
            "t=1 block no analytics",
            "t=2 allow default none",
            "t=2 allow default none",
            "t=2 allow default none",
            "t=2 allow default none",
            "t=3 allow default none",
            "t=3 block no analytics",
        ]
    );
}

#[test]
fn emergency_numbers_are_never_put_on_a_list() {
    let said =
        said(&rules("", ""), "t=0 112 -> +46811\nt=0 112 -> +46811\nt=0 112 -> +46811\nt=1 112 -> +46811", PLAIN);
    assert!(said.verdicts.iter().all(|v| v.contains("allow")), "{:?}", said.verdicts);
    assert_eq!(said.violations.len(), 1);
}

#[test]
fn rules_above_win_and_a_monitored_rule_puts_nothing_on_a_list() {
    let three = "t=0 +46700001 trunk=a\nt=0 +46700001 trunk=a\nt=0 +46700001 trunk=a";
    assert!(said(&rules_after_an_allow(), three, PLAIN).verdicts.iter().all(|v| v.contains("allow first")));
    let watched = rules("", "").replace("window = '10s'", "window = '10s'; mode = 'monitor'");
    let said = said(&watched, three, PLAIN);
    assert!(said.verdicts.iter().all(|v| v.contains("allow default")) && said.violations.len() == 1);
}

#[test]
fn an_entry_two_episodes_hold_ends_with_the_later() {
    let rules = rules("", "").replace("count_blocked = false", "")
        + "\n[[threshold]]; id = 'long'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '1m'; cooldown = '0s'
           warning = '>= 3'; on_warning = { block = { list = 'dyn', ttl = '1s' } }";
    // Of `r` until 25, of `long` until 61.
    let said = said(&rules, "t=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=60.999 _\nt=60.999 +46700001", PLAIN);
    assert_eq!(said.verdicts[4], "t=60.999 block no analytics");
    let said = super::said(&rules, "t=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=61 +46700001", PLAIN);
    assert_eq!(said.verdicts[3], "t=61 allow default none");
}

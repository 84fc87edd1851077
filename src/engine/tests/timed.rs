//! 2-rules 2.9 points 9, 10 and 12: what time alone brings.

use super::*;

const HELD: &str = "threshold = [{ id = 'r', on = 'attempt', measure = 'count', per = ['caller'], window = '60s', \
                    warning = '>= 3', critical = '>= 5', for = '10s', cooldown = '30s' }]";

#[test]
fn a_level_that_must_hold_is_reached_when_it_has_held_for_so_long() {
    let calls = "t=0 +46700001\nt=1 +46700001\nt=2 +46700001\n";
    // The third makes it hold from 2 on.
    check(HELD, &format!("{calls}tick t=11.999"), expect![""]);
    check(HELD, &format!("{calls}tick t=12"), expect!["t=12 warning r caller=+46700001 3"]);
    // A tick says when it was, and says it once.
    check(HELD, &format!("{calls}tick t=40\ntick t=41"), expect!["t=12 warning r caller=+46700001 3"]);
    // So does the next event of the key, and the warning is of what was before it.
    check(HELD, &format!("{calls}t=12 +46700001"), expect!["t=12 warning r caller=+46700001 3"]);
    check(HELD, &format!("{calls}t=11.999 +46700001"), expect![""]);
}

#[test]
fn a_level_that_breaks_off_begins_anew() {
    // It holds from 55 to 60, when the first has left, and from 61 on.
    let calls = "t=0 +46700001\nt=50 +46700001\nt=55 +46700001\nt=61 +46700001\n";
    check(HELD, &format!("{calls}tick t=70.999"), expect![""]);
    check(HELD, &format!("{calls}tick t=71"), expect!["t=71 warning r caller=+46700001 3"]);
    // What leaves as another comes makes no break.
    let calls = "t=0 +46700001\nt=50 +46700001\nt=55 +46700001\nt=60 +46700001\n";
    check(HELD, &format!("{calls}tick t=65"), expect!["t=65 warning r caller=+46700001 3"]);
}

#[test]
fn a_critical_level_holds_by_itself_and_comes_alone_where_it_is_due_with_the_warning() {
    let five = "t=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=0 +46700001\n";
    check(HELD, &format!("{five}tick t=30"), expect!["t=10 critical r caller=+46700001 5"]);
    let later = "t=0 +46700001\nt=0 +46700001\nt=0 +46700001\nt=4 +46700001\nt=4 +46700001\n";
    check(
        HELD,
        &format!("{later}tick t=30"),
        expect![[r#"
            t=10 warning r caller=+46700001 5
            t=14 critical r caller=+46700001 5"#]],
    );
}

#[test]
fn an_episode_that_time_opened_ends_like_any_other() {
    // 0, 1, 2 leave from 60 on: clear then, over 30 s later.
    let calls = "t=0 +46700001\nt=1 +46700001\nt=2 +46700001\n";
    check_closed(
        PLAIN,
        HELD,
        &format!("{calls}tick t=20\ntick t=89.999\ntick t=90"),
        expect![[r#"
            t=12 warning r caller=+46700001 3
            t=90 closed r caller=+46700001"#]],
    );
    check_closed(
        PLAIN,
        HELD,
        &format!("{calls}t=200 +46700001"),
        expect![[r#"
            t=12 warning r caller=+46700001 3
            t=90 closed r caller=+46700001"#]],
    );
}

#[test]
fn what_goes_on_is_told_again_and_again() {
    let rule = "threshold = [{ id = 'r', on = 'attempt', measure = 'count', per = ['caller'], window = '5m', \
                warning = '>= 2', remind = '2m', cooldown = '0s' }]";
    check_closed(
        PLAIN,
        rule,
        "t=0 +46700001\nt=1 +46700001\nt=241 +46700001\ntick t=1000",
        expect![[r#"
            t=1 warning r caller=+46700001 2
            t=121 warning r caller=+46700001 2 again
            t=241 warning r caller=+46700001 2 again
            t=301 closed r caller=+46700001"#]],
    );
}

#[test]
fn a_long_call_is_found_while_it_is_up() {
    let rule = "threshold = [{ id = 'r', on = 'call', measure = 'longest', per = ['callee'], warning = '>= 30m', \
                critical = '>= 2h', cooldown = '10m' }]";
    let call = "t=0 +46700001 -> +46810 id=a\nt=5 answer +46700001 -> +46810 id=a\n";
    check(rule, &format!("{call}tick t=1799.999"), expect![""]);
    check_closed(
        PLAIN,
        rule,
        &format!("{call}tick t=1800\ntick t=8000\nt=9000 end +46700001 -> +46810 id=a\ntick t=9600"),
        expect![[r#"
            t=1800 warning r callee=+46810 1800
            t=7200 critical r callee=+46810 7200
            t=9600 closed r callee=+46810"#]],
    );
    // It ended before; that somebody hears of it later changes nothing.
    check(rule, &format!("{call}t=1799 end +46700001 -> +46810 id=a\ntick t=90000"), expect![""]);
    // The oldest of several counts, and its end is not theirs.
    check_closed(
        PLAIN,
        rule,
        "t=0 +46700001 -> +46810 id=a\nt=1200 +46700002 -> +46810 id=b\nt=1900 end +46700001 -> +46810 id=a\ntick t=4000",
        expect![[r#"
            t=1800 warning r callee=+46810 1800
            t=3000 warning r callee=+46810 1800
            t=2500 closed r callee=+46810"#]],
    );
}

#[test]
fn a_long_call_that_is_told_of_in_between_is_as_old_as_its_beginning() {
    let rule = "threshold = [{ id = 'r', on = 'call', measure = 'longest', per = ['callee'], warning = '>= 30m' }]";
    let call = "t=0 +46700001 -> +46810 id=a\nt=1000 interim +46700001 -> +46810 id=a\n";
    check(rule, &format!("{call}tick t=1800"), expect!["t=1800 warning r callee=+46810 1800"]);
}

const FALLS: &str = "threshold = [{ id = 'r', on = 'end', measure = 'share(answered)', per = ['trunk'], \
                     window = '60s', min_count = 4, warning = '< 50%', critical = '< 25%', cooldown = '0s' }]";

#[test]
fn a_share_that_falls_is_found_at_an_event() {
    let end = |t: i64, answered: bool| {
        let status = if answered { "answered" } else { "failed" };
        format!("t={t} end +46700001 -> +46810 trunk=a status={status}\n")
    };
    let calls = [end(0, true), end(1, true), end(2, false), end(3, false), end(4, false), end(5, false)].concat();
    check(FALLS, &calls, expect!["t=4 warning r trunk=a 40"]);
    let more = [end(6, false), end(7, false), end(8, false)].concat();
    check(
        FALLS,
        &format!("{calls}{more}"),
        expect![[r#"
            t=4 warning r trunk=a 40
            t=8 critical r trunk=a 22.22"#]],
    );
}

#[test]
fn a_share_that_falls_as_good_calls_leave_is_found_at_a_tick() {
    let end = |t: i64, answered: bool| {
        let status = if answered { "answered" } else { "failed" };
        format!("t={t} end +46700001 -> +46810 trunk=a status={status}\n")
    };
    // The two answered ones leave at 60 and 61; of five, one is left.
    let calls =
        [end(0, true), end(1, true), end(30, false), end(31, true), end(32, false), end(33, false), end(34, true)]
            .concat();
    check(FALLS, &format!("{calls}tick t=60"), expect![""]);
    check(FALLS, &format!("{calls}tick t=61"), expect!["t=61 warning r trunk=a 40"]);
    // An empty window is clear, and one below `min_count` says nothing.
    check(FALLS, &format!("{calls}tick t=200"), expect![""]);
    check_closed(
        PLAIN,
        FALLS,
        &format!("{calls}tick t=61\ntick t=62\ntick t=300"),
        expect![[r#"
            t=61 warning r trunk=a 40
            t=90 closed r trunk=a"#]],
    );
}

#[test]
fn whatever_has_no_event_names_its_key_as_events_do() {
    let rule = |per: &str| {
        format!(
            "threshold = [{{ id = 'r', on = 'attempt', measure = 'count', per = [{per}], window = '60s', \
             warning = '>= 2', for = '10s' }}]"
        )
    };
    let calls = "t=0 +46700001234 -> +46810 trunk=pstn-gateway-1 account=a customer=acme source_ip=192.0.2.7\n\
                 t=1 +46700001234 -> +46810 trunk=pstn-gateway-1 account=a customer=acme source_ip=192.0.2.7\ntick t=30";
    let key = |per: &str| said(&rule(per), calls, PLAIN).violations.join("\n");
    assert_eq!(key("'caller'"), "t=11 warning r caller=+46700001234 2 of acme");
    assert_eq!(key("'prefix(caller, 7)'"), "t=11 warning r prefix(caller, 7)=+4670000* 2 of acme");
    assert_eq!(key("'account'"), "t=11 warning r account=a 2 of acme");
    assert_eq!(key("'trunk', 'caller', 'prefix(callee, 4)', 'source_ip', 'diverting'"), "", "an absent part is no key");
    assert_eq!(
        key("'trunk', 'caller', 'prefix(callee, 4)', 'source_ip', 'caller.country'"),
        "t=11 warning r trunk=pstn-gateway-1 caller=+46700001234 prefix(callee, 4)=+4681* source_ip=192.0.2.7 \
         caller.country=SE 2 of acme"
    );
}

#[test]
fn what_time_found_blocks_like_what_an_event_found() {
    let rules = "lists = { bad = { type = 'number', dynamic = true } }; \
                 firewall = [{ id = 'f', when = 'caller in $bad', action = 'block' }]; \
                 threshold = [{ id = 'r', on = 'attempt', measure = 'count', per = ['caller'], window = '60s', \
                 warning = '>= 2', for = '10s', on_warning = { block = { list = 'bad', ttl = '1m' } } }]";
    check_verdicts(
        PLAIN,
        rules,
        "t=0 +46700001\nt=1 +46700001\nt=10 +46700001\nt=12 +46700001",
        expect![[r#"
            t=0 allow default none
            t=1 allow default none
            t=10 allow default none
            t=12 block f analytics"#]],
    );
}

#[test]
fn calls_that_end_break_off_what_held_with_them() {
    let rule = "threshold = [{ id = 'r', on = 'call', measure = 'concurrent', per = ['trunk'], warning = '>= 2', \
                clear = '< 1', for = '10s', cooldown = '5s' }]";
    let calls = "t=0 +46700001 -> +46810 id=a trunk=t\nt=1 +46700002 -> +46810 id=b trunk=t\n";
    // One ends before it has held for ten seconds.
    check(rule, &format!("{calls}t=9 end +46700001 -> +46810 id=a trunk=t\ntick t=60"), expect![""]);
    // And what held is told once, however the episode ends.
    check_closed(
        PLAIN,
        rule,
        &format!(
            "{calls}t=20 end +46700001 -> +46810 id=a trunk=t\nt=30 end +46700002 -> +46810 id=b trunk=t\ntick t=60\n\
             t=70 +46700003 -> +46810 id=c trunk=t\ntick t=200"
        ),
        expect![[r#"
            t=11 warning r trunk=t 2
            t=35 closed r trunk=t"#]],
    );
}

#[test]
fn what_time_found_is_muted_as_the_last_event_of_its_key_was() {
    // By what the key does not say.
    let rule = HELD.replace("for =", "mute = [{ where = 'callee == +46811', reason = 'drill' }], for =");
    let calls =
        |last: &str| format!("t=0 +46700001 -> +46811\nt=1 +46700001 -> +46811\nt=2 +46700001 -> {last}\ntick t=30");
    assert_eq!(said(&rule, &calls("+46811"), PLAIN).violations, ["t=12 warning r caller=+46700001 3 muted"]);
    assert_eq!(said(&rule, &calls("+46812"), PLAIN).violations, ["t=12 warning r caller=+46700001 3"]);
}

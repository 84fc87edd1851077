//! `also`: several measures of one window, judged together; `first_seen`: values that a key had not had.

use super::*;

const ROBOCALLS: &str = "threshold = [{ id = 'r', on = 'end', measure = 'share(duration < 10s)', per = ['trunk'], \
                         window = '60s', min_count = 4, also = ['distinct(callee) >= 3', 'count < 7'], \
                         warning = '>= 70%', cooldown = '0s' }]";

fn ends(calls: &[(i64, u32, i64)]) -> String {
    let line = |(t, callee, talked): &(i64, u32, i64)| {
        format!("t={t} end +46700001 -> +468100{callee:02} trunk=a duration={talked}\n")
    };
    calls.iter().map(line).collect()
}

#[test]
fn a_level_counts_only_where_what_is_asked_beside_it_holds() {
    // Four short calls, but to two numbers; the fifth is to a third.
    let calls = [(0, 1, 5), (1, 2, 5), (2, 1, 5), (3, 2, 5)];
    check(ROBOCALLS, &ends(&calls), expect![""]);
    let fifth = [&calls[..], &[(4, 3, 5)]].concat();
    check(ROBOCALLS, &ends(&fifth), expect!["t=4 warning r trunk=a 100"]);
    // Where it is the share that lacks, the numbers do not help.
    check(ROBOCALLS, &ends(&[(0, 1, 50), (1, 2, 50), (2, 3, 5), (3, 4, 5)]), expect![""]);
}

#[test]
fn an_episode_ends_when_what_is_asked_beside_the_level_fails() {
    let calls = [(0, 1, 5), (1, 2, 5), (2, 3, 5), (3, 4, 5), (4, 4, 5), (5, 4, 5), (6, 4, 5)];
    // The seventh is one too many for `count < 7`.
    check_closed(
        PLAIN,
        ROBOCALLS,
        &format!("{}tick t=7", ends(&calls)),
        expect![[r#"
            t=3 warning r trunk=a 100
            t=6 closed r trunk=a"#]],
    );
}

#[test]
fn a_country_that_an_account_never_called_is_new_once() {
    let rule = "threshold = [{ id = 'r', on = 'attempt', measure = 'first_seen(callee.country)', per = ['account'], \
                window = '1m', memory = '1h', warning = '>= 1', cooldown = '0s' }]";
    check(
        rule,
        "
        t=0    +46700001 -> +46810000 account=a
        t=100  +46700001 -> +46810001 account=a
        t=200  +46700001 -> +49301000 account=a
        t=300  +46700001 -> +46810001 account=b
        t=3700 +46700001 -> +49301000 account=a
        t=7299 +46700001 -> +49301000 account=a
        t=10899 +46700001 -> +49301000 account=a
        t=20000 +46700001 -> account=a
        ",
        expect![[r#"
            t=0 warning r account=a 1
            t=200 warning r account=a 1
            t=300 warning r account=b 1
            t=10899 warning r account=a 1"#]],
    );
}

#[test]
fn rules_of_several_measures_name_long_keys() {
    let rule = "threshold = [{ id = 'r', on = 'attempt', measure = 'count', per = ['trunk', 'caller'], window = '60s', \
                also = ['distinct(callee) >= 2'], warning = '>= 2' }]";
    check(
        rule,
        "t=0 +46700001 -> +46810 trunk=a-long-trunk\nt=1 +46700001 -> +46811 trunk=a-long-trunk",
        expect!["t=1 warning r trunk=a-long-trunk caller=+46700001 2"],
    );
}

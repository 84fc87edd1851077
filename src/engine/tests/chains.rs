//! `after`: rules that count only what follows a violation of another one.

use super::*;

const CALL_BACKS: &str = "threshold = [\
    { id = 'rings', on = 'end', where = 'direction == inbound and not answered', measure = 'distinct(callee)', \
      per = ['prefix(caller, 7)'], window = '10m', warning = '>= 2', mode = 'monitor' }, \
    { id = 'back', on = 'attempt', where = 'direction == outbound', measure = 'distinct(caller)', \
      per = ['prefix(callee, 7)'], window = '1h', warning = '>= 2', \
      after = { rule = 'rings', within = '30m', same = ['prefix(caller, 7) == prefix(callee, 7)'] } }]";

#[test]
fn what_follows_a_violation_counts_and_what_came_before_does_not() {
    let rings =
        "t=100 end +22355501 -> +46810001 status=no_answer\nt=101 end +22355502 -> +46810002 status=no_answer\n";
    let back = |t: u32, n: u32| format!("t={t} +4681000{n} -> +22355509 direction=outbound\n");
    let both = |from: u32| [back(from, 1), back(from + 1, 2)].concat();
    check(
        CALL_BACKS,
        &format!("{rings}{}", both(200)),
        expect![[r#"
            t=101 warning rings prefix(caller, 7)=+2235550* 2
            t=201 warning back prefix(callee, 7)=+2235550* 2"#]],
    );
    // Nobody had rung before them.
    check(CALL_BACKS, &format!("{}{rings}", both(50)), expect!["t=101 warning rings prefix(caller, 7)=+2235550* 2"]);
    // Thirty minutes after the violation it is over.
    check(
        CALL_BACKS,
        &format!("{rings}{}{}", back(1900, 1), back(1901, 2)),
        expect!["t=101 warning rings prefix(caller, 7)=+2235550* 2"],
    );
    // Of another range, or another customer, nobody rang.
    check(
        CALL_BACKS,
        &format!("{rings}{}", both(200).replace("+22355509", "+22455509")),
        expect!["t=101 warning rings prefix(caller, 7)=+2235550* 2"],
    );
    check(
        CALL_BACKS,
        &format!("{rings}{}", both(200).replace("direction=", "customer=other direction=")),
        expect!["t=101 warning rings prefix(caller, 7)=+2235550* 2"],
    );
}

#[test]
fn what_both_rules_count_by_is_the_same_unless_they_say_otherwise() {
    let rules = "threshold = [\
        { id = 'a', on = 'attempt', where = 'trunk == \"t\"', measure = 'count', per = ['caller'], window = '1m', \
          warning = '>= 2' }, \
        { id = 'b', on = 'attempt', measure = 'count', per = ['caller'], window = '1m', warning = '>= 1', \
          after = { rule = 'a', within = '1m' } }]";
    check(
        rules,
        "t=0 +46700001 trunk=t\nt=1 +46700002\nt=2 +46700001 trunk=t\nt=3 +46700002\nt=4 +46700001",
        expect![[r#"
            t=2 warning a caller=+46700001 2
            t=4 warning b caller=+46700001 1"#]],
    );
}

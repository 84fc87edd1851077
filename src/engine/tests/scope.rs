//! Whom rules concern: what is excepted, muted, for some customers or overridden is what the same rules say that have it
//! all in their conditions.

use super::saved::Draw;
use super::*;

/// Midnight of these rules is `t=0`: what expires on the day before holds until then.
const ENDS_AT_0: &str = "time_zone = 'Pacific/Kiritimati'; ";
const COUNT: &str =
    "on = 'attempt'; measure = 'count'; per = ['caller']; window = '10s'; warning = '>= 2'; cooldown = '0s'";

#[test]
fn what_is_excepted_is_not_counted_until_its_day_is_over() {
    let except = "except = [{ where = 'trunk == \"a\"', reason = 'test calls', expires = '2026-03-02' }]";
    check(
        &format!("{ENDS_AT_0}[[threshold]]; id = 'r'; {COUNT}; {except}; "),
        "
        t=-5   +46700001 -> +46811 trunk=a
        t=-4   +46700001 -> +46811 trunk=a
        t=-3   +46700002 -> +46811 trunk=b
        t=-2   +46700002 -> +46811 trunk=b
        # The day is over at midnight, which is no part of it.
        t=-0.001 +46700003 -> +46811 trunk=a
        t=0    +46700003 -> +46811 trunk=a
        t=1    +46700003 -> +46811 trunk=a
        ",
        expect![[r#"
            t=-2 warning r caller=+46700002 2
            t=1 warning r caller=+46700003 2"#]],
    );
}

#[test]
fn an_excepted_call_goes_on_to_the_next_firewall_rule() {
    check_verdicts(
        PLAIN,
        "[[firewall]]; id = 'no'; when = 'trunk == \"a\"'; action = 'block'; \
         except = [{ where = 'diverting is present', reason = 'forwarded back', expires = '2099-01-01' }]; \
         [[firewall]]; id = 'mark'; when = 'trunk == \"a\"'; action = 'flag'; flag = 'x'; ",
        "
        t=0 +46700001 -> +46811 trunk=a
        t=1 +46700001 -> +46811 trunk=a diverting=+46855
        ",
        expect![[r#"
            t=0 block no policy
            t=1 allow default none flags=x"#]],
    );
}

#[test]
fn what_is_muted_is_counted_and_found_and_marked() {
    check(
        &format!(
            "{ENDS_AT_0}[[threshold]]; id = 'r'; {COUNT}; critical = '>= 3'; \
             mute = [{{ where = 'callee == +46811', reason = 'drill', expires = '2026-03-02' }}]; "
        ),
        "
        t=-3 +46700001 -> +46811
        t=-2 +46700001 -> +46811
        t=-1 +46700001 -> +46812
        t=1  +46700002 -> +46811
        t=2  +46700002 -> +46811
        ",
        expect![[r#"
            t=-2 warning r caller=+46700001 2 muted
            t=-1 critical r caller=+46700001 3
            t=2 warning r caller=+46700002 2"#]],
    );
}

#[test]
fn an_override_holds_for_its_customer_until_its_day_is_over() {
    let rules = format!(
        "{ENDS_AT_0}[[threshold]]; id = 'r'; {COUNT}; \
         [[override]]; customer = 'acme'; rule = 'r'; reason = 'large'; warning = '>= 4'; expires = '2026-03-02'; "
    );
    let timeline = "
        t=-9 +46700001 -> +46811 customer=acme
        t=-8 +46700001 -> +46811 customer=acme
        t=-7 +46700001 -> +46811 customer=acme
        t=-6 +46700001 -> +46811 customer=acme
        t=-5 +46700001 -> +46811 customer=other
        t=-4 +46700001 -> +46811 customer=other
        # Of those before, the rule itself has counted none.
        t=0  +46700001 -> +46811 customer=acme
        t=1  +46700001 -> +46811 customer=acme
        ";
    check(
        &rules,
        timeline,
        expect![[r#"
            t=-6 warning r caller=+46700001 4 of acme
            t=-4 warning r caller=+46700001 2 of other
            t=1 warning r caller=+46700001 2 of acme"#]],
    );
    assert_eq!(said(&rules, timeline, PLAIN).count("r")[0], 8, "the rule and its variant add up");
}

#[test]
fn rules_of_a_customer_stand_before_and_after_those_of_all() {
    check_verdicts(
        PLAIN,
        "[[firewall]]; id = 'all'; when = 'trunk == \"a\"'; action = 'block'; \
         --- customers/acme.toml; name = 'Acme'; \
         [[firewall]]; id = 'late'; when = 'callee == +46811'; action = 'divert'; divert_to = '+46899'; \
         [[firewall]]; id = 'early'; position = 'pre'; when = 'caller == +46700001'; action = 'allow'; \
         --- customers/other.toml; name = 'Other'; ",
        "
        t=0 +46700001 -> +46811 trunk=a customer=acme
        t=1 +46700002 -> +46811 trunk=a customer=acme
        t=2 +46700002 -> +46811 trunk=b customer=acme
        t=3 +46700001 -> +46811 trunk=a customer=other
        t=4 +46700001 -> +46811 trunk=b customer=other
        ",
        expect![[r#"
            t=0 allow early policy
            t=1 block all policy
            t=2 divert late policy
            t=3 block all policy
            t=4 allow default none"#]],
    );
}

#[test]
fn an_exception_of_a_customers_file_is_for_its_calls_alone() {
    check(
        &format!(
            "[[threshold]]; id = 'r'; {COUNT}; \
             [[override]]; customer = 'acme'; rule = 'r'; reason = 'x'; cooldown = '1s'; \
             --- customers/acme.toml; name = 'Acme'; \
             [[exception]]; rule = 'r'; where = 'caller == +46700001'; reason = 'x'; expires = '2099-01-01'; \
             [[exception]]; rule = 'r'; kind = 'mute'; where = 'caller == +46700002'; reason = 'x'; \
             --- customers/other.toml; name = 'Other'; "
        ),
        "
        t=0 +46700001 -> +46811 customer=acme
        t=1 +46700001 -> +46811 customer=acme
        t=2 +46700002 -> +46811 customer=acme
        t=3 +46700002 -> +46811 customer=acme
        t=4 +46700001 -> +46811 customer=other
        t=5 +46700001 -> +46811 customer=other
        t=6 +46700002 -> +46811 customer=other
        t=7 +46700002 -> +46811 customer=other
        ",
        expect![[r#"
            t=3 warning r caller=+46700002 2 muted of acme
            t=5 warning r caller=+46700001 2 of other
            t=7 warning r caller=+46700002 2 of other"#]],
    );
}

#[test]
fn calls_that_are_up_are_followed_by_the_rules_of_their_customer() {
    check(
        "[[threshold]]; id = 'r'; on = 'call'; measure = 'concurrent'; per = ['trunk']; warning = '>= 2'; \
         except = [{ where = 'account == \"test\"', reason = 'x' }]; \
         [[override]]; customer = 'acme'; rule = 'r'; reason = 'x'; warning = '>= 3'; ",
        "
        t=0 +46700001 -> +46811 id=1 trunk=a
        t=1 +46700002 -> +46811 id=2 trunk=a account=test
        t=2 +46700003 -> +46811 id=3 trunk=a
        t=3 +46700001 -> +46811 id=4 trunk=a customer=acme
        t=4 +46700002 -> +46811 id=5 trunk=a customer=acme
        t=5 +46700003 -> +46811 id=6 trunk=a customer=acme
        ",
        expect![[r#"
            t=2 warning r trunk=a 2
            t=5 warning r trunk=a 3 of acme"#]],
    );
}

/// One way to say something and another.
struct Twice {
    short: String,
    long: String,
}

fn conditions(draw: &mut Draw) -> String {
    let one = |draw: &mut Draw| match draw.below(5) {
        0 => format!("trunk == \"t{}\"", draw.below(12)),
        1 => format!("account == \"a{}\"", draw.below(12)),
        2 => format!("trunk in {{\"t{}\", \"t{}\"}}", draw.below(12), draw.below(12)),
        3 => format!("caller == +4670000{}", draw.below(4)),
        _ => "direction == inbound".to_owned(),
    };
    let (a, b) = (one(draw), one(draw));
    draw.one(&["A", "A", "A and B", "B and A", "A or B", "not (A)"]).replace('A', &a).replace('B', &b)
}

/// The same, so that nothing can be found by it.
fn hidden(condition: &str) -> String {
    format!("({condition}) or user_agent == \"nobody\"")
}

fn expires(draw: &mut Draw) -> &'static str {
    ["", ", expires = '2026-03-02'", ", expires = '2027-01-01'", ", expires = '2026-03-01'"][draw.below(4) as usize]
}

/// Rules with everything there is, and rules that have it all in their conditions.
fn rules_twice(draw: &mut Draw) -> Twice {
    let mut of = Twice { short: ENDS_AT_0.to_owned(), long: ENDS_AT_0.to_owned() };
    for n in 0..10 + draw.below(20) {
        let is_firewall = draw.is(40);
        let (id, condition) = (format!("r{n}"), conditions(draw));
        let mut long = hidden(&condition);
        let rest = match is_firewall {
            true => draw
                .one(&[
                    "action = 'block'",
                    "action = 'flag'; flag = 'x'",
                    "action = 'allow'; track = ['alert:warning']",
                ])
                .to_owned(),
            false => format!(
                "on = 'attempt'; measure = 'count'; per = ['caller']; window = '{}s'; warning = '>= {}'; cooldown = '0s'",
                1 + draw.below(30),
                1 + draw.below(4),
            ),
        };
        let (head, key) = if is_firewall { ("[[firewall]]", "when") } else { ("[[threshold]]", "where") };
        let mut short = format!("{head}; id = '{id}'; {key} = '{condition}'; {rest}; ");
        if draw.is(30) {
            short += "customers = ['acme', 'other']; ";
            long = format!("({long}) and customer in {{\"acme\", \"other\"}}");
        }
        if draw.is(40) {
            let (except, expires) = (conditions(draw), expires(draw));
            short += &format!("except = [{{ where = '{except}', reason = 'r'{expires} }}]; ");
            let in_time = match expires {
                e if e.contains("03-02") => "date < 2026-03-03",
                e if e.contains("03-01") => "date < 2026-03-02",
                _ => "date > 2000-01-01",
            };
            long = format!("({long}) and not (({except}) and {in_time})");
        }
        of.short += &short;
        of.long += &format!("{head}; id = '{id}'; {key} = '{long}'; {rest}; ");
    }
    of
}

#[test]
fn exceptions_and_customers_are_conditions() {
    for seed in 1..40 {
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed) | 1);
        let rules = rules_twice(&mut draw);
        let mut timeline = String::new();
        for n in 0..200i64 {
            let (trunk, account, caller) = (draw.below(14), draw.below(14), draw.below(5));
            let customer = draw.one(&["", "", " customer=acme", " customer=other", " customer=third"]);
            let at = (n - 100) as f64 / 4.0;
            timeline += &format!("t={at} +4670000{caller} -> +46811 trunk=t{trunk} account=a{account}{customer}\n");
        }
        let [short, long] = [&rules.short, &rules.long].map(|rules| run(rules, &timeline, PLAIN, 2, 7));
        assert_eq!(short.verdicts, long.verdicts, "seed {seed}\n{}", rules.short);
        assert_eq!(short.violations, long.violations, "seed {seed}\n{}", rules.short);
        assert_eq!(short.counts, long.counts, "seed {seed}\n{}", rules.short);
    }
}

#[test]
fn an_override_is_two_rules_of_which_each_has_its_customers() {
    for seed in 1..30 {
        let mut draw = Draw(0x2545_f491_4f6c_dd1du64.wrapping_mul(seed) | 1);
        let (mut short, mut long, mut overrides) = (ENDS_AT_0.to_owned(), ENDS_AT_0.to_owned(), String::new());
        for n in 0..4 {
            let (condition, window) = (conditions(&mut draw), 1 + draw.below(30));
            let rule = |id: &str, condition: &str, level: u64| {
                format!(
                    "[[threshold]]; id = '{id}'; where = '{condition}'; on = 'attempt'; measure = 'count'; \
                     per = ['caller']; window = '{window}s'; warning = '>= {level}'; cooldown = '0s'; "
                )
            };
            let (level, other) = (1 + draw.below(4), 1 + draw.below(6));
            let id = format!("r{n}");
            short += &rule(&id, &condition, level);
            let (ends, is_over) = match draw.below(3) {
                0 => ("", "date > 2100-01-01"),
                1 => ("expires = '2026-03-02'; ", "date > 2026-03-02"),
                _ => ("expires = '2026-03-01'; ", "date > 2026-03-01"),
            };
            overrides += &format!(
                "[[override]]; customer = 'acme'; rule = '{id}'; reason = 'r'; warning = '>= {other}'; {ends}"
            );
            let hidden = hidden(&condition);
            long += &rule(&format!("{id}a"), &format!("({hidden}) and (customer != \"acme\" or {is_over})"), level);
            long +=
                &rule(&format!("{id}b"), &format!("({hidden}) and customer == \"acme\" and not ({is_over})"), other);
        }
        let mut timeline = String::new();
        for n in 0..200i64 {
            let (trunk, account, caller) = (draw.below(14), draw.below(14), draw.below(5));
            let customer = draw.one(&["", " customer=acme", " customer=acme", " customer=other"]);
            let at = (n - 100) as f64 / 4.0;
            timeline += &format!("t={at} +4670000{caller} -> +46811 trunk=t{trunk} account=a{account}{customer}\n");
        }
        let short = run(&(short + &overrides), &timeline, PLAIN, 2, 7);
        let mut long = run(&long, &timeline, PLAIN, 2, 7);
        for line in &mut long.violations {
            for n in 0..4 {
                *line = line
                    .replace(&format!(" r{n}a "), &format!(" r{n} "))
                    .replace(&format!(" r{n}b "), &format!(" r{n} "));
            }
        }
        assert_eq!(short.violations, long.violations, "seed {seed}");
    }
}

//! What settings and rules say of each other: mistakes that neither shows alone.

use std::collections::BTreeSet;
use std::fmt;

use super::{Config, CustomerSource, FeedSettings};
use crate::acd::QueueSettings;
use crate::customer::{self, Channel, Customer};
use crate::ingest::Format;
use crate::policy::{On, Policy, ThresholdRule};

/// A mismatch; shown in the one-line form of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub code: &'static str,
    /// Rules that name what is not there cannot be obeyed; the rest are warnings.
    pub is_error: bool,
    pub message: String,
}

impl Mismatch {
    fn error(code: &'static str, message: String) -> Mismatch {
        Mismatch { code, is_error: true, message }
    }

    fn warning(code: &'static str, message: String) -> Mismatch {
        Mismatch { code, is_error: false, message }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error { "error" } else { "warning" };
        write!(f, "{severity}[{}]: {}", self.code, self.message)
    }
}

/// All of them, errors first.
pub fn cross_check(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let mut found = unknown_webhooks(config, policy);
    found.extend(customers_without_file(config, policy));
    found.extend(queues_of_nobody(config, policy));
    found.extend(receivers_without_customer(config, policy));
    found.extend(ways_that_lead_nowhere(config, policy));
    found.extend(announced_nowhere(config, policy));
    found.extend(no_calls_to_follow(config, policy));
    found.extend(counted_twice(config));
    found
}

fn unknown_webhooks(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let named = |rule: &ThresholdRule| -> Vec<String> {
        let reactions = [&rule.on_warning, &rule.on_critical];
        reactions.into_iter().flat_map(|r| r.webhooks.iter().cloned()).collect()
    };
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for rule in &policy.thresholds {
        for name in named(rule).into_iter().collect::<BTreeSet<_>>() {
            // A rule and its variants, once.
            if !config.notify.webhooks.contains_key(&name) && told.insert((&rule.id, name.clone())) {
                let message =
                    format!("rule `{}` tells `webhook:{name}`, but the settings have no [webhook.{name}]", rule.id);
                found.push(Mismatch::error("E311", message));
            }
        }
    }
    found
}

/// Where customers have files, alerts of anybody else would fold into incidents of nobody.
fn receivers_without_customer(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let strangers = config.receivers.iter().filter(|receiver| policy.customers.get(&receiver.customer).is_none());
    let told = strangers.map(|receiver| {
        let message = format!(
            "receiver `{}` names customer `{1}`, but the rules have no {2}/{1}.toml",
            receiver.name,
            receiver.customer,
            customer::FOLDER
        );
        Mismatch::error("E312", message)
    });
    told.collect()
}

/// Where customers have files, a feed of anybody else would have every event rejected.
fn customers_without_file(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for feed in &config.feeds {
        let own = match &feed.customer {
            CustomerSource::One(name) => Some(name),
            CustomerSource::Event | CustomerSource::Trunk => None,
        };
        let named: BTreeSet<&String> = own.into_iter().chain(feed.trunks.iter().map(|(_, name)| name)).collect();
        for name in named.into_iter().filter(|name| policy.customers.get(name).is_none()) {
            let message = format!(
                "feed `{}` names customer `{name}`, but the rules have no {}/{name}.toml: its events would be rejected",
                feed.name,
                customer::FOLDER
            );
            found.push(Mismatch::error("E312", message));
        }
    }
    found
}

/// Callers of such a queue would never hear anything of that customer.
fn queues_of_nobody(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for queue in &config.acd.queues {
        let unknown = queue.customers.iter().flatten().filter(|name| policy.customers.get(name).is_none());
        for name in unknown {
            let message = format!(
                "[acd.queue.{}] names customer `{name}`, but the rules have no {}/{name}.toml: its callers would hear \
                 nothing of it",
                queue.name,
                customer::FOLDER
            );
            found.push(Mismatch::error("E312", message));
        }
    }
    found
}

/// Programs that a customer's file names and nobody can reach; and W129: people for whom there is no way out, so that
/// standard output stands in.
fn ways_that_lead_nowhere(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for customer in policy.customers.iter() {
        for channel in ways(customer) {
            let (is_error, missing) = match &channel {
                Channel::Webhook(name) if !config.notify.webhooks.contains_key(name) => {
                    (true, format!("[webhook.{name}]"))
                }
                Channel::PagerDuty if config.pagerduty.is_none() => (true, "[pagerduty]".to_owned()),
                Channel::Syslog if config.syslog.is_none() => (true, "[syslog]".to_owned()),
                Channel::Mail if config.mail.is_none() => (false, "[mail]".to_owned()),
                Channel::Sms if config.sms.is_empty() => (false, "[[sms]]".to_owned()),
                _ => continue,
            };
            let instead = if is_error { "" } else { ": standard output stands in" };
            let (id, channel) = (&customer.id, channel.text());
            let message =
                format!("customer `{id}` is told by `{channel}`, but the settings have no {missing}{instead}");
            found.push(match is_error {
                true => Mismatch::error("E313", message),
                false => Mismatch::warning("W129", message),
            });
        }
    }
    found
}

/// By which a customer's file has anybody told or called.
fn ways(customer: &Customer) -> BTreeSet<Channel> {
    let told = customer.distributions.iter().flat_map(|distribution| distribution.channels.iter().cloned());
    let chains = (1..=4).map(|severity| customer.calls(severity)).filter(|chain| !chain.calls.is_empty());
    told.chain(chains.flat_map(|chain| chain.channels)).collect()
}

/// W130: an announcement that no caller can hear.
fn announced_nowhere(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let is_announced = |customer: &&Customer| customer.distributions.iter().any(|d| d.channels.contains(&Channel::Acd));
    let is_heard = |customer: &&Customer| {
        let of = |queue: &QueueSettings| queue.customers.as_ref().is_none_or(|of| of.contains(&customer.id));
        config.acd.queues.iter().any(of)
    };
    let customers = policy.customers.iter().map(AsRef::as_ref);
    let unheard = customers.filter(is_announced).filter(|customer| !is_heard(customer));
    let told = unheard.map(|customer| {
        let message = format!(
            "customer `{}` is told by `acd`, but no [acd.queue.NAME] is for it: its callers hear nothing",
            customer.id
        );
        Mismatch::warning("W130", message)
    });
    told.collect()
}

/// W105: a CDR comes when its call is over, so a rule on calls that are up never sees one.
fn no_calls_to_follow(config: &Config, policy: &Policy) -> Vec<Mismatch> {
    let only_records = config.feeds.iter().all(|feed| matches!(feed.format, Format::Csv(_) | Format::JsonCdr));
    let follows = |rule: &&ThresholdRule| rule.on == On::Call && rule.concern.variant.is_none();
    if !only_records || config.feeds.is_empty() {
        return Vec::new();
    }
    let warn = |rule: &ThresholdRule| {
        let message = format!(
            "rule `{}` watches calls that are up, but every feed brings records of calls that are over",
            rule.id
        );
        Mismatch::warning("W105", message)
    };
    policy.thresholds.iter().filter(follows).map(warn).collect()
}

/// W106: one of the two merges, the other does not, so a call that both tell of counts twice.
fn counted_twice(config: &Config) -> Vec<Mismatch> {
    let merges = |feed: &FeedSettings| feed.merge == Some(true);
    let mut found = Vec::new();
    for (i, a) in config.feeds.iter().enumerate() {
        for b in config.feeds.iter().skip(i + 1) {
            let same_customer = matches!((&a.customer, &b.customer),
                (CustomerSource::One(x), CustomerSource::One(y)) if x == y);
            if merges(a) != merges(b) && (same_customer || a.gateway == b.gateway) {
                let whose = if same_customer { "customer" } else { "gateway" };
                let message = format!(
                    "feeds `{}` and `{}` have the same {whose}, but only one has `merge = true`: a call \
                     that both tell of counts twice",
                    a.name, b.name
                );
                found.push(Mismatch::warning("W106", message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::{LoadOptions, RuleSource, load};

    fn told(settings: &str, rules: &str) -> Vec<String> {
        let (config, problems) = super::super::parse(settings, Path::new("ringfence.toml"));
        assert!(problems.is_empty(), "{problems:?}");
        let files = [("ruleset.toml", format!("ringfence = 1\ndefault_action = 'allow'\n{rules}"))];
        let loaded = load(&RuleSource::memory(files), LoadOptions::default());
        cross_check(&config.unwrap(), &loaded.policy.expect("the rules load"))
            .into_iter()
            .map(|m| m.to_string())
            .collect()
    }

    #[test]
    fn a_feed_of_a_customer_without_a_file_is_told_where_customers_have_files() {
        let feed = "[[feed]]\nname = 'a'\ncustomer = 'acme'\ntrunks = { pstn-1 = 'beta', pstn-2 = 'beta' }\n";
        assert!(told(feed, "").is_empty(), "without the folder everybody is a customer");
        let (config, _) = super::super::parse(feed, Path::new("ringfence.toml"));
        let rules = "ringfence = 1\ndefault_action = 'allow'\n";
        let files = [("ruleset.toml", rules), ("customers/acme.toml", "name = 'Acme'\n")];
        let policy = load(&RuleSource::memory(files), LoadOptions::default()).policy.expect("the rules load");
        let found = cross_check(&config.expect("good settings"), &policy);
        assert!(found.len() == 1 && found[0].is_error, "{found:?}");
        assert!(found[0].message.starts_with("feed `a` names customer `beta`"), "{found:?}");
    }

    #[test]
    fn a_receiver_of_a_customer_without_a_file_is_told_where_customers_have_files() {
        // Whatever it holds: there is such a variable.
        let receiver = "[receiver.noc]\ncustomer = 'beta'\ntoken_env = 'PATH'\n";
        assert!(told(receiver, "").is_empty(), "without the folder everybody is a customer");
        let (config, _) = super::super::parse(receiver, Path::new("ringfence.toml"));
        let rules = "ringfence = 1\ndefault_action = 'allow'\n";
        let files = [("ruleset.toml", rules), ("customers/acme.toml", "name = 'Acme'\n")];
        let policy = load(&RuleSource::memory(files), LoadOptions::default()).policy.expect("the rules load");
        let found = cross_check(&config.expect("good settings"), &policy);
        let message = "receiver `noc` names customer `beta`, but the rules have no customers/beta.toml";
        assert!(found.iter().any(|m| m.is_error && m.message == message), "{found:?}");
    }

    #[test]
    fn a_queue_of_a_customer_without_a_file_is_told_where_customers_have_files() {
        let queue = "[acd.queue.vip]\ncustomers = ['acme', 'acne']\n";
        assert!(told(queue, "").is_empty(), "without the folder everybody is a customer");
        let (config, _) = super::super::parse(queue, Path::new("ringfence.toml"));
        let rules = "ringfence = 1\ndefault_action = 'allow'\n";
        let files = [("ruleset.toml", rules), ("customers/acme.toml", "name = 'Acme'\n")];
        let policy = load(&RuleSource::memory(files), LoadOptions::default()).policy.expect("the rules load");
        let found = cross_check(&config.expect("good settings"), &policy);
        assert!(found.len() == 1 && found[0].is_error, "{found:?}");
        assert!(found[0].message.starts_with("[acd.queue.vip] names customer `acne`"), "{found:?}");
    }

    /// What settings and the file of customer `acme` say of each other, and whether each is an error.
    fn told_of_acme(settings: &str, acme: &str) -> Vec<(bool, String)> {
        let (config, problems) = super::super::parse(settings, Path::new("ringfence.toml"));
        assert!(problems.is_empty(), "{problems:?}");
        let rules = "ringfence = 1\ndefault_action = 'allow'\n";
        let files = [("ruleset.toml", rules), ("customers/acme.toml", acme)];
        let loaded = load(&RuleSource::memory(files), LoadOptions::default());
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let found = cross_check(&config.expect("good settings"), &policy);
        found.into_iter().filter(|m| m.message.contains("`acme` is told")).map(|m| (m.is_error, m.message)).collect()
    }

    #[test]
    fn programs_that_a_customer_is_told_by_must_be_in_the_settings() {
        let acme = "name = 'Acme'
            [[contact]]\nid = 'a'\nemail = 'a@acme.example'\nmobile = '+13125550101'\nrights = ['receive']
            [[distribution]]\nseverities = [1]\naudience = 'staff'\nchannels = ['webhook:noc', 'syslog']
            [[oncall]]\nseverities = [1]\nchannels = ['pagerduty', 'syslog']\nsteps = [{ to = ['a'] }]\n";
        let nowhere = |way: &str, missing: &str| {
            (true, format!("customer `acme` is told by `{way}`, but the settings have no {missing}"))
        };
        let all = [
            nowhere("webhook:noc", "[webhook.noc]"),
            nowhere("pagerduty", "[pagerduty]"),
            nowhere("syslog", "[syslog]"),
        ];
        assert_eq!(told_of_acme("", acme), all);
        let there = "[webhook.noc]\nurl = 'http://127.0.0.1:1/'\n[syslog]\naddress = '127.0.0.1:1'\ntls = 'off'\n\
                     [pagerduty]\nrouting_key_env = 'PATH'\n";
        assert_eq!(told_of_acme(there, acme), []);
    }

    #[test]
    fn people_without_a_way_out_are_told_on_standard_output_and_that_is_said() {
        let acme = "name = 'Acme'
            [[contact]]\nid = 'a'\nemail = 'a@acme.example'\nmobile = '+13125550101'\nrights = ['receive']
            [[distribution]]\nseverities = [1]\naudience = 'staff'\nto = ['a']\nchannels = ['mail', 'call-sheet']\n";
        let of = |way: &str, missing: &str| {
            let text = "but the settings have no";
            (false, format!("customer `acme` is told by `{way}`, {text} {missing}: standard output stands in"))
        };
        assert_eq!(told_of_acme("", acme), [of("mail", "[mail]")]);
        let chain = format!("{acme}[[oncall]]\nseverities = [1]\nsteps = [{{ to = ['a'] }}]\n");
        assert_eq!(told_of_acme("", &chain), [of("mail", "[mail]"), of("sms", "[[sms]]")]);
    }

    #[test]
    fn an_announcement_wants_a_queue_that_is_for_the_customer() {
        let acme = "name = 'Acme'\n[[distribution]]\nseverities = [1]\naudience = 'staff'\nchannels = ['acd']\n";
        assert_eq!(told_of_acme("", acme), [], "the queue that is there by itself is for all");
        assert_eq!(told_of_acme("[acd.queue.vip]\ncustomers = ['acme']\n", acme), []);
        let found = told_of_acme("[acd.queue.vip]\ncustomers = ['beta']\n", acme);
        assert!(found.len() == 1 && !found[0].0 && found[0].1.contains("its callers hear nothing"), "{found:?}");
    }

    const UP: &str =
        "[[threshold]]\nid = 'up'\non = 'call'\nmeasure = 'concurrent'\nper = ['trunk']\nwarning = '>= 3'\n";
    const CSV: &str = "[[feed]]\nname = 'a'\nformat = 'csv'\ncsv = { dialect = 'asterisk', time_zone = 'UTC' }\n";

    #[test]
    fn calls_that_are_up_cannot_be_counted_from_records_of_calls_that_are_over() {
        assert!(told(CSV, UP)[0].starts_with("warning[W105]: rule `up`"));
        assert!(told("", UP).is_empty());
    }

    #[test]
    fn a_webhook_that_a_rule_tells_must_be_there() {
        let rules = format!("{UP}on_warning = {{ do = ['webhook:noc'] }}\n");
        assert_eq!(
            told("", &rules),
            ["error[E311]: rule `up` tells `webhook:noc`, but the settings have no [webhook.noc]"]
        );
        assert!(told("[webhook.noc]\nurl = 'http://127.0.0.1:1/'\n", &rules).is_empty());
    }

    #[test]
    fn two_feeds_of_a_customer_of_which_one_merges_count_calls_twice() {
        let feed = |name: &str, port: u16, more: &str| {
            format!("[[feed]]\nname = '{name}'\nlisten = '127.0.0.1:{port}'\ncustomer = 'acme'\n{more}\n")
        };
        let settings = feed("a", 7060, "merge = true") + &feed("b", 7061, "");
        assert!(told(&settings, "")[0].starts_with("warning[W106]: feeds `a` and `b` have the same customer"));
        let settings = feed("a", 7060, "merge = true") + &feed("b", 7061, "merge = true");
        assert!(told(&settings, "").is_empty());
    }
}

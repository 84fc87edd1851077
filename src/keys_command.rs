//! `ringfence keys`: what a rule of a running service holds of its keys, and taking some back.

use std::process::ExitCode;

use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed, plain};
use crate::incident_command::{escaped, query};
use crate::portal::api::wire::keys::{KeyList, KeyReset, KeyResetDone};
use crate::printed::{Printed, print, put};

/// What a rule of the running service has counted, key by key
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "\
Examples:
  ringfence keys --rule ips-wangiri                          the largest keys, with value, level and since when
  ringfence keys --rule ips-wangiri --customer acme --limit 200
  ringfence keys show --rule ips-wangiri +22355501234        one key, or several
  ringfence keys reset --rule ips-wangiri +22355501234       forget it: its window is empty, its open alert ends
  ringfence keys reset --rule ips-asr-drop pbx-1,+46840      a key of two parts: in the order of `per`, with a comma
  ringfence keys reset --rule ips-wangiri --all              begin anew

Reset needs the role analyst or admin and is in the audit log. It is made durable by a snapshot that is taken at once; a
crash in the second before that brings the keys back.

Exit codes: 0 done, 1 refused or no such key, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    list: Option<ListArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    /// Id of the rule
    #[arg(long, value_name = "ID")]
    rule: String,
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Some keys by name
    Show {
        /// Id of the rule
        #[arg(long, value_name = "ID")]
        rule: String,
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Forget keys: their windows are empty and their open alerts end
    Reset {
        /// Id of the rule
        #[arg(long, value_name = "ID")]
        rule: String,
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
        keys: Vec<String>,
        /// Every key of the rule
        #[arg(long)]
        all: bool,
    },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let mut is_found = true;
    let done = answer(&service, args).and_then(|(text, found)| {
        is_found = found;
        print(&text).map_err(Stop::Could)
    });
    let code = service.end(done)?;
    Ok(if is_found { code } else { ExitCode::from(1) })
}

fn answer(service: &Service, args: &Args) -> Result<(String, bool), Stop> {
    match (&args.command, &args.list) {
        (Some(Command::Show { rule, customer, keys }), _) => show(service, rule, customer.as_deref(), keys),
        (Some(Command::Reset { rule, customer, keys, all }), _) => {
            let order = KeyReset { keys: keys.clone(), all: *all, customer: customer.clone() };
            let value = service.post(&format!("/rules/{}/keys/reset", escaped(rule)), &order)?;
            let done: KeyResetDone = parsed(&value)?;
            let mut text =
                format!("{}: {} key{} reset\n", plain(&done.rule), done.n, if done.n == 1 { "" } else { "s" });
            done.hints.iter().for_each(|hint| put(&mut text, format_args!("{}\n", plain(hint))));
            Ok((if service.format == Printed::Json { format!("{value:#}\n") } else { text }, done.n > 0))
        }
        (None, Some(ListArgs { rule, customer, limit })) => {
            let value = service.get(&path(rule, customer.as_deref(), None, *limit))?;
            let list: KeyList = parsed(&value)?;
            Ok((if service.format == Printed::Json { format!("{value:#}\n") } else { list_text(&list) }, true))
        }
        (None, None) => Err(Stop::Could(anyhow::anyhow!("--rule ID is needed: `ringfence keys --help`"))),
    }
}

/// One look a key.
fn show(service: &Service, rule: &str, customer: Option<&str>, keys: &[String]) -> Result<(String, bool), Stop> {
    let (mut text, mut all, mut found_all) = (String::new(), Vec::new(), true);
    let mut lists: Option<KeyList> = None;
    for key in keys {
        let value = service.get(&path(rule, customer, Some(key), 100))?;
        let list: KeyList = parsed(&value)?;
        if list.keys.is_empty() {
            found_all = false;
            put(&mut text, format_args!("{}: nothing is held of it\n", plain(key)));
        }
        all.push(value);
        match &mut lists {
            Some(lists) => {
                lists.keys.extend(list.keys);
                lists.n += list.n;
            }
            none => *none = Some(list),
        }
    }
    if service.format == Printed::Json {
        return Ok((format!("{:#}\n", serde_json::Value::from(all)), found_all));
    }
    let listed = lists.filter(|list| !list.keys.is_empty()).map(|list| list_text(&list)).unwrap_or_default();
    Ok((listed + &text, found_all))
}

fn path(rule: &str, customer: Option<&str>, key: Option<&str>, limit: usize) -> String {
    let asked = [
        ("limit", Some(limit.to_string())),
        ("customer", customer.map(str::to_owned)),
        ("key", key.map(str::to_owned)),
    ];
    format!("/rules/{}/keys{}", escaped(rule), query(asked))
}

fn list_text(list: &KeyList) -> String {
    let levels = [("warning", &list.warning), ("critical", &list.critical)];
    let levels: Vec<String> = levels.iter().filter_map(|(name, at)| Some(format!("{name} {}", at.as_ref()?))).collect();
    let shown = list.keys.len();
    // A level at an instant has no window.
    let window = if list.window == "0s" { String::new() } else { format!(" in {}", plain(&list.window)) };
    let mut text = format!(
        "{}: {}{window}, {}; {shown} of {} keys, the largest first\n",
        plain(&list.rule),
        plain(&list.measure),
        levels.join(", "),
        list.n
    );
    let has_customers = list.keys.iter().any(|key| key.customer != "default");
    let name = |key: &crate::portal::api::wire::keys::KeyView| {
        let customer = if has_customers { format!("{}  ", plain(&key.customer)) } else { String::new() };
        format!("{customer}{}", plain(&key.name))
    };
    let width = list.keys.iter().map(|key| name(key).chars().count()).max().unwrap_or(0);
    for key in &list.keys {
        let value = (key.value * 100.0).round() / 100.0;
        let level = key.level.as_deref().unwrap_or("-");
        let since = key.since.as_deref().map_or(String::new(), |since| format!("  since {}", plain(since)));
        let newest = plain(&key.newest);
        put(&mut text, format_args!("  {:<width$}  {value:>10}  {level:<8}  last {newest}{since}\n", name(key)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::api::wire::keys::KeyView;

    #[test]
    fn keys_are_named_in_paths_as_they_are() {
        assert_eq!(
            path("ips-a", Some("ac/me"), Some("+46,a b"), 5),
            "/rules/ips-a/keys?limit=5&customer=ac%2Fme&key=%2B46%2Ca%20b"
        );
    }

    #[test]
    fn keys_stand_in_columns() {
        let key = |name: &str, level: Option<&str>| KeyView {
            customer: "default".into(),
            key: [("caller".to_owned(), name.to_owned())].into(),
            name: name.into(),
            value: 2.004,
            level: level.map(str::to_owned),
            since: level.map(|_| "T1".to_owned()),
            newest: "T2".into(),
        };
        let list = KeyList {
            rule: "r".into(),
            measure: "count".into(),
            window: "1m".into(),
            warning: Some(">= 2".into()),
            critical: None,
            at: String::new(),
            keys: vec![key("+4670", Some("warning")), key("+46", None)],
            n: 7,
        };
        assert_eq!(
            list_text(&list),
            "r: count in 1m, warning >= 2; 2 of 7 keys, the largest first\n  +4670           2  warning   last T2  since T1\n  +46             2  -         last T2\n"
        );
    }
}

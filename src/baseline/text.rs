//! A baseline for people at a terminal.

use super::Baseline;
use super::distribution::{Candidate, Key, Quantiles, RuleBaseline};
use crate::printed::{plural, put, thousands};

impl Baseline {
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let Baseline { first_day, last_day, days, left_out, time_zone, .. } = self;
        put(&mut out, format_args!("{} calls, {days} day{}", thousands(self.calls), plural(*days)));
        put(&mut out, format_args!(" from {first_day} to {last_day} ({time_zone})"));
        if !left_out.is_empty() {
            put(&mut out, format_args!(", {} left out: {}", left_out.len(), left_out.join(", ")));
        }
        if let Some(customer) = &self.customer {
            put(&mut out, format_args!("; customer {customer}"));
        }
        out.push('\n');
        let silent: Vec<&str> = self.rules.iter().filter(|r| r.peaks.is_none()).map(|r| r.rule.as_str()).collect();
        for rule in self.rules.iter().filter(|rule| rule.peaks.is_some()) {
            out.push('\n');
            rule.put_text(&mut out);
        }
        if !silent.is_empty() {
            put(&mut out, format_args!("\ncounted nothing: {}\n", silent.join(", ")));
        }
        if !self.not_measured.is_empty() {
            let names = self.not_measured.join(", ");
            put(&mut out, format_args!("\nnot measured, for low values or the age of calls: {names}\n"));
        }
        out.push_str("\nnothing is active until it is among the rules and loaded\n");
        out
    }
}

impl RuleBaseline {
    /// `count per callee in 1m`.
    pub(crate) fn what(&self) -> String {
        let per = self.per.join(", ");
        let of = self.customers.as_ref().map_or(String::new(), |customers| format!(", for {}", customers.join(", ")));
        match self.window.as_str() {
            "0s" => format!("{} per {per}{of}", self.measure),
            window => format!("{} per {per} in {window}{of}", self.measure),
        }
    }

    /// In the words of its unit.
    pub(crate) fn amounts(&self, peaks: &Quantiles) -> [String; 5] {
        [peaks.p50, peaks.p95, peaks.p99, peaks.p99_9, peaks.max].map(|value| self.scale.amount(value))
    }

    fn put_text(&self, out: &mut String) {
        let Some(peaks) = &self.peaks else { return };
        put(out, format_args!("{}: {}\n", self.rule, self.what()));
        let wide = self.top_keys.iter().map(|key| key.key.chars().count() + 2).max().unwrap_or(0).clamp(24, 60);
        put(out, format_args!("  {:<wide$}", "daily peak of a key"));
        ["p50", "p95", "p99", "p99.9", "max", "days"].iter().for_each(|t| put(out, format_args!("{t:>9}")));
        out.push('\n');
        let keys = format!("{} key{}", thousands(self.keys as u64), plural(self.keys));
        put(out, format_args!("  {keys:<wide$}"));
        self.amounts(peaks).iter().for_each(|amount| put(out, format_args!("{amount:>9}")));
        put(out, format_args!("{:>9}\n", self.by_day.len()));
        for key in &self.top_keys {
            put(out, format_args!("    {:<width$}", key.key, width = wide - 2));
            self.amounts(&key.peaks).iter().for_each(|amount| put(out, format_args!("{amount:>9}")));
            put(out, format_args!("{:>9}{}\n", key.peaks.n, remark(key)));
        }
        out.push_str("  a warning at       would have raised alarms on\n");
        for Candidate { level, what, days, keys, key_days, .. } in &self.candidates {
            let days = format!("{days} day{}", plural(*days));
            let keys = format!("{keys} key{}", plural(*keys));
            put(out, format_args!("    {level:<14} {days:>9}, {keys:>11}, {key_days:>7} in all   {what}\n"));
        }
        match &self.suggested {
            Some(suggested) => {
                put(out, format_args!("  suggested: warning {}", suggested.warning));
                if let Some(critical) = &suggested.critical {
                    put(out, format_args!(", critical {critical}"));
                }
                if let Some(clear) = &suggested.clear {
                    put(out, format_args!(", clear {clear}"));
                }
                out.push('\n');
            }
            None if self.is_of_usual => {
                out.push_str("  nothing to suggest: its levels are held against what is usual\n")
            }
            None => out.push_str("  nothing to suggest: the largest values leave no room above them\n"),
        }
        for key in self.top_keys.iter().filter(|key| key.stands_out) {
            let Some(suggested) = &key.suggested else { continue };
            let critical = suggested.critical.as_ref().map_or(String::new(), |c| format!(", critical {c}"));
            put(out, format_args!("    {} alone: warning {}{critical}\n", key.key, suggested.warning));
        }
        if self.evicted > 0 {
            let n = thousands(self.evicted);
            put(
                out,
                format_args!("  {n} keys gave way to others: values may be too small; raise max_keys or max_bytes\n"),
            );
        }
    }
}

fn remark(key: &Key) -> String {
    let share = (key.share_above * 100.0).round();
    match (key.stands_out, share >= 10.0) {
        (true, true) => format!("  <- stands out; {share} % of all peaks above p99.9"),
        (true, false) => "  <- stands out".to_owned(),
        (false, true) => format!("  <- {share} % of all peaks above p99.9"),
        (false, false) => String::new(),
    }
}

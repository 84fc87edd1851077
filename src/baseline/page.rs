//! A baseline as a page: pictures for those who would rather look. One file, without scripts, links or fonts of others.

use super::Baseline;
use super::distribution::{Candidate, Key, Quantiles, RuleBaseline, Suggestion};
use super::scale::decimals;
use crate::printed::{plural, put, thousands};

const WIDTH: f64 = 860.0;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Baseline {
    pub(super) fn page(&self) -> String {
        let mut out = String::with_capacity(64 * 1024);
        let Baseline { first_day, last_day, days, time_zone, version, .. } = self;
        let of = self.customer.as_ref().map_or(String::new(), |customer| format!(" of {customer}"));
        let title = escaped(&format!("Baseline{of}, {first_day} to {last_day}"));
        put(
            &mut out,
            format_args!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
                 <title>{title}</title>\n{STYLE}\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
            ),
        );
        let left_out = match self.left_out.as_slice() {
            [] => String::new(),
            left_out => format!(", without {}", left_out.join(", ")),
        };
        let about = format!(
            "{} calls of {days} day{}{left_out}; rules {version}, clock of {time_zone}, read from {}. A peak is the largest \
             value that the window of a key showed in a day. Nothing here is in force: suggestions are there to be reviewed.",
            thousands(self.calls),
            plural(*days),
            self.sources.join(", ")
        );
        put(&mut out, format_args!("<p>{}</p>\n", escaped(&about)));
        for (at, rule) in self.rules.iter().enumerate() {
            rule.put_section(&mut out, at);
        }
        out.push_str("</main>\n</body>\n</html>\n");
        out
    }
}

impl RuleBaseline {
    fn put_section(&self, out: &mut String, at: usize) {
        put(out, format_args!("<section>\n<h2>{}</h2>\n<p>{}</p>\n", escaped(&self.rule), escaped(&self.what())));
        let Some(peaks) = &self.peaks else {
            out.push_str("<p>It counted nothing.</p>\n</section>\n");
            return;
        };
        if let Some(Suggestion { warning, critical, .. }) = &self.suggested {
            let critical = critical.as_ref().map_or(String::new(), |c| format!(", critical <b>{}</b>", escaped(c)));
            put(out, format_args!("<p>Suggested: warning <b>{}</b>{critical}.</p>\n", escaped(warning)));
        } else {
            out.push_str("<p>Nothing to suggest: the largest values leave no room above them.</p>\n");
        }
        self.put_table(out, peaks);
        self.put_days(out, at);
        self.put_keys(out, at);
        self.put_week(out, at);
        self.put_candidates(out);
        out.push_str("</section>\n");
    }

    fn put_table(&self, out: &mut String, peaks: &Quantiles) {
        out.push_str("<table>\n<caption>Daily peaks</caption>\n<tr><th scope=\"col\">key</th>");
        for title in ["p50", "p95", "p99", "p99.9", "max", "days"] {
            put(out, format_args!("<th scope=\"col\">{title}</th>"));
        }
        let mut row = |name: String, peaks: &Quantiles, days: usize, remark: &str| {
            put(out, format_args!("</tr>\n<tr><th scope=\"row\">{}{remark}</th>", escaped(&name)));
            self.amounts(peaks).iter().for_each(|amount| put(out, format_args!("<td>{amount}</td>")));
            put(out, format_args!("<td>{days}</td>"));
        };
        row(format!("all {} keys", thousands(self.keys as u64)), peaks, self.by_day.len(), "");
        for key in &self.top_keys {
            row(key.key.clone(), &key.peaks, key.peaks.n, if key.stands_out { " <i>stands out</i>" } else { "" });
        }
        out.push_str("</tr>\n</table>\n");
    }

    fn put_candidates(&self, out: &mut String) {
        out.push_str("<table>\n<caption>What a threshold would have raised, an alarm a key and day</caption>\n<tr>");
        for title in ["threshold", "days", "keys", "alarms"] {
            put(out, format_args!("<th scope=\"col\">{title}</th>"));
        }
        out.push_str("<th class=\"w\" scope=\"col\">which it is</th>");
        for Candidate { level, what, days, keys, key_days, .. } in &self.candidates {
            let (level, what) = (escaped(level), escaped(what));
            put(
                out,
                format_args!(
                    "</tr>\n<tr><th scope=\"row\">{level}</th><td>{days}</td><td>{keys}</td><td>{key_days}</td><td class=\"w\">{what}</td>"
                ),
            );
        }
        out.push_str("</tr>\n</table>\n");
    }

    /// Levels to draw: what is in force, and what is suggested.
    fn levels(&self) -> Vec<(&'static str, f64)> {
        let of = |candidate: &Candidate| {
            let is = |word: &str| candidate.what.contains(word);
            let name = if is("now critical") {
                "critical now"
            } else if is("now warning") {
                "warning now"
            } else if is("suggested warning") {
                "warning suggested"
            } else {
                return None;
            };
            Some((name, candidate.value))
        };
        self.candidates.iter().filter_map(of).collect()
    }

    /// Quantiles of each day against the levels.
    fn put_days(&self, out: &mut String, at: usize) {
        let (top, bottom, left, right) = (34.0, 226.0, 64.0, WIDTH - 170.0);
        let most = self.by_day.iter().map(|day| day.max).fold(0.0, f64::max);
        // A level far above everything would press the days to the floor.
        let (levels, far): (Vec<_>, Vec<_>) = self.levels().into_iter().partition(|(_, value)| *value <= most * 3.0);
        let highest = nice(levels.iter().map(|(_, value)| *value).fold(most, f64::max).max(1e-9));
        let y = |value: f64| bottom - (bottom - top) * (value / highest).clamp(0.0, 1.0);
        let n = self.by_day.len();
        let x = |i: usize| left + (right - left) * (i as f64 + 0.5) / n as f64;
        let far: String =
            far.iter().map(|(name, value)| format!(" Far above: {name} {}.", self.scale.amount(*value))).collect();
        let about = format!(
            "The median, the 99th percentile and the largest of the daily peaks of each of {n} days. The largest of all is {}.{far}",
            self.scale.amount(most)
        );
        open(out, &format!("d{at}"), 262.0, &format!("Peaks by day, and thresholds.{far}"), &about);
        for value in [0.0, highest / 2.0, highest] {
            let y = y(value);
            put(out, format_args!("<path class=\"g\" d=\"M{left} {y:.1}H{right}\"/>"));
            put(
                out,
                format_args!(
                    "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
                    left - 6.0,
                    y + 4.0,
                    self.scale.amount(value)
                ),
            );
        }
        let mut last = f64::MAX;
        for (name, value) in levels.iter().rev() {
            let (y, amount) = (y(*value), self.scale.amount(*value));
            let class = if name.ends_with("now") { "n" } else { "s" };
            put(out, format_args!("<path class=\"{class}\" d=\"M{left} {y:.1}H{right}\"/>"));
            let words = if (last - y).abs() < 12.0 { last + 12.0 } else { y };
            put(out, format_args!("<text x=\"{}\" y=\"{:.1}\">{name} {amount}</text>\n", right + 6.0, words + 4.0));
            last = words;
        }
        type Of = fn(&super::distribution::Day) -> f64;
        let series: [(&str, Of); 3] = [("q1", |day| day.p50), ("q2", |day| day.p99), ("q3", |day| day.max)];
        for (class, value) in series {
            let points: Vec<String> =
                self.by_day.iter().enumerate().map(|(i, day)| format!("{:.1} {:.1}", x(i), y(value(day)))).collect();
            put(out, format_args!("<path class=\"q {class}\" d=\"M{}\"/>\n", points.join("L")));
            for (i, day) in self.by_day.iter().enumerate() {
                let (value, shown) = (value(day), self.scale.amount(value(day)));
                let (cx, cy) = (x(i), y(value));
                put(
                    out,
                    format_args!(
                        "<circle class=\"q {class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.5\"><title>{}: {shown}</title></circle>\n",
                        day.date
                    ),
                );
            }
        }
        let every = n.div_ceil(8).max(1);
        for (i, day) in self.by_day.iter().enumerate().step_by(every) {
            let date: String = day.date.chars().skip(5).collect();
            put(out, format_args!("<text class=\"m\" x=\"{:.1}\" y=\"{}\">{date}</text>\n", x(i), bottom + 16.0));
        }
        for (i, (class, name)) in [("q1", "median"), ("q2", "p99"), ("q3", "largest")].iter().enumerate() {
            let at = left + i as f64 * 90.0;
            put(out, format_args!("<path class=\"q {class}\" d=\"M{at} 18H{}\"/>", at + 24.0));
            put(out, format_args!("<text x=\"{}\" y=\"22\">{name}</text>\n", at + 30.0));
        }
        out.push_str("</svg>\n</figure>\n");
    }

    /// The largest keys: what is usual of them as a bar, the largest value as its frame.
    fn put_keys(&self, out: &mut String, at: usize) {
        let (left, right, row) = (260.0, WIDTH - 70.0, 22.0);
        let highest = self.top_keys.iter().map(|key| key.peaks.max).fold(1e-9, f64::max);
        let x = |value: f64| left + (right - left) * (value / highest).clamp(0.0, 1.0);
        let height = 16.0 + row * self.top_keys.len() as f64 + 8.0;
        let said = |key: &Key| {
            let [p50, .., max] = self.amounts(&key.peaks);
            format!("{}: median {p50}, largest {max}.", key.key)
        };
        let about = self.top_keys.iter().map(said).collect::<Vec<_>>().join(" ");
        open(out, &format!("k{at}"), height, "Largest keys: median of their days filled, largest day framed", &about);
        for (i, key) in self.top_keys.iter().enumerate() {
            let y = 16.0 + row * i as f64;
            let name: String = key.key.chars().take(34).collect();
            let [p50, .., max] = self.amounts(&key.peaks);
            put(
                out,
                format_args!("<text class=\"e\" x=\"{}\" y=\"{:.1}\">{}</text>", left - 8.0, y + 12.0, escaped(&name)),
            );
            for (class, value) in [("f", key.peaks.max), ("b", key.peaks.p50)] {
                let width = (x(value) - left).max(1.0);
                put(
                    out,
                    format_args!(
                        "<rect class=\"{class}\" x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"15\"/>"
                    ),
                );
            }
            put(
                out,
                format_args!("<text x=\"{:.1}\" y=\"{:.1}\">{p50} / {max}</text>\n", x(key.peaks.max) + 6.0, y + 12.0),
            );
        }
        out.push_str("</svg>\n</figure>\n");
    }

    /// Hours of the day against days of the week.
    fn put_week(&self, out: &mut String, at: usize) {
        let (left, top, width, height) = (48.0, 24.0, 33.0, 22.0);
        let highest = self.by_hour_of_week.iter().copied().fold(1e-9, f64::max);
        let busiest = self.by_hour_of_week.iter().position(|value| *value >= highest).unwrap_or(0);
        let about = format!(
            "The mean, over the weeks, of the largest value of any key in each hour of the week. The busiest hour begins {} at {:02}:00, with {}.",
            WEEKDAYS[busiest / 24 % 7],
            busiest % 24,
            self.scale.amount(highest)
        );
        open(
            out,
            &format!("w{at}"),
            top + height * 7.0 + 8.0,
            "Hour of the week: the largest value, mean over the weeks",
            &about,
        );
        for hour in 0..24 {
            let x = left + width * (f64::from(hour) + 0.5);
            put(out, format_args!("<text class=\"m\" x=\"{x:.1}\" y=\"{}\">{hour:02}</text>", top - 8.0));
        }
        for (i, value) in self.by_hour_of_week.iter().enumerate() {
            let (day, hour) = (i / 24, i % 24);
            let (x, y) = (left + width * hour as f64, top + height * day as f64);
            if hour == 0 {
                put(
                    out,
                    format_args!(
                        "\n<text class=\"e\" x=\"{}\" y=\"{:.1}\">{}</text>",
                        left - 8.0,
                        y + 15.0,
                        WEEKDAYS[day % 7]
                    ),
                );
            }
            let share = value / highest;
            put(
                out,
                format_args!(
                    "<rect class=\"h\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{share:.2}\"><title>{} {hour:02}:00: {}</title></rect>",
                    width - 1.0,
                    height - 1.0,
                    WEEKDAYS[day % 7],
                    self.scale.amount(*value)
                ),
            );
            if *value > 0.0 {
                let class = if share > 0.5 { "c o" } else { "c" };
                put(
                    out,
                    format_args!(
                        "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                        x + width / 2.0 - 0.5,
                        y + 15.0,
                        short(*value)
                    ),
                );
            }
        }
        out.push_str("\n</svg>\n</figure>\n");
    }
}

/// A picture with its name above it and what it shows for those who do not see it.
fn open(out: &mut String, id: &str, height: f64, title: &str, about: &str) {
    put(
        out,
        format_args!(
            "<figure>\n<figcaption>{0}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-labelledby=\"{id}t {id}d\">\n<title id=\"{id}t\">{0}</title>\n<desc id=\"{id}d\">{1}</desc>\n",
            escaped(title),
            escaped(about)
        ),
    );
}

/// At most four characters: `7`, `12`, `0.4`, `1.2k`, `35k`, `4M`.
fn short(value: f64) -> String {
    match value {
        v if v < 9.95 => decimals(v, 1),
        v if v < 999.5 => format!("{v:.0}"),
        v if v < 9_950.0 => format!("{:.1}k", v / 1000.0),
        v if v < 999_500.0 => format!("{:.0}k", v / 1000.0),
        v => format!("{:.0}M", v / 1e6),
    }
}

/// The next number above that people divide by two.
fn nice(value: f64) -> f64 {
    let mut unit = 1.0;
    while unit * 10.0 < value {
        unit *= 10.0;
    }
    while unit > value {
        unit /= 10.0;
    }
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().map(|step| step * unit).find(|nice| *nice >= value).unwrap_or(value)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "<style>
:root{--ink:#1a1c1e;--soft:#5b6168;--line:#cfd4da;--back:#fff;--fill:#1d5fa8;--warm:#b3261e;--on:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#a3abb3;--line:#3c434a;--back:#15181b;--fill:#7db4f0;--warm:#ff8a80;--on:#0b0d0f}}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:900px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:24px;line-height:1.25}h2{font-size:19px;margin:40px 0 0;border-top:1px solid var(--line);padding-top:20px}
table{border-collapse:collapse;margin:14px 0;font-variant-numeric:tabular-nums}caption{white-space:nowrap}caption,figcaption{text-align:left;font-weight:600;padding:6px 0}
th,td{padding:3px 12px 3px 0;border-bottom:1px solid var(--line);text-align:right;font-weight:400}th{text-align:left}
th[scope=col]{color:var(--soft)}th[scope=col]:not(:first-child){text-align:right}td.w,th.w[scope=col]{text-align:left;padding-left:12px}i{color:var(--warm)}
figure{margin:14px 0}svg{width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}.e{text-anchor:end}.m,.c{text-anchor:middle}svg .c{font-size:10.5px}svg .o{fill:var(--on)}
path{fill:none;stroke:var(--ink)}path.g{stroke:var(--line)}path.n{stroke:var(--warm);stroke-width:1.5}path.s{stroke:var(--warm);stroke-width:1.5;stroke-dasharray:7 4}
path.q{stroke:var(--fill);stroke-width:2}path.q1{stroke-dasharray:1 4;stroke-linecap:round}path.q2{stroke-dasharray:8 4}circle.q{fill:var(--fill)}
.h{fill:var(--fill);stroke:var(--line);stroke-width:.5}.b{fill:var(--fill)}.f{fill:none;stroke:var(--fill);stroke-width:1.5}
@media print{:root{--back:#fff;--ink:#000}}
</style>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_cells_are_short_and_axes_end_at_round_ones() {
        assert_eq!(
            [0.44, 7.0, 2.25, 999.0, 1_234.0, 35_499.0, 4_200_000.0].map(short),
            ["0.4", "7", "2.2", "999", "1.2k", "35k", "4M"]
        );
        assert_eq!([171.0, 0.3, 1.0, 61.0].map(nice), [200.0, 0.4, 1.0, 80.0]);
    }
}

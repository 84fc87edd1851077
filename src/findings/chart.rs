//! The picture of an incident: the rule's value against its levels, and beneath it the calls, over time.
//!
//! Made of strings, the same for the same draft, without scripts, links or fonts of its own. It reads in black and
//! white: what was turned away is hatched, levels are dashed, marks have words.

use std::fmt::Write;

use jiff::tz::TimeZone;

use super::advice::{amount, count};
use super::{Draft, text};
use crate::clock::Timestamp;
use crate::limits::FINDINGS_SVG_BYTES_MAX;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 448.0;
/// Where the panels stand.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 772.0;
const VALUES: Panel = Panel { top: 92.0, bottom: 248.0 };
const CALLS: Panel = Panel { top: 284.0, bottom: 384.0 };
/// The calls alone.
const ALONE: Panel = Panel { top: 92.0, bottom: 384.0 };
/// What of a long key has room.
const KEY_CHARS_MAX: usize = 80;
/// Instants along the bottom, and how far apart.
const TICKS_MAX: i64 = 8;
const STEPS_MS: [i64; 16] = [
    1_000,
    2_000,
    5_000,
    10_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    345_600_000,
];
/// Marks of notices.
const NOTICES: usize = 5;
/// Where marks have their words, in as many rows as are needed.
const WORD_ROWS: [f64; 3] = [40.0, 54.0, 68.0];
/// Room of a mark's words.
const WORDS: f64 = 128.0;

#[derive(Clone, Copy)]
struct Panel {
    top: f64,
    bottom: f64,
}

impl Panel {
    fn y(self, value: f64, highest: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * (value / highest).clamp(0.0, 1.0)
    }
}

struct Chart<'a> {
    draft: &'a Draft,
    zone: TimeZone,
    from: i64,
    to: i64,
    svg: String,
}

impl Draft {
    /// The picture, as a whole SVG file of at most [`FINDINGS_SVG_BYTES_MAX`] bytes.
    pub fn svg(&self) -> String {
        let points = &self.series.points;
        let from = points.first().map_or(self.first_violation.0, |point| point.at.0);
        let to = points.last().map_or(from + 1, |point| point.at.0 + self.series.bucket_ms.max(1));
        let zone = TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC);
        let mut chart = Chart { draft: self, zone, from, to, svg: String::with_capacity(16 * 1024) };
        chart.draw();
        debug_assert!(chart.svg.len() <= FINDINGS_SVG_BYTES_MAX, "points, marks and texts are bounded");
        chart.svg
    }
}

impl Chart<'_> {
    /// Adds what is drawn.
    fn add(&mut self, what: std::fmt::Arguments<'_>) {
        let written = self.svg.write_fmt(what);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }

    fn words(&mut self, x: f64, y: f64, more: &str, words: &str) {
        let words = escaped(words);
        self.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\"{more}>{words}</text>\n"));
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.add(format_args!("<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>\n"));
    }

    fn x(&self, at: i64) -> f64 {
        let share = (at - self.from) as f64 / (self.to - self.from).max(1) as f64;
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    fn draw(&mut self) {
        let draft = self.draft;
        let title = format!("{}, {}: calls over time", draft.incident, draft.customer);
        let about = self.description();
        self.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n{STYLE}\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n",
            escaped(&title),
            escaped(&about)
        ));
        self.words(LEFT, 22.0, " class=\"h\"", &title);
        let has_values = draft.series.points.iter().any(|point| point.value.is_some());
        if draft.series.points.is_empty() || draft.calls == 0 && !has_values {
            self.words(LEFT, 200.0, "", "No calls of that time are kept here: there is nothing to draw.");
        } else {
            // Marks lie beneath: what is written stays readable.
            self.marks();
            if has_values {
                self.values();
            }
            self.calls(if has_values { CALLS } else { ALONE });
            self.times();
        }
        self.add(format_args!("</svg>\n"));
    }

    /// What the picture shows, for those who do not see it.
    fn description(&self) -> String {
        let draft = self.draft;
        let mut text =
            format!("{} in all, {} of them turned away.", count(draft.calls, "call", "calls"), draft.blocked);
        if let Some(peak) = draft.series.peak {
            text += &format!(" The highest value was {} {}.", amount(peak), draft.series.unit);
        }
        for (name, level) in [("warning", draft.series.warning), ("critical", draft.series.critical)] {
            if let Some(level) = level {
                text += &format!(" The {name} level is {}.", amount(level));
            }
        }
        text += &format!(" First violation at {}.", text::when(draft.first_violation, &self.zone));
        match draft.first_block {
            Some(at) => text += &format!(" First call turned away at {}.", text::when(at, &self.zone)),
            None => text += " No call was turned away.",
        }
        text
    }

    /// The value of the rule, as steps, and its levels.
    fn values(&mut self) {
        let series = &self.draft.series;
        let levels = [("warning", series.warning), ("critical", series.critical)];
        let of_levels = levels.iter().filter_map(|(_, level)| *level);
        let highest = nice(of_levels.chain(series.peak).fold(1.0, f64::max) * 1.05);
        let key: String = series.key.chars().take(KEY_CHARS_MAX).collect();
        let what = format!("{} in {}, {key}", series.unit, series.window);
        self.words(LEFT, VALUES.top - 8.0, "", &what);
        self.axis(VALUES, highest);
        let mut path = String::new();
        for (i, point) in series.points.iter().enumerate() {
            let y = VALUES.y(point.value.unwrap_or(0.0), highest);
            let (x1, x2) = (self.x(point.at.0), self.x(point.at.0 + series.bucket_ms));
            let begin = if i == 0 { 'M' } else { 'L' };
            let written = write!(path, "{begin}{x1:.1} {y:.1}H{x2:.1}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        self.add(format_args!("<path class=\"v\" d=\"{path}\"/>\n"));
        let mut words: Vec<(f64, String)> = Vec::new();
        for (name, level) in levels {
            let Some(level) = level else { continue };
            let y = VALUES.y(level, highest);
            let (class, dashes) = if name == "critical" { ("c", "dotted") } else { ("w", "dashed") };
            self.line((LEFT, y), (RIGHT, y), class);
            let said = format!("{name} {} ({dashes})", amount(level));
            match words.first_mut().filter(|(of, _)| (*of - y).abs() < 14.0) {
                // Lines that lie close share their words.
                Some((of, words)) => (*of, *words) = (of.min(y), format!("{words}, {said}")),
                None => words.push((y, said)),
            }
        }
        for (y, said) in words {
            self.words(RIGHT, y - 4.0, " class=\"e\"", &said);
        }
    }

    /// Calls of each stretch: let through, and hatched on top of them, turned away.
    fn calls(&mut self, panel: Panel) {
        let series = &self.draft.series;
        let most = series.points.iter().map(|point| point.passed + point.blocked).max().unwrap_or(0);
        let highest = nice((most as f64).max(1.0));
        let noun = if self.draft.samples.first().is_some_and(|call| call.is_request) { "attempts" } else { "calls" };
        let what = format!(
            "{noun} in each {}: let through (filled), turned away (hatched)",
            text::span_text(series.bucket_ms)
        );
        self.words(LEFT, panel.top - 8.0, "", &what);
        self.axis(panel, highest);
        for point in &series.points {
            let (x, end) = (self.x(point.at.0), self.x(point.at.0 + series.bucket_ms));
            let width = (end - x - 0.6).max(0.6);
            let passed = panel.y(point.passed as f64, highest);
            let all = panel.y((point.passed + point.blocked) as f64, highest);
            for (top, bottom, class) in [(passed, panel.bottom, "p"), (all, passed, "b")] {
                if bottom - top > 0.01 {
                    let height = bottom - top;
                    self.add(format_args!(
                        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n"
                    ));
                }
            }
        }
    }

    fn axis(&mut self, panel: Panel, highest: f64) {
        for value in [0.0, highest / 2.0, highest] {
            let y = panel.y(value, highest);
            self.line((LEFT, y), (RIGHT, y), if value == 0.0 { "a" } else { "g" });
            self.words(LEFT - 6.0, y + 4.0, " class=\"e\"", &amount(value));
        }
    }

    /// First violation, first block, notices: a line through both panels, with words that do not cover each other.
    fn marks(&mut self) {
        let draft = self.draft;
        let mut marks = vec![(draft.first_violation, "first violation".to_owned())];
        marks.extend(draft.first_block.map(|at| (at, "first block".to_owned())));
        marks.extend(draft.notices.iter().take(NOTICES).map(|at| (*at, "notice".to_owned())));
        marks.sort_by_key(|(at, _)| *at);
        let is_inside = |at: Timestamp| (self.from..=self.to).contains(&at.0);
        let (inside, outside): (Vec<_>, Vec<_>) = marks.into_iter().partition(|(at, _)| is_inside(*at));
        let mut free = [0.0; WORD_ROWS.len()];
        for (at, name) in inside {
            let x = self.x(at.0);
            self.line((x, WORD_ROWS[0] - 9.0), (x, CALLS.bottom), "m");
            let room = |free: &f64| *free <= x;
            let Some(row) = free.iter().position(room) else { continue };
            let is_late = x > RIGHT - WORDS;
            if let Some(free) = free.get_mut(row) {
                *free = x + WORDS;
            }
            let y = WORD_ROWS.get(row).copied().unwrap_or(WORD_ROWS[0]);
            let clock = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(self.zone.clone());
            let words = format!("{name} {}", clock.strftime("%H:%M:%S"));
            match is_late {
                true => self.words(x - 3.0, y, " class=\"e\"", &words),
                false => self.words(x + 3.0, y, "", &words),
            }
        }
        if let Some((at, name)) = outside.first() {
            let words = format!("not in the picture: {name} {}", text::when(*at, &self.zone));
            self.words(RIGHT, HEIGHT - 6.0, " class=\"e\"", &words);
        }
    }

    /// Round instants of the customer's clock along the bottom, and which day and zone they are of.
    fn times(&mut self) {
        let zoned = |at: i64| jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(self.zone.clone());
        let span = self.to - self.from;
        let step = STEPS_MS.into_iter().find(|step| span / step <= TICKS_MAX).unwrap_or(span.max(1));
        let ahead = i64::from(zoned(self.from).offset().seconds()) * 1000;
        let first = (self.from + ahead).div_euclid(step) * step - ahead;
        let format = match step {
            step if step >= 43_200_000 => "%m-%d %H:%M",
            step if step < 60_000 => "%H:%M:%S",
            _ => "%H:%M",
        };
        let at = |i: i64| first + i * step;
        let inside = (0..=TICKS_MAX + 1).map(at).filter(|at| (self.from..=self.to).contains(at));
        let ticks: Vec<(i64, String)> = inside.map(|at| (at, zoned(at).strftime(format).to_string())).collect();
        let [first, last] = [self.from, self.to].map(|at| zoned(at).strftime("%Y-%m-%d").to_string());
        for (at, words) in ticks {
            let x = self.x(at);
            self.line((x, CALLS.bottom), (x, CALLS.bottom + 5.0), "a");
            self.words(x, CALLS.bottom + 18.0, " class=\"m\"", &words);
        }
        let day = if first == last { first } else { format!("{first} to {last}") };
        let words = format!("{day}, {}", self.draft.time_zone);
        self.words((LEFT + RIGHT) / 2.0, CALLS.bottom + 40.0, " class=\"m\"", &words);
    }
}

const STYLE: &str = "<style>text{font:12px sans-serif;fill:#111;stroke:#fff;stroke-width:3;paint-order:stroke}.h{font:bold 15px sans-serif}.e{text-anchor:end}\
.m{text-anchor:middle}path{fill:none;stroke:#111}.v{stroke-width:2}path.a{stroke-width:1}path.g{stroke:#ccc}\
path.w{stroke-dasharray:8 4}path.c{stroke-dasharray:2 3;stroke-width:2}path.m{stroke:#555;stroke-dasharray:1 2}\
.p{fill:#777}.b{fill:url(#x);stroke:#111;stroke-width:.5}</style>\n\
<defs><pattern id=\"x\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"4\" height=\"4\" fill=\"#fff\"/><rect width=\"1.5\" height=\"4\" fill=\"#111\"/></pattern></defs>";

/// The next number above that people divide by two: 10, 20, 40, 60, 80, 100.
fn nice(value: f64) -> f64 {
    let mut unit = 1.0;
    while unit * 10.0 < value {
        unit *= 10.0;
    }
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * unit).find(|nice| *nice >= value).unwrap_or(value)
}

/// For the text of an element.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML knows no others.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

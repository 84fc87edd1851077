//! `[[threshold]]`: what is measured, per which key, against which levels, and what follows.

use std::ops::Range;

use super::document::{Key, Section, TextValue, short};
use super::expression::{Scope, compile_measure, compile_operand};
use super::field::Type;
use super::level::{self, LevelKey, LevelPlaces, check_levels, compile_level};
use super::lists::ListType;
use super::load::value_span;
use super::origin::Origin;
use super::problem::{Place, suggest};
use super::rules::{Compiler, Rules, duration, origin, overlay};
use super::{Also, Block, KeyPart, KeySpec, Level, Levels, Measure, On, Operand, Reaction, ThresholdRule, tables};
use crate::limits::{ALSO_MAX, KEY_PARTS_MAX, MAX_BYTES_DEFAULT, WINDOW_MS_MAX};

/// Episodes of a rule on the life of calls have no window to take their cooldown from.
const CALLS_COOLDOWN_MS: i64 = 60_000;
/// A cooldown, and the life of a block, end some day.
const SPAN_MS_MAX: i64 = 10 * 366 * 86_400_000;
/// Events of a window below which `share` and `avg` say nothing, unless the rule says otherwise.
const MIN_COUNT_DEFAULT: u32 = 20;
/// Reminders that come faster are noise.
const REMIND_MS_MIN: i64 = 60_000;
/// Fewer bytes would not hold one key in each partition.
const MAX_BYTES_LEAST: u64 = 64 * 1024;

pub(crate) const PHASES: [(&str, On); 6] = [
    ("attempt", On::Attempt),
    ("answer", On::Answer),
    ("end", On::End),
    ("call", On::Call),
    ("register", On::Register),
    ("request", On::Request),
];

/// Compiles one rule, noting everything that is wrong with it; `None` where it cannot run. With `over`, the variant of it
/// in which the keys of that table stand in place of its own.
// long: a line or two for each key of the table
pub(crate) fn compile(
    compiler: &mut Compiler<'_>,
    section: &Section<'_, '_>,
    over: Option<&Section<'_, '_>>,
    position: u32,
    rules: &mut Rules,
) -> Option<ThresholdRule> {
    let of = |key: &Key| overlay(section, over, key);
    for key in [&tables::ON, &tables::MEASURE, &tables::PER].into_iter().filter(|key| section.lacks(key)) {
        compiler.problems.push(section.missing(key));
    }
    let on = section.word(&tables::ON, &PHASES, compiler.problems);
    let condition = match on {
        Some(on) => compiler.condition(section, &tables::WHERE, of(&tables::ACTIVE), on),
        None => Err(()),
    };
    let measure = on.and_then(|on| compiler.measure(section, on));
    let window = compiler.window(of(&tables::WINDOW), measure.as_ref());
    let levels = compiler.levels(section, over, measure.as_ref());
    let key = on.and_then(|on| compiler.key(section, on));
    let group = compiler.group(section);
    let target = compiler.target(section, key.as_ref());
    let cooldown = compiler.cooldown(of(&tables::COOLDOWN));
    let also = compiler.also(section, on, measure.as_ref());
    let after = compiler.after(section, on, key.as_ref());
    let measure = compiler.memory(section, measure);
    let hold = compiler.bounded(section, &tables::FOR, 0, SPAN_MS_MAX, "3660d");
    let remind = compiler.bounded(section, &tables::REMIND, REMIND_MS_MIN, SPAN_MS_MAX, "3660d");
    let min_count = compiler.min_count(of(&tables::MIN_COUNT), measure.as_ref(), &also);
    let least = compiler.min_value(section, measure.as_ref(), levels.as_ref());
    let mode = compiler.mode(of(&tables::MODE));
    let concern = compiler.concern(section, on);
    let texts = compiler.texts_of(section);
    let max_keys = section.integer(&tables::MAX_KEYS, 1..1 << 32, compiler.problems);
    let max_bytes = section.integer(&tables::MAX_BYTES, MAX_BYTES_LEAST..1 << 44, compiler.problems);
    let count_blocked = section.boolean(&tables::COUNT_BLOCKED, compiler.problems);
    let mut reaction = |key_of: &Key, level: &Key| {
        let has_level = !of(level).lacks(level);
        compiler.reaction(of(key_of), key_of, (level, has_level), on, key.as_ref(), rules)
    };
    let on_warning = reaction(&tables::ON_WARNING, &tables::WARNING);
    let on_critical = reaction(&tables::ON_CRITICAL, &tables::CRITICAL);

    let id = section.value(tables::ID.name)?.get_ref().as_str()?.to_owned();
    let (on, condition, measure, levels, key) = (on?, condition.ok()?, measure?, levels?, key?);
    let (window_ms, window_text) = window?;
    if levels.has_usual() {
        let place = [&tables::WARNING, &tables::CRITICAL].into_iter().find_map(|key| {
            let section = of(key);
            section.has(key.name).then(|| Place::new(section.document.path, value_span(section, key.name)))
        });
        rules.usual_at.extend(place.map(|place| (id.clone(), place)));
    }
    let is_dynamic = |list: usize| compiler.declared.lists.get(list).is_some_and(|list| list.is_dynamic);
    if on == On::Call && (after.is_some() || condition.as_ref().is_some_and(|c| c.uses_dynamic(&is_dynamic))) {
        let message = "rules on the life of calls look at no list that changes while calls are up";
        let help = "count attempts instead (on = \"attempt\"), or leave the list or `after` out";
        let problem = section.problem("E008", message, value_span(section, tables::ON.name));
        compiler.problems.push(problem.help(help));
        return None;
    }
    let default_cooldown = if measure.is_of_calls() { CALLS_COOLDOWN_MS } else { window_ms };
    Some(ThresholdRule {
        group: group.unwrap_or_else(|| id.clone()),
        target,
        id,
        position,
        on,
        mode,
        concern,
        renamed_from: texts.renamed_from,
        condition,
        measure,
        also,
        after,
        chains: Vec::new(),
        key: shared_key(key, &mut rules.keys),
        window_ms,
        window_text,
        levels,
        usual: None,
        least: least.unwrap_or(0),
        cooldown_ms: cooldown.unwrap_or(default_cooldown),
        hold_ms: hold.unwrap_or(0),
        remind_ms: remind,
        min_count: min_count.unwrap_or(MIN_COUNT_DEFAULT),
        count_blocked: count_blocked.unwrap_or(true),
        max_keys: max_keys.unwrap_or(compiler.settings.max_keys),
        max_bytes: max_bytes.unwrap_or(MAX_BYTES_DEFAULT),
        on_warning,
        on_critical,
        message: texts.message,
        description: texts.description,
        owner: texts.owner,
        ticket: texts.ticket,
        references: texts.references,
    })
}

/// The place of a key among those that rules share.
fn shared_key(key: KeySpec, keys: &mut Vec<KeySpec>) -> usize {
    match keys.iter().position(|k| *k == key) {
        Some(index) => index,
        None => {
            keys.push(key);
            keys.len() - 1
        }
    }
}

impl Compiler<'_> {
    fn measure(&mut self, section: &Section<'_, '_>, on: On) -> Option<Measure> {
        let text = section.text(&tables::MEASURE, self.problems)?;
        let on_place = Self::on_place(section);
        let scope = Scope { on: Some(on), on_place: on_place.as_ref(), ..self.declared.scope() };
        let measure = compile_measure(text.value, &origin(section, &text), &scope, self.problems)?;
        if measure.is_of_calls() != (on == On::Call) {
            let (message, help) = match measure.is_of_calls() {
                true => (format!("`{}` measures the life of a call", measure.as_str()), "use on = \"call\""),
                false => (
                    "on = \"call\" goes with measure = \"concurrent\" or \"longest\"".to_owned(),
                    "use on = \"attempt\", \"answer\" or \"end\"",
                ),
            };
            let problem = section.problem("E008", message, value_span(section, tables::ON.name)).help(help);
            self.problems.push(problem.context(section.document.path, text.span, "the measure is this"));
            return None;
        }
        Some(measure)
    }

    /// `also`: measures of the same window, each with the level that must hold beside the rule's own.
    fn also(&mut self, section: &Section<'_, '_>, on: Option<On>, measure: Option<&Measure>) -> Vec<Also> {
        if section.has(tables::ALSO.name)
            && let Some(measure) = measure.filter(|measure| measure.is_of_calls())
        {
            let message = format!("`also` looks at the same window, and `{}` has none", measure.as_str());
            self.problems.push(section.problem("E008", message, section.key_span(tables::ALSO.name)));
            return Vec::new();
        }
        let texts = section.texts(&tables::ALSO, self.problems).unwrap_or_default();
        if texts.len() > ALSO_MAX {
            let message = format!("`also` has {} entries; it takes at most {ALSO_MAX}", texts.len());
            self.problems.push(section.problem("E006", message, value_span(section, tables::ALSO.name)));
            return Vec::new();
        }
        texts.iter().filter_map(|text| self.also_entry(section, text, on?)).collect()
    }

    fn also_entry(&mut self, section: &Section<'_, '_>, text: &TextValue<'_>, on: On) -> Option<Also> {
        // What stands in parentheses may have signs of its own.
        let behind = text.value.rfind(')').map_or(0, |at| at + 1);
        let sign = text.value.get(behind..).and_then(|rest| rest.find(['<', '>'])).map(|at| at + behind);
        let Some(sign) = sign else {
            let message = format!("`{}` has no level", short(text.value));
            let problem = section.problem("E056", message, text.span.clone());
            self.problems.push(problem.help(format!("add a line such as: {}", tables::ALSO.example)));
            return None;
        };
        let (measure, level) = text.value.split_at(sign);
        let on_place = Self::on_place(section);
        let scope = Scope { on: Some(on), on_place: on_place.as_ref(), ..self.declared.scope() };
        let measure = compile_measure(measure, &origin(section, text), &scope, self.problems)?;
        if measure.is_of_calls() {
            let message = format!("`{}` has no window, and `also` looks at that of the rule", measure.as_str());
            self.problems.push(section.problem("E008", message, text.span.clone()));
            return None;
        }
        let place = origin(section, text).behind(sign);
        let level = compile_level(level, &place, LevelKey::Warning, &measure, self.problems)?;
        if level.is_of_usual {
            let message =
                format!("`{}` is of the rule's own measure alone: what is usual of others is not known", level.text);
            self.problems.push(section.problem("E056", message, text.span.clone()));
            return None;
        }
        Some(Also { measure, level })
    }

    /// `memory`: how long `first_seen` remembers.
    fn memory(&mut self, section: &Section<'_, '_>, measure: Option<Measure>) -> Option<Measure> {
        let memory = self.bounded(section, &tables::MEMORY, 1, WINDOW_MS_MAX, "49d");
        if section.has(tables::MEMORY.name)
            && let Some(measure) = measure.as_ref().filter(|measure| !matches!(measure, Measure::FirstSeen(..)))
        {
            let message = format!("`memory` belongs to first_seen, not to {}", measure.as_str());
            self.problems.push(section.problem("E008", message, section.key_span(tables::MEMORY.name)));
        }
        match (measure?, memory) {
            (Measure::FirstSeen(operand, _), Some(memory_ms)) => Some(Measure::FirstSeen(operand, memory_ms)),
            (measure, _) => Some(measure),
        }
    }

    /// Milliseconds, and as written.
    fn window(&mut self, section: &Section<'_, '_>, measure: Option<&Measure>) -> Option<(i64, String)> {
        if let Some(measure) = measure.filter(|measure| measure.is_of_calls()) {
            if section.has(tables::WINDOW.name) {
                let message = format!("`{}` has no window: it is a level at an instant", measure.as_str());
                let problem = section.problem("E020", message, section.key_span(tables::WINDOW.name));
                self.problems.push(problem.help("take `window` out; `cooldown` says when an episode ends"));
            }
            return Some((0, "0s".to_owned()));
        }
        // Of a measure that could not be read nobody knows whether it has a window.
        if section.lacks(&tables::WINDOW) && (measure.is_some() || !section.has(tables::MEASURE.name)) {
            let problem = section.problem("E020", format!("{} has no `window`", section.named), section.span.clone());
            self.problems.push(problem.help(format!("add a line such as: {}", tables::WINDOW.example)));
        }
        let window_ms = self.bounded(section, &tables::WINDOW, 1, WINDOW_MS_MAX, "49d")?;
        let text = section.value(tables::WINDOW.name)?.get_ref().as_str()?;
        Some((window_ms, text.to_owned()))
    }

    fn cooldown(&mut self, section: &Section<'_, '_>) -> Option<i64> {
        self.bounded(section, &tables::COOLDOWN, 0, SPAN_MS_MAX, "3660d")
    }

    pub(crate) fn bounded(
        &mut self,
        section: &Section<'_, '_>,
        key: &Key,
        least: i64,
        most: i64,
        shown: &str,
    ) -> Option<i64> {
        let ms = duration(section, key, self.problems)?;
        if (least..=most).contains(&ms) {
            return Some(ms);
        }
        let message = match ms < least {
            true => format!("`{}` is at least {least}ms", key.name),
            false => format!("`{}` is at most {shown}", key.name),
        };
        self.problems.push(section.problem("E009", message, value_span(section, key.name)));
        None
    }

    fn levels(
        &mut self,
        section: &Section<'_, '_>,
        over: Option<&Section<'_, '_>>,
        measure: Option<&Measure>,
    ) -> Option<Levels> {
        let has = |key: &Key| overlay(section, over, key).has(key.name);
        let lacks = |key: &Key| overlay(section, over, key).lacks(key);
        if lacks(&tables::WARNING) && lacks(&tables::CRITICAL) {
            let message = format!("{} has neither `warning` nor `critical`", section.named);
            let problem = section.problem("E019", message, section.span.clone());
            self.problems.push(problem.help(format!("add a line such as: {}", tables::WARNING.example)));
        }
        let mut places = LevelPlaces::default();
        let mut levels = Levels::default();
        let mut is_good = has(&tables::WARNING) || has(&tables::CRITICAL);
        for (key, which) in [
            (&tables::WARNING, LevelKey::Warning),
            (&tables::CRITICAL, LevelKey::Critical),
            (&tables::CLEAR, LevelKey::Clear),
        ] {
            if !has(key) {
                continue;
            }
            let section = overlay(section, over, key);
            let Some(text) = self.level_text(section, key) else {
                is_good = false;
                continue;
            };
            let Some(measure) = measure else { continue };
            let place = Some(Place::new(section.document.path, text.span.clone()));
            let level = compile_level(text.value, &origin(section, &text), which, measure, self.problems);
            is_good &= level.is_some();
            let slot: (&mut Option<Level>, &mut Option<Place>) = match which {
                LevelKey::Warning => (&mut levels.warning, &mut places.warning),
                LevelKey::Critical => (&mut levels.critical, &mut places.critical),
                LevelKey::Clear => (&mut levels.clear, &mut places.clear),
            };
            (*slot.0, *slot.1) = (level, place);
        }
        if let Some(measure) = measure {
            check_levels(&levels, measure, &places, self.problems);
        }
        is_good.then_some(levels)
    }

    fn level_text<'d>(&mut self, section: &Section<'d, '_>, key: &Key) -> Option<TextValue<'d>> {
        let value = section.value(key.name)?;
        if let Some(integer) = value.get_ref().as_integer() {
            let problem = section.problem(
                "E004",
                format!("`{}` is text with its operator, not an integer", key.name),
                value.span(),
            );
            let operator = if key.name == tables::CLEAR.name { "<" } else { ">=" };
            self.problems.push(problem.help(format!("write: {} = \"{operator} {integer}\"", key.name)));
            return None;
        }
        section.text(key, self.problems)
    }

    fn min_count(&mut self, section: &Section<'_, '_>, measure: Option<&Measure>, also: &[Also]) -> Option<u32> {
        let min_count = section.integer(&tables::MIN_COUNT, 1..1 << 32, self.problems);
        if section.has(tables::MIN_COUNT.name)
            && let Some(measure) = measure
            && !matches!(measure, Measure::Share(_) | Measure::Avg(_))
            && also.iter().all(|also| !matches!(also.measure, Measure::Share(_) | Measure::Avg(_)))
        {
            let message = format!("`min_count` belongs to share and avg, not to {}", measure.as_str());
            self.problems.push(section.problem("E008", message, section.key_span(tables::MIN_COUNT.name)));
        }
        min_count.map(|n| n as u32)
    }

    /// `min_value`, written as a level is, without its operator.
    fn min_value(
        &mut self,
        section: &Section<'_, '_>,
        measure: Option<&Measure>,
        levels: Option<&Levels>,
    ) -> Option<i128> {
        let text = section.text(&tables::MIN_VALUE, self.problems)?;
        let (measure, levels) = (measure?, levels?);
        if !levels.has_usual() {
            let message = "`min_value` belongs to levels of what is usual, such as `>= 3x`";
            self.problems.push(section.problem("E008", message, section.key_span(tables::MIN_VALUE.name)));
            return None;
        }
        match level::limit(text.value.trim(), measure) {
            Ok(limit) => Some(limit),
            Err(_) => {
                let message = format!("`{}` is no value of `{}`", short(text.value), measure.as_str());
                let problem = section.problem("E006", message, text.span);
                self.problems.push(problem.help("written as in a level, without its operator: min_value = \"50\""));
                None
            }
        }
    }

    /// `per` and `missing_key`.
    fn key(&mut self, section: &Section<'_, '_>, on: On) -> Option<KeySpec> {
        let missing = [("skip", false), ("merge", true)];
        let merge_missing = section.word(&tables::MISSING_KEY, &missing, self.problems).unwrap_or(false);
        let before = self.problems.len();
        let texts = section.texts(&tables::PER, self.problems)?;
        let is_whole = self.problems.len() == before;
        if is_whole && (texts.is_empty() || texts.len() > KEY_PARTS_MAX) {
            let message = format!("`per` has {} entries; it takes 1 to {KEY_PARTS_MAX}", texts.len());
            let problem = section.problem("E006", message, value_span(section, tables::PER.name));
            self.problems.push(problem.help("for one counter over everything: per = [\"customer\"]"));
            return None;
        }
        let on_place = Self::on_place(section);
        let scope = Scope { on: Some(on), on_place: on_place.as_ref(), ..self.declared.scope() };
        let mut parts: Vec<(KeyPart, Range<usize>)> = Vec::new();
        let mut is_good = is_whole;
        for text in texts {
            let Some(operand) = compile_operand(text.value, &origin(section, &text), &scope, self.problems) else {
                is_good = false;
                continue;
            };
            if let Some((_, first)) = parts.iter().find(|(part, _)| part.operand == operand) {
                let problem = section.problem("E007", format!("`{}` is named twice in `per`", text.value), text.span);
                self.problems.push(problem.context(section.document.path, first.clone(), "first here"));
                is_good = false;
                continue;
            }
            parts.push((KeyPart { name: text.value.to_owned(), operand }, text.span));
        }
        let parts = parts.into_iter().map(|(part, _)| part).collect();
        is_good.then_some(KeySpec { parts, merge_missing })
    }

    /// Rules of one group fold their alerts into one incident.
    fn group(&mut self, section: &Section<'_, '_>) -> Option<String> {
        let text = section.text(&tables::GROUP, self.problems)?;
        if super::declared::is_name(text.value) {
            return Some(text.value.to_owned());
        }
        let problem = section.problem("E024", format!("`{}` is no name for a group", short(text.value)), text.span);
        self.problems.push(problem.help("a letter, then letters, digits, `_` and `-`, as in ids"));
        None
    }

    /// `target`: which of the entries of `per` tell one incident of the group from another.
    fn target(&mut self, section: &Section<'_, '_>, per: Option<&KeySpec>) -> Vec<usize> {
        let texts = section.texts(&tables::TARGET, self.problems).unwrap_or_default();
        let Some(per) = per else { return Vec::new() };
        let bare = |text: &str| text.replace(char::is_whitespace, "");
        let mut target = Vec::new();
        for text in texts {
            let problem = match per.parts.iter().position(|part| bare(&part.name) == bare(text.value)) {
                Some(part) if !target.contains(&part) => {
                    target.push(part);
                    continue;
                }
                Some(_) => section.problem("E007", format!("`{}` is named twice in `target`", text.value), text.span),
                None => {
                    let message = format!("`{}` is not in `per` of the rule", short(text.value));
                    let entries: Vec<&str> = per.parts.iter().map(|part| part.name.as_str()).collect();
                    let problem = section.problem("E031", message, text.span);
                    problem.help(format!("`target` takes entries of `per`, as written there: {}", entries.join(", ")))
                }
            };
            self.problems.push(problem);
        }
        target
    }

    /// `on_warning`, `on_critical`: what follows when the level is reached.
    fn reaction(
        &mut self,
        section: &Section<'_, '_>,
        key: &Key,
        (level, has_level): (&Key, bool),
        on: Option<On>,
        per: Option<&KeySpec>,
        rules: &mut Rules,
    ) -> Reaction {
        let silent = Reaction { alert: true, webhooks: Vec::new(), block: None };
        let Some(table) = section.section(key, self.problems) else { return silent };
        let table = table.keyed(tables::REACTION_KEYS);
        if !has_level {
            let message = format!("`{}` does nothing without `{}`", key.name, level.name);
            let problem = section.problem("E008", message, section.key_span(key.name));
            self.problems.push(problem.help(format!("add a line such as: {}", level.example)));
        }
        table.check_keys(self.problems);
        let mut reaction = Reaction { alert: !table.has(tables::DO.name), ..silent };
        for text in table.texts(&tables::DO, self.problems).unwrap_or_default() {
            match text.value.split_once(':') {
                None if text.value == "alert" => reaction.alert = true,
                Some(("webhook", name)) if super::declared::is_name(name) => reaction.webhooks.push(name.to_owned()),
                Some(("email", _)) => {
                    let problem = table.problem("E090", "`email:` is not supported yet", text.span);
                    self.problems.push(problem.help("use \"alert\" or \"webhook:NAME\""));
                }
                _ => {
                    let words = ["alert", "webhook:NAME"];
                    self.problems.push(table.not_a_word(tables::DO.name, &text, words.into_iter()));
                }
            }
        }
        reaction.block =
            table.section(&tables::BLOCK, self.problems).and_then(|block| self.block(&block, on, per, rules));
        reaction
    }

    fn block(
        &mut self,
        table: &Section<'_, '_>,
        on: Option<On>,
        per: Option<&KeySpec>,
        rules: &mut Rules,
    ) -> Option<Block> {
        let table = &table.clone().keyed(tables::BLOCK_KEYS);
        table.check_keys(self.problems);
        let ttl = self.bounded(table, &tables::BLOCK_TTL, 0, SPAN_MS_MAX, "3660d");
        let name = table.required_text(&tables::BLOCK_LIST, self.problems)?;
        let lists = &self.declared.lists;
        let Some((index, list)) = lists.iter().enumerate().find(|(_, list)| list.name == name.value) else {
            let message = match suggest(name.value, lists.iter().map(|l| l.name.as_str())) {
                Some(near) => format!("unknown list `{}`; did you mean `{near}`?", name.value),
                None => format!("unknown list `{}`", name.value),
            };
            let example = format!("declare it under [lists]: {} = {{ type = \"number\", dynamic = true }}", name.value);
            self.problems.push(table.problem("E016", message, name.span).help(example));
            return None;
        };
        rules.block_lists.push(index);
        if !list.is_dynamic {
            let message = format!("list `{}` is not dynamic, so nothing can be put on it", list.name);
            let problem = table.problem("E017", message, name.span);
            let problem = problem.context(&list.place.path, list.place.span.clone(), "declared here");
            self.problems.push(problem.help("write dynamic = true in place of its entries"));
            return None;
        }
        let ttl_ms = ttl.or(list.default_ttl_ms);
        if ttl_ms.is_none() && table.lacks(&tables::BLOCK_TTL) {
            let problem = table.missing(&tables::BLOCK_TTL);
            self.problems.push(problem.help("write ttl = \"6h\" here, or default_ttl at the list"));
        }
        let list_type = list.list_type;
        let field = self.block_field(table, list_type, &list.name, on?, per?);
        Some(Block { list: index, ttl_ms: ttl_ms?, field: field? })
    }

    /// The `per` entry whose value goes on the list.
    fn block_field(
        &mut self,
        table: &Section<'_, '_>,
        list_type: ListType,
        list: &str,
        on: On,
        per: &KeySpec,
    ) -> Option<Operand> {
        let fitting: Vec<&KeyPart> = per.parts.iter().filter(|part| fits(&part.operand, list_type)).collect();
        let entries = |parts: &[&KeyPart]| parts.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
        let all: Vec<&KeyPart> = per.parts.iter().collect();
        let Some(text) = table.text(&tables::BLOCK_FIELD, self.problems) else {
            let message = match fitting.as_slice() {
                [one] => return Some(one.operand.clone()),
                [] => {
                    format!("no entry of `per` ({}) fits list `{list}` of type {}", entries(&all), list_type.as_str())
                }
                several => format!("more than one entry of `per` fits list `{list}`: {}", entries(several)),
            };
            let help = match fitting.first() {
                Some(first) => format!("say which: field = \"{}\"", first.name),
                None => "a list takes values of its own type: phone numbers, texts or IP addresses".to_owned(),
            };
            if !table.has(tables::BLOCK_FIELD.name) {
                self.problems.push(table.problem("E018", message, table.span.clone()).help(help));
            }
            return None;
        };
        let path = table.document.path;
        let scope = Scope { on: Some(on), ..self.declared.scope() };
        let operand = compile_operand(
            text.value,
            &Origin::toml(path, table.document.text, text.span.clone()),
            &scope,
            self.problems,
        )?;
        let problem = match per.parts.iter().find(|part| part.operand == operand) {
            None => {
                let message = format!("`{}` is not in `per` of the rule", text.value);
                table.problem("E018", message, text.span).help(format!("one of: {}", entries(&all)))
            }
            Some(part) if !fits(&part.operand, list_type) => {
                let message = format!("`{}` does not fit list `{list}` of type {}", text.value, list_type.as_str());
                table.problem("E017", message, text.span)
            }
            Some(part) => return Some(part.operand.clone()),
        };
        self.problems.push(problem);
        None
    }
}

/// Are the operand's values those of the list? The prefix of a number is a pattern, which a list of numbers holds.
fn fits(operand: &Operand, list_type: ListType) -> bool {
    let value_type = operand.field().spec().map(|spec| spec.ty);
    match operand {
        Operand::Field(_) | Operand::Prefix(..) if value_type == Some(Type::Number) => list_type == ListType::Number,
        Operand::Field(_) if value_type == Some(Type::Ip) => list_type == ListType::Ip,
        Operand::Field(_) | Operand::Lower(_) if value_type == Some(Type::Text) => list_type == ListType::Text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_durations_agree_with_what_messages_say() {
        assert_eq!(SPAN_MS_MAX, 3660 * 86_400_000);
        assert_eq!(WINDOW_MS_MAX, 49 * 86_400_000);
    }
}

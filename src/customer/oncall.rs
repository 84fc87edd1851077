//! Who is called when something grave happens, one after the other, until somebody says that they look after it.

use super::people::{self, People};
use super::{Channel, keys};
use crate::policy::document::Section;
use crate::policy::load::value_span;
use crate::policy::problem::Problem;
use crate::policy::rules::duration;

/// A chain of people for some severities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnCall {
    /// 1 to 4.
    pub severities: Vec<u8>,
    /// In the order in which they are called; see [`super::Customer::calls`].
    pub steps: Vec<Step>,
    pub channels: Vec<Channel>,
    /// How often the whole chain is gone through again.
    pub repeats: u32,
    /// From the last step to the first one again, ms.
    pub repeat_after_ms: i64,
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Ids of contacts, who are called at once, and names of rosters, of whom one is called after the other.
    pub to: Vec<String>,
    /// From the beginning of the chain, ms.
    pub after_ms: i64,
    /// Between two people of a roster, ms.
    pub each_ms: i64,
}

/// How long one person of a roster has before the next is called.
pub(super) const EACH_MS: i64 = 5 * 60_000;
/// Before the chain begins again.
pub(super) const REPEAT_AFTER_MS: i64 = 10 * 60_000;
pub(super) const REPEATS: u32 = 2;
const REPEATS_MAX: u64 = 20;
/// Nobody is called a day after it began.
const AFTER_MS_MAX: i64 = 24 * 3_600_000;

/// `[[oncall]]`.
pub(super) fn read(file: &Section<'_, '_>, people: &People, problems: &mut Vec<Problem>) -> Vec<OnCall> {
    let mut chains: Vec<OnCall> = Vec::new();
    for section in file.sections(&keys::ONCALL, problems) {
        let section = section.keyed(keys::ONCALL_KEYS).named("[[oncall]]");
        section.check_keys(problems);
        for key in [&keys::SEVERITIES, &keys::STEPS].into_iter().filter(|key| section.lacks(key)) {
            problems.push(section.missing(key));
        }
        let severities = people::severities(&section, problems);
        let taken = severities.iter().find(|s| chains.iter().any(|chain| chain.severities.contains(s)));
        if let Some(taken) = taken {
            let message = format!("severity {taken} has a chain already");
            problems.push(section.problem("E007", message, value_span(&section, keys::SEVERITIES.name)));
        }
        let channels = channels(&section, problems);
        let repeats = section.integer(&keys::REPEAT, 0..REPEATS_MAX + 1, problems).unwrap_or(u64::from(REPEATS));
        let repeat_after_ms = wait(&section, &keys::REPEAT_AFTER, REPEAT_AFTER_MS, problems);
        if is_empty(&section, &keys::STEPS) {
            let problem = section.problem("E033", "`steps` calls nobody", value_span(&section, keys::STEPS.name));
            problems.push(problem.help(format!("write: {}", keys::STEPS.example)));
        }
        let steps = section.sections(&keys::STEPS, problems).into_iter();
        let steps: Vec<Step> = steps.filter_map(|step| read_step(&step, people, &channels, problems)).collect();
        if let Some(back) = steps.windows(2).find(|pair| matches!(pair, [a, b] if a.after_ms > b.after_ms)) {
            let after_s = back.first().map_or(0, |step| step.after_ms / 1000);
            let message = format!("a step comes before the one above it, which begins after {after_s} s");
            problems.push(section.problem("E009", message, value_span(&section, keys::STEPS.name)));
        }
        let repeats = u32::try_from(repeats).unwrap_or(REPEATS);
        chains.push(OnCall { severities, steps, channels, repeats, repeat_after_ms });
    }
    chains
}

/// A list with nothing in it.
fn is_empty(section: &Section<'_, '_>, key: &crate::policy::document::Key) -> bool {
    section.value(key.name).is_some_and(|value| value.get_ref().as_array().is_some_and(|all| all.is_empty()))
}

fn channels(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<Channel> {
    let usual = || vec![Channel::Sms, Channel::Mail];
    if !section.has(keys::CHANNELS.name) {
        return usual();
    }
    let channels = people::channels(section, problems);
    let is_loud = |c: &Channel| !matches!(c, Channel::Portal | Channel::Acd);
    if let Some(quiet) = channels.iter().find(|c| !is_loud(c)) {
        let message = format!("`{}` calls nobody", quiet.as_str());
        let problem = section.problem("E006", message, value_span(section, keys::CHANNELS.name));
        problems.push(problem.help("write: channels = [\"sms\", \"mail\"]"));
    }
    channels
}

fn wait(section: &Section<'_, '_>, key: &crate::policy::document::Key, usual: i64, problems: &mut Vec<Problem>) -> i64 {
    let ms = duration(section, key, problems).unwrap_or(usual);
    if !(0..=AFTER_MS_MAX).contains(&ms) {
        let message = format!("`{}` is at most 24h", key.name);
        problems.push(section.problem("E009", message, value_span(section, key.name)));
    }
    ms
}

fn read_step(
    section: &Section<'_, '_>,
    people: &People,
    channels: &[Channel],
    problems: &mut Vec<Problem>,
) -> Option<Step> {
    let section = section.clone().keyed(keys::STEP_KEYS).named("this step");
    section.check_keys(problems);
    if section.lacks(&keys::TO) {
        problems.push(section.missing(&keys::TO));
    }
    if is_empty(&section, &keys::TO) {
        let problem =
            section.problem("E033", "this step calls nobody: `to` is empty", value_span(&section, keys::TO.name));
        problems.push(problem.help(format!("write contacts and rosters: {}", keys::TO.example)));
    }
    let after_ms = wait(&section, &keys::AFTER, 0, problems);
    let each_ms = wait(&section, &keys::EACH, EACH_MS, problems);
    let to = people::named_people(&section, people, channels, problems)?;
    Some(Step { to, after_ms, each_ms })
}

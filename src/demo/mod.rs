//! `ringfence demo`: an hour of an office's calls in a quarter of a minute, and three attacks among them.
//!
//! The service is the real one, reached over TCP by a gateway of the demo's own that asks for a verdict on every call
//! and obeys it. Times are those of the hour that has just passed, so that nothing is taken for a clock gone wrong.

mod gateway;
mod incident;
mod script;
mod site;
mod story;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::clock::Clock;
use crate::event::{Kind, Status};
use crate::simulate::call::Call;
use crate::simulate::{Moments, Records, Traffic};
use gateway::Gateway;
use script::{ACTS, BY_HAND, LENGTH_MS, OFFICE_CLOSES_MS};
use site::Site;
use story::Story;

/// What the hour takes to play.
const PLAY: Duration = Duration::from_secs(15);

/// Watch an office's calls, and three attacks on it being found and stopped
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Starts the service with a small enforced rule set on free ports of this machine, plays an hour of calls at it over
TCP in a quarter of a minute, and tells what happens. Afterwards it keeps running, for you to look around, until
Ctrl-C; nothing is left behind.

Exit codes with --once: 0 all three attacks were found and no emergency call was blocked; 1 not so; 2 it could not run.")]
pub struct Args {
    /// End after the hour instead of keeping the service running
    #[arg(long)]
    pub once: bool,
    /// Other calls: the same seed gives the same hour
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Plays the demo on standard output.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // The last event is not later than now.
    let start_ms = site::whole_minute(Clock.now()) - LENGTH_MS;
    let site = Site::start(start_ms)?;
    let mut story = Story::new(&mut out, colour, start_ms);
    introduce(&site, &mut story);
    let found_all = play(&site, &mut story, start_ms, args.seed, PLAY)?;
    incident::tell(&site, &mut story)?;
    if args.once {
        if !found_all {
            story.say("\nnot everything was found as it should have been");
        }
        return Ok(if found_all { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    show_around(&site, &mut story);
    site.wait_for_signal()?;
    Ok(ExitCode::SUCCESS)
}

fn introduce(site: &Site, story: &mut Story<'_>) {
    let speed = LENGTH_MS as f64 / PLAY.as_millis() as f64;
    story.heading(&format!("An hour at the office, {speed:.0} times as fast. Three attacks are coming."));
    story.say(&format!(
        "The service listens on {} with {} rules, all enforced ({}).",
        site.feed,
        site.n_rules,
        site.rules().display()
    ));
    story.say("A border controller asks it about every call before it rings, and does as it is told.");
    story.say("");
}

/// Plays the hour in so much time, or more where the machine is slow. Says whether every attack was found and 112
/// always passed.
fn play(site: &Site, story: &mut Story<'_>, start_ms: i64, seed: u64, time: Duration) -> Result<bool> {
    let mut traffic = Traffic::new(&script::plan(start_ms, seed)?)?;
    traffic.names.attacks.extend(BY_HAND.map(str::to_owned));
    let mut gateway = Gateway::connect(site.feed, traffic.names.clone())?;
    let mut moments = Moments::new(traffic, Records::Events);
    for call in script::nuisances(start_ms) {
        moments.add(call);
    }
    let began = Clock.monotonic();
    let (mut events, mut now_ms) = (0, start_ms);
    let mut blocked: HashSet<(Option<u16>, u64)> = HashSet::new();
    let mut helped = false;
    while let Some(moment) = moments.next() {
        let at_ms = moment.call.time_of(moment.kind);
        // Calls that outlast the hour are still up when it ends.
        if at_ms >= start_ms + LENGTH_MS {
            break;
        }
        let due = began + time.mul_f64((at_ms - start_ms) as f64 / LENGTH_MS as f64);
        std::thread::sleep(due.saturating_duration_since(Clock.monotonic()));
        story.pass(at_ms, start_ms + OFFICE_CLOSES_MS, now_ms);
        now_ms = at_ms;
        let key = (moment.call.attack, moment.call.number);
        if blocked.contains(&key) {
            continue;
        }
        let verdict = gateway.ask(&moment.call, moment.kind)?;
        events += 1;
        let turned_away = moment.kind == Kind::Attempt && verdict.action != "allow";
        if turned_away {
            blocked.insert(key);
            gateway.ask(&refused(&moment.call), Kind::End)?;
            events += 1;
        }
        let found = site.look();
        match moment.kind {
            Kind::Attempt => story.attempt(&moment.call, &found, &verdict),
            _ => story.sightings(&found, at_ms),
        }
        let toll_fraud = moment.call.attack.and_then(|a| ACTS.get(usize::from(a))).is_some_and(|a| a.name == "irsf");
        if turned_away && toll_fraud && !helped {
            helped = true;
            script::emergency(&moment.call).into_iter().for_each(|call| moments.add(call));
        }
    }
    story.pass(start_ms + LENGTH_MS, start_ms + OFFICE_CLOSES_MS, now_ms);
    Ok(story.ending(events, (Clock.monotonic() - began).as_secs_f64()))
}

/// How a border controller ends a call that it did not let through.
fn refused(call: &Call) -> Call {
    let mut refused = Call { ring_ms: 0, setup_ms: 0, ..*call };
    refused.come_out(Status::Rejected);
    refused
}

fn show_around(site: &Site, story: &mut Story<'_>) {
    story.say("");
    story.heading("The service keeps running. Look around; Ctrl-C ends it.");
    if let Some(metrics) = site.metrics {
        story.say(&format!("  metrics     curl -s http://{metrics}/metrics | grep ringfence_violations"));
    }
    story.say(&format!("  violations  cat {}", site.violations().display()));
    story.say(&format!("  notices     cat {}", site.notices().display()));
    story.say(&format!("  rules       ringfence check {}", site.rules().display()));
    story.say(&format!(
        "  more calls  ringfence simulate --start=-1h --attack tdos --kind events | ringfence send --to {} --reply verdict -",
        site.feed
    ));
}

#[cfg(test)]
mod tests;

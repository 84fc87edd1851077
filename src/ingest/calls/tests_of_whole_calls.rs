//! Well-formed calls, each known beforehand, as they may be seen: among others, several times, and out of order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::property::{Draft, Step, packets};
use super::recovery_property::a_crash_changes_nothing;
use super::*;
use crate::event::{HangupBy, Status};
use crate::ingest::Format;
use crate::ingest::property::{batches, said};

/// Where a call is captured: on the caller's side of a proxy, behind it, on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Caller,
    Callee,
    Both,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Answered { talk_ms: i64, by_callee: bool },
    Refused { code: &'static str, status: Status, by: HangupBy },
    Cancelled,
}

/// A call, as it really was.
#[derive(Clone, Debug)]
struct Plan {
    start_ms: i64,
    view: View,
    /// Ends one attempt with a 302 before it is made anew.
    is_redirected: bool,
    /// What its first tries are answered with.
    challenges: Vec<&'static str>,
    /// Callees that the proxy tries at once.
    n_forks: usize,
    rings_after_ms: Option<i64>,
    decided_after_ms: i64,
    outcome: Outcome,
}

fn plans() -> impl Strategy<Value = Plan> {
    let outcome = prop_oneof![
        3 => (0i64..20_000, any::<bool>())
            .prop_map(|(talk_ms, by_callee)| Outcome::Answered { talk_ms, by_callee }),
        3 => prop_oneof![
            Just(("486", Status::Busy, HangupBy::Callee)),
            Just(("603", Status::Rejected, HangupBy::Callee)),
            Just(("480", Status::NoAnswer, HangupBy::Network)),
            Just(("404", Status::Failed, HangupBy::Network)),
        ]
        .prop_map(|(code, status, by)| Outcome::Refused { code, status, by }),
        1 => Just(Outcome::Cancelled),
    ];
    (
        0i64..30_000,
        prop_oneof![Just(View::Caller), Just(View::Callee), Just(View::Both)],
        prop::bool::weighted(0.2),
        prop::collection::vec(prop_oneof![Just("401"), Just("407"), Just("422")], 0..3),
        1usize..4,
        prop::option::of(1i64..900),
        prop_oneof![1 => 1i64..60, 1 => 1000i64..20_000],
        outcome,
    )
        .prop_map(|(start_ms, view, is_redirected, challenges, n_forks, rings, decided_after_ms, outcome)| Plan {
            start_ms,
            view,
            is_redirected: is_redirected && view != View::Callee,
            challenges,
            n_forks,
            rings_after_ms: rings.filter(|rings| *rings < decided_after_ms),
            decided_after_ms,
            outcome,
        })
}

/// Of the callees.
const TAGS: [&str; 3] = ["one", "two", "three"];

/// What is seen of a call, and what is to be told of it.
struct Flow {
    plan: Plan,
    drafts: Vec<Draft>,
    told: Vec<String>,
    now: i64,
    cseq: u32,
    attempt: i64,
    rang: Option<i64>,
}

fn told_line(time: i64, kind: Kind, status: Status, code: u16, times: [Option<i64>; 3], by: HangupBy) -> String {
    let (kind, status, by) = (kind.as_str(), status.as_str(), by.as_str());
    format!("{time} {kind} {status} {code} setup, ring, duration={times:?} by {by}")
}

fn line(told: &Told<'_>) -> String {
    let event = &told.event;
    let ms = |ms: u32| (ms != CallEvent::NO_TIME).then_some(i64::from(ms));
    let times = [ms(event.setup_ms), ms(event.ring_ms), ms(event.duration_ms)];
    told_line(event.time.0, event.kind, event.status, event.sip_code, times, event.hangup_by)
}

impl Flow {
    fn new(plan: &Plan, call_id: &str) -> Flow {
        let (plan, told, drafts) = (plan.clone(), Vec::new(), Vec::new());
        let mut flow = Flow { now: plan.start_ms, plan, drafts, told, cseq: 1, attempt: 0, rang: None };
        flow.begin();
        flow.tries();
        flow.goes_on();
        flow.drafts.iter_mut().for_each(|draft| draft.call_id = call_id.into());
        flow
    }

    fn tell(&mut self, kind: Kind, status: Status, code: u16, duration_ms: Option<i64>, until: i64, by: HangupBy) {
        let rang = self.rang.filter(|_| kind != Kind::Attempt);
        let times = [rang.map(|rang| rang - self.attempt), rang.map(|rang| until - rang), duration_ms];
        self.told.push(told_line(self.now, kind, status, code, times, by));
    }

    fn first_hop(&self) -> usize {
        if self.plan.view == View::Callee { 2 } else { 1 }
    }

    /// A message of the caller's transaction on a hop, or the answer to it.
    fn see(&mut self, first: &'static str, n_vias: usize, fork: usize) {
        let method = if matches!(first, "CANCEL" | "ACK") { first } else { "INVITE" };
        self.drafts.push(Draft {
            time_ms: self.now,
            call_id: String::new(),
            first,
            method,
            cseq: self.cseq,
            from_tag: "caller",
            to_tag: match first {
                "INVITE" | "CANCEL" | "100" => "",
                _ => TAGS.get(fork).copied().unwrap_or_default(),
            },
            branch: format!("{n_vias}.{}.{fork}", self.cseq),
            n_vias,
            has_credentials: first == "INVITE" && self.cseq > 1,
        });
    }

    /// In few words, for whoever looks into a failure.
    fn seen(&self) -> Vec<String> {
        let show = |d: &Draft| {
            let Draft { time_ms, first, method, cseq, from_tag, to_tag, branch, n_vias, .. } = d;
            format!("{time_ms} {first} {method} cseq={cseq} ft={from_tag} tt={to_tag} br={branch} vias={n_vias}")
        };
        self.drafts.iter().map(show).collect()
    }

    fn begin(&mut self) {
        self.attempt = self.now;
        self.tell(Kind::Attempt, Status::Unknown, 0, None, 0, HangupBy::Unknown);
    }

    fn tries(&mut self) {
        let hop = self.first_hop();
        let redirects = self.plan.is_redirected.then_some("302");
        for code in redirects.into_iter().chain(self.plan.challenges.clone()) {
            self.see("INVITE", hop, 0);
            self.now += 3;
            self.see("100", hop, 0);
            self.now += 10;
            self.see(code, hop, 0);
            if code == "302" {
                self.tell(Kind::End, Status::Unknown, 302, Some(0), 0, HangupBy::Network);
            }
            self.now += 1;
            self.see("ACK", hop, 0);
            self.now += 20;
            self.cseq += 1;
            if code == "302" {
                self.begin();
            }
        }
    }

    /// Every hop that is seen, from the caller on or towards it, a millisecond each; behind the proxy for all `forks`.
    fn pass(&mut self, first: &'static str, is_towards_caller: bool, forks: std::ops::Range<usize>) {
        let mut hops = vec![1, 2];
        hops.retain(|hop| self.plan.view == View::Both || *hop == self.first_hop());
        if is_towards_caller {
            hops.reverse();
        }
        for (at, hop) in hops.into_iter().enumerate() {
            self.now += i64::from(at > 0);
            match hop {
                1 => {
                    self.see(first, 1, 0);
                    // It has the tag of the callee that was passed on.
                    let tag = TAGS.get(forks.end - 1).copied().unwrap_or_default();
                    self.drafts.iter_mut().rev().take(1).filter(|d| !d.to_tag.is_empty()).for_each(|d| d.to_tag = tag);
                }
                _ => forks.clone().for_each(|fork| self.see(first, 2, fork)),
            }
        }
    }

    fn goes_on(&mut self) {
        let forks = if self.plan.view == View::Caller { 1 } else { self.plan.n_forks };
        let invited = self.now;
        self.pass("INVITE", false, 0..forks);
        if let Some(after_ms) = self.plan.rings_after_ms {
            self.now = self.now.max(invited + after_ms);
            self.rang = Some(self.now);
            self.pass("180", true, 0..1);
        }
        self.now = self.now.max(invited + self.plan.decided_after_ms);
        match self.plan.outcome {
            Outcome::Answered { talk_ms, by_callee } => self.answered(forks, talk_ms, by_callee),
            Outcome::Refused { code, status, by } => {
                let number = code.parse().unwrap();
                self.fail("580", forks);
                self.now += 2;
                self.pass(code, true, forks - 1..forks);
                self.tell(Kind::End, status, number, Some(0), self.now, by);
            }
            Outcome::Cancelled => {
                self.pass("CANCEL", false, 0..forks);
                self.now += 5;
                self.fail("487", forks);
                self.pass("487", true, forks - 1..forks);
                self.tell(Kind::End, Status::Cancelled, 487, Some(0), self.now, HangupBy::Caller);
            }
        }
        self.pass("ACK", false, forks - 1..forks);
    }

    /// All branches but the last.
    fn fail(&mut self, code: &'static str, forks: usize) {
        if self.plan.view != View::Caller {
            (0..forks - 1).for_each(|fork| self.see(code, 2, fork));
        }
    }

    fn answered(&mut self, forks: usize, talk_ms: i64, by_callee: bool) {
        if talk_ms % 2 == 0 {
            self.fail("486", forks);
        }
        let answered = self.now;
        self.tell(Kind::Answer, Status::Answered, 200, None, answered, HangupBy::Unknown);
        self.pass("200", true, forks - 1..forks);
        if talk_ms % 2 == 1 {
            self.fail("487", forks);
        }
        self.pass("ACK", false, forks - 1..forks);
        self.now = self.now.max(answered + talk_ms);
        let by = if by_callee { HangupBy::Callee } else { HangupBy::Caller };
        let ended = self.now;
        self.tell(Kind::End, Status::Answered, 200, Some(ended - answered), answered, by);
        let before = self.drafts.len();
        self.cseq += 1;
        self.pass("ACK", by_callee, forks - 1..forks);
        for bye in self.drafts.iter_mut().skip(before) {
            (bye.first, bye.method) = ("BYE", "BYE");
            if by_callee {
                (bye.from_tag, bye.to_tag, bye.cseq, bye.n_vias) = (bye.to_tag, "caller", 7000, 3 - bye.n_vias);
            }
        }
        self.cseq -= 1;
    }

    /// Sends some messages again, or lets them be seen once more behind another proxy, up to a few messages later.
    fn repeat(&mut self, picks: &[u8]) {
        let mut picks = picks.iter().copied().cycle();
        let mut repeated: Vec<Draft> = Vec::new();
        let mut later: Vec<(u8, Draft)> = Vec::new();
        for draft in std::mem::take(&mut self.drafts) {
            let now = draft.time_ms;
            let pick = picks.next().unwrap_or_default();
            if pick & 3 == 0 {
                let mut again = draft.clone();
                if pick & 4 != 0 {
                    (again.n_vias, again.branch) = (again.n_vias + 1, format!("{} elsewhere", again.branch));
                }
                later.push((pick >> 3 & 3, again));
            }
            repeated.push(draft);
            for (wait, again) in &mut later {
                if *wait == 0 {
                    again.time_ms = now + 1;
                    repeated.push(again.clone());
                }
                *wait = wait.wrapping_sub(1);
            }
            later.retain(|(wait, _)| *wait < u8::MAX);
        }
        self.drafts = repeated;
    }
}

fn flows(plans: &[Plan]) -> Vec<Flow> {
    plans.iter().enumerate().map(|(at, plan)| Flow::new(plan, &format!("{at}@model"))).collect()
}

/// Shows all messages, each call's in its order and the calls in that of `picks`, and settles what no message to come can
/// change. Gives what was told of each call.
fn told(flows: &[Flow], picks: &[u8]) -> HashMap<String, Vec<String>> {
    let (table, mut told) = (CallTable::new(1), HashMap::<_, Vec<String>>::new());
    let mut hear = |event: Told<'_>| {
        told.entry(String::from_utf8(event.call_id.to_vec()).unwrap()).or_default().push(line(&event));
    };
    let mut rest: Vec<&[Draft]> = flows.iter().map(|flow| &flow.drafts[..]).collect();
    for pick in picks.iter().cycle() {
        rest.retain(|drafts| !drafts.is_empty());
        let Some(watermark) = rest.iter().map(|drafts| drafts[0].time_ms).min() else { break };
        table.settle(Timestamp(watermark), &mut Changes::default(), &mut hear);
        let at = usize::from(*pick) % rest.len();
        let (draft, after) = rest[at].split_first().unwrap();
        draft.show(&table, b"", &mut hear);
        rest[at] = after;
    }
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), &mut hear);
    told
}

fn kinds(lines: &[String]) -> [usize; 3] {
    ["attempt", "answer", "end"].map(|kind| lines.iter().filter(|l| l.split(' ').nth(1) == Some(kind)).count())
}

proptest! {
    #[test]
    fn a_call_is_told_as_it_was_among_others_and_however_often_it_is_seen(
        plans in prop::collection::vec(plans(), 1..6),
        picks in prop::collection::vec(any::<u8>(), 1..100),
        repeats in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut flows = flows(&plans);
        let once = told(&flows, &[0]);
        flows.iter_mut().for_each(|flow| flow.repeat(&repeats));
        let often = told(&flows, &picks);
        for (at, flow) in flows.iter().enumerate() {
            prop_assert_eq!(once.get(&format!("{at}@model")), Some(&flow.told), "once, {:#?}", flow.seen());
            prop_assert_eq!(often.get(&format!("{at}@model")), Some(&flow.told), "often, {:#?}", flow.seen());
        }
        prop_assert_eq!(often.len(), flows.len());
    }

    #[test]
    fn messages_that_overtake_each_other_make_no_second_call_and_lose_none(
        plan in plans().prop_filter("a call of its own", |plan| !plan.is_redirected),
        swaps in prop::collection::vec(any::<bool>(), 1..40),
        repeats in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut flow = Flow::new(&plan, "0@model");
        flow.repeat(&repeats);
        let (mut at, mut swaps) = (0, swaps.iter().cycle());
        while at + 1 < flow.drafts.len() {
            let apart_ms = flow.drafts[at + 1].time_ms - flow.drafts[at].time_ms;
            if *swaps.next().unwrap() && apart_ms <= 50 {
                flow.drafts.swap(at, at + 1);
                at += 1;
            }
            at += 1;
        }
        let (table, mut lines, mut newest) = (CallTable::new(1), Vec::new(), i64::MIN);
        for draft in &flow.drafts {
            newest = newest.max(draft.time_ms);
            table.settle(Timestamp(newest), &mut Changes::default(), |told| lines.push(line(&told)));
            draft.show(&table, b"", |told| lines.push(line(&told)));
        }
        table.settle(Timestamp(i64::MAX), &mut Changes::default(), |told| lines.push(line(&told)));
        prop_assert_eq!(kinds(&lines), kinds(&flow.told), "{:#?}\n{:#?}", lines, flow.seen());
    }

    #[test]
    fn calls_are_told_and_remembered_as_if_there_had_been_no_crash(
        plans in prop::collection::vec(plans(), 1..8),
        picks in prop::collection::vec(any::<u8>(), 4..60),
        repeats in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut flows = flows(&plans);
        flows.iter_mut().for_each(|flow| flow.repeat(&repeats));
        let mut drafts: Vec<Draft> = flows.into_iter().flat_map(|flow| flow.drafts).collect();
        drafts.sort_by_key(|draft| draft.time_ms);
        let steps = drafts.into_iter().flat_map(|draft| [Step::Settle(draft.time_ms), Step::See(draft, false)]);
        a_crash_changes_nothing(&steps.collect::<Vec<_>>(), &picks, None);
    }

    #[test]
    fn a_stream_of_calls_is_the_same_however_it_is_cut(
        plans in prop::collection::vec(plans(), 1..6),
        reads in prop::collection::vec(1usize..2000, 1..20),
    ) {
        let mut drafts: Vec<Draft> = flows(&plans).into_iter().flat_map(|flow| flow.drafts).collect();
        drafts.sort_by_key(|draft| draft.time_ms);
        let stream = packets(&drafts);
        prop_assert_eq!(said(&batches(&Format::Hep, &stream, &reads)), said(&batches(&Format::Hep, &stream, &[])));
    }
}

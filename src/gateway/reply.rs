//! The lines a gateway gets back, spec 1.3. Verdict lines of judged events are the engine's own.

use serde_json::json;

use crate::event::{Batch, Flags, Rejected};
use crate::policy::Action;

/// What a gateway wants to hear, from its hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    None,
    /// `{"ack":N}` when events are in the journal.
    Ack,
    /// One line an event, and acknowledgements between.
    Verdict,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Option<Mode> {
        match text {
            "none" => Some(Mode::None),
            "ack" => Some(Mode::Ack),
            "verdict" => Some(Mode::Verdict),
            _ => None,
        }
    }
}

/// `durable`: what will be acknowledged survives a loss of power.
pub(super) fn welcome(out: &mut Vec<u8>, gateway: &str, last_seq: u64, durable: bool) {
    line(out, &json!({ "welcome": { "gateway": gateway, "last_seq": last_seq, "durable": durable } }).to_string());
}

pub(super) fn ack(out: &mut Vec<u8>, seq: u64) {
    line(out, &format!("{{\"ack\":{seq}}}"));
}

/// `seq` 0 is none.
pub(super) fn reject(out: &mut Vec<u8>, seq: u64, reason: &str) {
    match seq {
        0 => line(out, &format!("{{\"reject\":{{\"seq\":null,\"reason\":\"{reason}\"}}}}")),
        _ => line(out, &format!("{{\"reject\":{{\"seq\":{seq},\"reason\":\"{reason}\"}}}}")),
    }
}

fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Enough of a batch to answer its events without its verdicts: the batch itself is with the engine.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    events: Vec<Asked>,
    call_ids: Vec<u8>,
    rejects: Vec<Rejected>,
}

#[derive(Debug)]
struct Asked {
    seq: u64,
    call_id_len: usize,
    emergency: bool,
}

impl Overdue {
    pub(super) fn of(batch: &Batch) -> Overdue {
        let mut overdue = Overdue { rejects: batch.rejects.clone(), ..Overdue::default() };
        overdue.events.reserve_exact(batch.events.len());
        for event in &batch.events {
            let call_id = batch.text(event.call_id);
            overdue.call_ids.extend_from_slice(call_id);
            let emergency = event.flags.has(Flags::EMERGENCY);
            overdue.events.push(Asked { seq: event.seq, call_id_len: call_id.len(), emergency });
        }
        overdue
    }

    pub(super) fn n_events(&self) -> u64 {
        self.events.len() as u64
    }

    /// One line an event, the default action for all but emergency calls, which are always allowed.
    pub(super) fn lines(&self, out: &mut Vec<u8>, default_action: Action) {
        let mut rejects = self.rejects.iter().peekable();
        let mut call_ids = self.call_ids.as_slice();
        for (index, asked) in self.events.iter().enumerate() {
            while let Some(r) = rejects.next_if(|r| r.before as usize <= index) {
                reject(out, r.seq, r.reason.as_str());
            }
            let (call_id, rest) = call_ids.split_at_checked(asked.call_id_len).unwrap_or((&[], &[]));
            call_ids = rest;
            asked.line(out, call_id, default_action);
        }
        rejects.for_each(|r| reject(out, r.seq, r.reason.as_str()));
    }
}

impl Asked {
    fn line(&self, out: &mut Vec<u8>, call_id: &[u8], default_action: Action) {
        let seq = if self.seq == 0 { "null".to_owned() } else { self.seq.to_string() };
        let call_id = match call_id {
            [] => "null".to_owned(),
            _ => json!(String::from_utf8_lossy(call_id)).to_string(),
        };
        let (action, rule, cause) = match self.emergency {
            true => (Action::Allow, "builtin:emergency", "policy"),
            false => (default_action, "default", "none"),
        };
        let action = action.as_str();
        line(
            out,
            &format!(
                "{{\"seq\":{seq},\"call_id\":{call_id},\"action\":\"{action}\",\"rule\":\"{rule}\",\"cause\":\"{cause}\",\"late\":true}}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CallEvent, Reject};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("replies are text")
    }

    #[test]
    fn replies_are_the_lines_of_the_spec() {
        let welcome = text(|out| welcome(out, "sbc \"east\"", 7, true));
        let value: serde_json::Value = serde_json::from_str(&welcome).expect("valid JSON");
        assert_eq!(value, json!({ "welcome": { "gateway": "sbc \"east\"", "last_seq": 7, "durable": true } }));
        assert_eq!(text(|out| ack(out, 12)), "{\"ack\":12}\n");
        assert_eq!(text(|out| reject(out, 3, "no_time")), "{\"reject\":{\"seq\":3,\"reason\":\"no_time\"}}\n");
        assert_eq!(text(|out| reject(out, 0, "malformed")), "{\"reject\":{\"seq\":null,\"reason\":\"malformed\"}}\n");
    }

    #[test]
    fn an_overdue_emergency_call_is_allowed_whatever_the_default() {
        let mut batch = Batch::default();
        let call_id = batch.keep(b"a\"b");
        let mut emergency = CallEvent { seq: 2, call_id, ..CallEvent::BLANK };
        emergency.flags.set(Flags::EMERGENCY);
        batch.events = vec![CallEvent::BLANK, emergency];
        batch.rejects = vec![Rejected { before: 1, seq: 0, reason: Reject::NoTime }];
        let lines = text(|out| Overdue::of(&batch).lines(out, Action::Block));
        let expected = concat!(
            "{\"seq\":null,\"call_id\":null,\"action\":\"block\",\"rule\":\"default\",\"cause\":\"none\",\"late\":true}\n",
            "{\"reject\":{\"seq\":null,\"reason\":\"no_time\"}}\n",
            "{\"seq\":2,\"call_id\":\"a\\\"b\",\"action\":\"allow\",\"rule\":\"builtin:emergency\",\"cause\":\"policy\",\"late\":true}\n",
        );
        assert_eq!(lines, expected);
    }
}

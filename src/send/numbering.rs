//! The running number of each event, written into its line: `{` becomes `{"seq":N,`.

use memchr::{memchr, memmem};

/// Numbers lines. The number is kept as text and counted up in place, which is what makes this as fast as copying.
#[derive(Clone, Debug)]
pub(super) struct Numbering {
    next: u64,
    /// `{"seq":` and the digits of `next` and `,`.
    head: Vec<u8>,
}

/// What numbering a block gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Lines written that a server answers or counts.
    pub events: u64,
    /// Lines left out because the server already holds them.
    pub skipped: u64,
    /// The largest number among the lines written; 0: none had one.
    pub last_seq: u64,
}

const HEAD: &[u8] = b"{\"seq\":";

impl Numbering {
    /// The first line gets this number.
    pub(super) fn starting_at(next: u64) -> Numbering {
        let mut numbering = Numbering { next, head: Vec::new() };
        numbering.write_head();
        numbering
    }

    fn write_head(&mut self) {
        self.head.clear();
        self.head.extend_from_slice(HEAD);
        self.head.extend_from_slice(self.next.to_string().as_bytes());
        self.head.push(b',');
    }

    fn step(&mut self) {
        self.next = self.next.wrapping_add(1);
        let mut at = self.head.len().saturating_sub(2);
        loop {
            match self.head.get_mut(at) {
                Some(digit @ b'0'..=b'8') => {
                    *digit += 1;
                    return;
                }
                Some(digit @ b'9') => *digit = b'0',
                // One more digit than before: rare, so written anew.
                _ => return self.write_head(),
            }
            at -= 1;
        }
    }

    /// Appends the lines of a block to `out`, each with its number, leaving out those up to `held`. A line that has
    /// a `seq` of its own keeps it; one that is no object goes as it is, for the server to say so.
    pub(super) fn write(&mut self, block: &[u8], held: u64, out: &mut Vec<u8>) -> Numbered {
        let mut done = Numbered::default();
        // One search a block in the usual case that no line has a number; a value that spells `"seq"` only costs
        // its line a closer look.
        let finder = memmem::Finder::new(b"\"seq\"");
        let mut own = finder.find(block);
        let mut at = 0;
        out.reserve(block.len() + block.len() / 4);
        while let Some(rest) = block.get(at..).filter(|r| !r.is_empty()) {
            let len = memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
            let line = rest.get(..len).unwrap_or(rest);
            let own_seq = match own {
                Some(found) if found < at + len => {
                    own = finder.find(block.get(at + len..).unwrap_or(&[])).map(|n| n + at + len);
                    seq_of(line)
                }
                _ => None,
            };
            at += len;
            match (own_seq, line.first()) {
                (Some(seq), _) => {
                    out.extend_from_slice(line);
                    done.events += 1;
                    done.last_seq = done.last_seq.max(seq);
                }
                (None, Some(b'{')) if has_members(line) => {
                    if self.next <= held {
                        done.skipped += 1;
                    } else {
                        out.extend_from_slice(&self.head);
                        out.extend_from_slice(line.get(1..).unwrap_or(&[]));
                        done.events += 1;
                        done.last_seq = done.last_seq.max(self.next);
                    }
                    self.step();
                }
                _ => {
                    out.extend_from_slice(line);
                    done.events += u64::from(!line.trim_ascii().is_empty());
                }
            }
        }
        done
    }
}

/// An empty object cannot take a member and a comma; the server refuses it as it is.
fn has_members(line: &[u8]) -> bool {
    match line.get(1) {
        Some(b'"') => true,
        _ => !line.get(1..).unwrap_or(&[]).trim_ascii_start().starts_with(b"}"),
    }
}

/// The line's own `seq`, where it has one at its top level.
pub(super) fn seq_of(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Seq {
        seq: Option<u64>,
    }
    serde_json::from_slice::<Seq>(line).ok()?.seq
}

/// Lines of a block that a server answers.
pub(super) fn count_events(block: &[u8]) -> u64 {
    let newlines = memchr::memchr_iter(b'\n', block).count() as u64;
    // Empty lines are rare; look for them only where two line ends meet.
    if !block.starts_with(b"\n")
        && !block.starts_with(b"\r\n")
        && memmem::find(block, b"\n\n").is_none()
        && memmem::find(block, b"\n\r\n").is_none()
    {
        return newlines;
    }
    block.split_inclusive(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(from: u64, held: u64, block: &str) -> (String, Numbered) {
        let mut out = Vec::new();
        let done = Numbering::starting_at(from).write(block.as_bytes(), held, &mut out);
        (String::from_utf8(out).expect("text"), done)
    }

    #[test]
    fn lines_get_running_numbers_over_every_carry() {
        for from in [1, 8, 98, 9_999_998, u64::MAX - 9] {
            let (out, done) = number(from, 0, &"{\"a\":1}\n".repeat(5));
            let expected: String = (from..from + 5).map(|n| format!("{{\"seq\":{n},\"a\":1}}\n")).collect();
            assert_eq!(out, expected);
            assert_eq!(done, Numbered { events: 5, skipped: 0, last_seq: from + 4 });
        }
    }

    #[test]
    fn a_line_with_its_own_number_keeps_it() {
        let (out, done) = number(1, 0, "{\"a\":1}\n{\"seq\":70,\"a\":1}\n{\"call_id\":\"x\",\"seq\": 71}\n{\"a\":2}\n");
        assert_eq!(
            out,
            "{\"seq\":1,\"a\":1}\n{\"seq\":70,\"a\":1}\n{\"call_id\":\"x\",\"seq\": 71}\n{\"seq\":2,\"a\":2}\n"
        );
        assert_eq!(done.last_seq, 71);
    }

    #[test]
    fn the_word_seq_elsewhere_in_a_line_is_no_number() {
        let (out, _) = number(1, 0, "{\"call_id\":\"seq\",\"x\":{\"seq\":5}}\n");
        assert_eq!(out, "{\"seq\":1,\"call_id\":\"seq\",\"x\":{\"seq\":5}}\n");
    }

    #[test]
    fn what_the_server_holds_is_left_out() {
        let (out, done) = number(1, 2, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(out, "{\"seq\":3,\"a\":3}\n");
        assert_eq!(done, Numbered { events: 1, skipped: 2, last_seq: 3 });
    }

    #[test]
    fn what_is_no_object_goes_as_it_is() {
        let (out, done) = number(1, 0, "\nnoise\n[1]\n{ }\n{\"a\":1}");
        assert_eq!(out, "\nnoise\n[1]\n{ }\n{\"seq\":1,\"a\":1}");
        assert_eq!(done.events, 4);
    }

    #[test]
    fn events_are_counted_without_empty_lines() {
        assert_eq!(count_events(b"a\nb\n"), 2);
        assert_eq!(count_events(b"\na\n\r\nb\n\n"), 2);
    }
}

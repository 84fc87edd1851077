//! The Via header: over what and from where a message came.

use nom::bytes::complete::{tag_no_case, take_while, take_while1};
use nom::character::complete::{char, multispace0};
use nom::sequence::delimited;
use nom::{IResult, Parser};

use super::uri::split_host;
use super::value::{leading_port, separated};

/// One Via entry. Empty where there is none, or nothing to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` ..., as written.
    pub transport: &'a [u8],
    /// As written: IPv6 in its brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
    pub branch: &'a [u8],
    /// Where the next hop saw it come from; IPv6 with or without brackets. Empty where it does not say.
    pub received: &'a [u8],
    pub rport: Option<u16>,
}

impl<'a> Via<'a> {
    /// Of one entry. What does not read as `SIP/2.0/transport host` leaves it empty.
    pub(super) fn parse(entry: &'a [u8]) -> Via<'a> {
        let Ok((sent_by, transport)) = protocol(entry) else { return Via::default() };
        let sent_by = sent_by.trim_ascii_start();
        let (host, rest) = split_host(sent_by);
        let rest = rest.trim_ascii_start();
        let port = rest.strip_prefix(b":").and_then(|port| leading_port(port.trim_ascii_start()));
        let params = memchr::memchr(b';', rest).and_then(|at| rest.get(at..)).unwrap_or_default();
        let mut via = Via { transport, host, port, ..Via::default() };
        for (name, value) in separated(params, b';') {
            match name.len() {
                6 if name.eq_ignore_ascii_case(b"branch") && via.branch.is_empty() => via.branch = value,
                8 if name.eq_ignore_ascii_case(b"received") && via.received.is_empty() => via.received = value,
                5 if name.eq_ignore_ascii_case(b"rport") && via.rport.is_none() => via.rport = leading_port(value),
                _ => {}
            }
        }
        via
    }
}

/// `SIP / 2.0 / UDP`, white space anywhere between; gives the transport.
fn protocol(text: &[u8]) -> IResult<&[u8], &[u8]> {
    let slash = || delimited(multispace0, char('/'), multispace0);
    let token = |b: u8| !matches!(b, b'/' | b';' | b',') && !b.is_ascii_whitespace();
    let (rest, _) = (tag_no_case("sip"), slash(), take_while(token), slash()).parse(text)?;
    take_while1(token).parse(rest)
}

#!/usr/bin/env python3
"""Calls as a capture agent sees them: INVITE, 200 and BYE in HEP 3 packets, interleaved, the same for the same arguments.

    hep_calls.py CALLS > calls.hep           # 20,000 calls are up at a time
    hep_calls.py CALLS --up > calls.hep      # no call ends
    hep_calls.py --send HOST:PORT RATE < calls.hep    # as datagrams, so many a second
"""

import collections
import random
import socket
import struct
import sys
import time

UP = 20_000
RINGING = 500
START_MS = 1_782_864_000_000
CALLS_PER_MS = 10
SBC = (10, 9, 9, 9)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n"
    "m=audio 16384 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\n"
)


def chunk(kind, content):
    return struct.pack(">HHH", 0, kind, len(content) + 6) + content


def packet(ms, source, destination, payload):
    chunks = b"".join(
        (
            chunk(1, b"\x02"),
            chunk(2, b"\x11"),
            chunk(3, bytes(source)),
            chunk(4, bytes(destination)),
            chunk(7, struct.pack(">H", 5060)),
            chunk(8, struct.pack(">H", 5060)),
            chunk(9, struct.pack(">I", ms // 1000)),
            chunk(10, struct.pack(">I", ms % 1000 * 1000)),
            chunk(11, b"\x01"),
            chunk(12, struct.pack(">I", 2001)),
            chunk(15, payload.encode()),
        )
    )
    return b"HEP3" + struct.pack(">H", len(chunks) + 6) + chunks


def messages(i, chance):
    """INVITE (about 600 bytes), 200 and BYE of call `i`, and the address of its caller."""
    address = (10, 1, i % 200, i % 250)
    host = ".".join(map(str, address))
    caller, callee = f"+4670{chance.randrange(400_000):07d}", f"+4684{chance.randrange(1_000_000):07d}"
    via = f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{i:010x};rport\r\n"
    who = f'From: "Anna {i % 97}" <sip:{caller}@pbx{i % 50}.example.net>;tag=f{i:x}\r\nTo: <sip:{callee}@sbc.example.net>'
    call_id = f"Call-ID: {i:08x}-7f3a-4b2c@{host}\r\n"
    body = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
    invite = (
        f"INVITE sip:{callee}@sbc.example.net:5060;user=phone SIP/2.0\r\n{via}Max-Forwards: 70\r\n{who}\r\n{call_id}"
        f"CSeq: 1 INVITE\r\nContact: <sip:{caller}@{host}:5060>\r\nUser-Agent: Example PBX 18.2.1\r\n"
        f"P-Asserted-Identity: <sip:{caller}@pbx.example.net>\r\nAllow: INVITE, ACK, CANCEL, BYE\r\n{body}"
    )
    ok = (
        f"SIP/2.0 200 OK\r\n{via}{who};tag=t{i:x}\r\n{call_id}CSeq: 1 INVITE\r\n"
        f"Contact: <sip:{callee}@10.9.9.9:5060>\r\nServer: Example SBC 4.1\r\n{body}"
    )
    bye = (
        f"BYE sip:{callee}@10.9.9.9:5060 SIP/2.0\r\n{via}Max-Forwards: 70\r\n{who};tag=t{i:x}\r\n{call_id}"
        "CSeq: 2 BYE\r\nReason: Q.850;cause=16\r\nContent-Length: 0\r\n\r\n"
    )
    return address, invite, ok, bye


def write(n_calls, stay_up):
    out, chance = sys.stdout.buffer, random.Random(1)
    ringing, up = collections.deque(), collections.deque()

    def answer(ms):
        address, ok, bye = ringing.popleft()
        out.write(packet(ms, SBC, address, ok))
        up.append((address, bye))

    def hang_up(ms):
        address, bye = up.popleft()
        out.write(packet(ms, address, SBC, bye))

    for i in range(n_calls):
        ms = START_MS + i // CALLS_PER_MS
        address, invite, ok, bye = messages(i, chance)
        out.write(packet(ms, address, SBC, invite))
        ringing.append((address, ok, bye))
        if len(ringing) > RINGING:
            answer(ms)
        if len(up) > UP and not stay_up:
            hang_up(ms)
    while ringing:
        answer(ms)
    while up and not stay_up:
        hang_up(ms)


def send(to, rate):
    stream = sys.stdin.buffer.read()
    packets, at = [], 0
    while at + 6 <= len(stream):
        (length,) = struct.unpack(">H", stream[at + 4 : at + 6])
        packets.append(stream[at : at + length])
        at += length
    host, port = to.rsplit(":", 1)
    gateway = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gateway.connect((host, int(port)))
    began, sent = time.monotonic(), 0
    while sent < len(packets):
        due = min(int((time.monotonic() - began) * rate), len(packets))
        for datagram in packets[sent:due]:
            gateway.send(datagram)
        sent = due
        time.sleep(0.0005)
    print("%d %.3f" % (sent, time.monotonic() - began))


if sys.argv[1] == "--send":
    send(sys.argv[2], float(sys.argv[3]))
else:
    write(int(sys.argv[1]), "--up" in sys.argv[2:])

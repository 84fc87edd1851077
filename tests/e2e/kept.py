"""Reads what a data folder holds, without the program that wrote it: journal, snapshots, store. For comparing two of them.

The formats are described where they are written: src/journal/frame.rs and src/journal/codec, src/snapshot.rs,
src/engine/saved/frames.rs. Nothing here mends or guesses: what cannot be read ends the reading.
"""
import ctypes, ctypes.util, json, sqlite3, struct, zlib

JOURNAL_MAGIC, JOURNAL_HEAD = b"\xffRFJ", 48
OPENING, CONTEXT, BATCH, TICK, CUSTOMER, GATEWAY = range(6)
SNAPSHOT_MAGIC = b"RFSNAP\r\n"
SECTION_CUT, SECTION_ENGINE, SECTION_CALLS, SECTION_END = 1, 2, 3, 255
ACTIONS, RULE_KINDS = ("allow", "block", "divert", "flag"), ("default", "emergency", "firewall", "threshold")


class Bytes:
    """What src/journal/bytes.rs writes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        if self.at > len(self.data):
            raise ValueError("a record ends too soon")
        return self.data[self.at - n:self.at]

    def integer(self):
        data, at = self.data, self.at
        first = data[at]
        if first & 1:
            self.at = at + 1
            return first >> 1
        if first == 0:
            self.at = at + 9
            return int.from_bytes(data[at + 1:at + 9], "little")
        n = (first & -first).bit_length()
        self.at = at + n
        return int.from_bytes(data[at:at + n], "little") >> n

    def signed(self):
        value = self.integer()
        return value >> 1 ^ -(value & 1)

    def texts(self):
        return [self.take(self.integer()).decode() for _ in range(self.integer())]


def frames(data):
    """The frames of a file of the journal: kind, n_events, number, position, payload; up to where it is torn."""
    at = 0
    while data[at:at + 4] == JOURNAL_MAGIC and at + JOURNAL_HEAD <= len(data):
        kind, length, n_events, number, position = struct.unpack_from("<5xB2xIIQQ", data, at)
        payload = data[at + JOURNAL_HEAD:at + JOURNAL_HEAD + length]
        crc, head_crc = struct.unpack_from("<I", data, at + 36)[0], struct.unpack_from("<I", data, at + 44)[0]
        if zlib.crc32(data[at:at + 44]) != head_crc or len(payload) < length or zlib.crc32(payload) != crc:
            return
        yield kind, n_events, number, position, payload
        at += JOURNAL_HEAD + length


def names(folder):
    """Customers and gateways by their numbers."""
    known = {CUSTOMER: ["default"], GATEWAY: ["file"]}
    for kind, _, number, _, payload in frames((folder / "names").read_bytes()):
        table = known[kind]
        table += [None] * (number + 1 - len(table))
        table[number] = payload.decode()
    return known[CUSTOMER], known[GATEWAY]


class Journal:
    """The events of a row of segments by position, each as a tuple of all it says and was told; and its ticks."""

    def __init__(self, folder):
        self.events, self.ticks, self.highest, self.n_records = {}, [], {}, 0
        context, last = None, 0
        for path in sorted(folder.glob("*.seg")):
            for kind, n_events, number, position, payload in frames(path.read_bytes()):
                if kind in (OPENING, CONTEXT):
                    read = Bytes(payload)
                    if kind == OPENING:
                        read.take(24)
                    read.take(read.integer())
                    context = {"feeds": read.texts(), "firewall": read.texts(), "thresholds": read.texts()}
                    continue
                if number != last + 1:
                    raise ValueError(f"{path.name}: record {number} follows {last}")
                last = number
                self.n_records += 1
                if kind == BATCH:
                    self.batch(payload, position, n_events, context)
                elif kind == TICK:
                    self.ticks.append(payload)
        self.last_record = last

    def batch(self, payload, position, n_events, context):
        read = Bytes(payload)
        read.integer()
        arrival, feed, gateway, highest = read.signed(), read.integer(), read.integer(), read.integer()
        n, n_flags, n_tracked, n_heads, n_texts = (read.integer() for _ in range(5))
        if n != n_events:
            raise ValueError("a record's header counts other events than the record")
        if highest:
            self.highest[gateway] = max(highest, self.highest.get(gateway, 0))
        heads, texts = Bytes(read.take(n_heads)), Bytes(read.take(n_texts))
        hits = [{}, {}]
        for of, n_hits in zip(hits, (n_flags, n_tracked)):
            for _ in range(n_hits):
                event, rule = read.integer(), read.integer()
                of.setdefault(event, []).append(context["firewall"][rule])
        time, seq, customer, told = arrival, 0, 0, 0
        for i in range(n):
            word = int.from_bytes(heads.take(8), "little")
            time += heads.signed()
            if word >> 16 & 1:
                seq += heads.signed()
            if word >> 17 & 1:
                customer = heads.integer()
            if word >> 18 & 1:
                gateway = heads.integer()
            said = [heads.integer() if word >> bit & 1 else None for bit in range(19, 25)]
            said.append(heads.signed() if word >> 25 & 1 else None)
            said.append(heads.take(4) if word >> 26 & 1 else heads.take(16) if word >> 27 & 1 else None)
            if word >> 28 & 1:
                told = heads.integer()
            for party in range(4):
                bits = word >> 29 + 4 * party & 15
                if bits:
                    number = heads.integer() if bits & 1 else None
                    form = bits >> 1 & 3
                    raw = texts.take(heads.integer()) if form == 3 else form
                    said.append((number, raw, texts.take(heads.integer()) if bits & 8 else None))
            for bit in range(45, 54):
                if word >> bit & 1:
                    said.append(texts.take(heads.integer()))
            rule = RULE_KINDS[told >> 4 & 3]
            if rule in context:
                rule = context[rule][told >> 6]
            self.events[position + i] = (
                context["feeds"][feed], time, seq if word >> 16 & 1 else 0, customer, gateway, word & 0xffff, word >> 29,
                tuple(said), ACTIONS[told & 3], rule, tuple(hits[0].get(i, ())), tuple(hits[1].get(i, ())),
            )

    def verdicts(self):
        """How many events got which verdict by which rule."""
        counts = {}
        for event in self.events.values():
            counts[event[8], event[9]] = counts.get((event[8], event[9]), 0) + 1
        return counts


def unpacked(data, n_bytes):
    """Undoes zstd's compression; Debian's dpkg brings the library to every machine."""
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    out = ctypes.create_string_buffer(max(n_bytes, 1))
    if library.ZSTD_decompress(out, n_bytes, data, len(data)) != n_bytes:
        raise ValueError("a frame of a snapshot cannot be unpacked")
    return out.raw[:n_bytes]


def snapshots(folder):
    """Newest first."""
    return sorted(folder.glob("*.snap"), reverse=True)


def snapshot(path):
    """Its cut, and the state: payloads by kind and owner, with pieces of one owner put together."""
    data = path.read_bytes()
    if data[:8] != SNAPSHOT_MAGIC:
        raise ValueError(f"{path.name} is no snapshot")
    at, number, cut, state = 10, 0, None, {}
    while True:
        section, n_stored, n_bytes, crc = struct.unpack_from("<BIII", data, at)
        stored = data[at + 13:at + 13 + n_stored]
        if zlib.crc32(struct.pack("<Q", number) + data[at:at + 9] + stored) != crc:
            raise ValueError(f"{path.name}: frame {number} is damaged")
        piece = stored if n_stored == n_bytes else unpacked(stored, n_bytes)
        at, number = at + 13 + n_stored, number + 1
        if section == SECTION_END:
            state = {owner: in_order(owner[0], b"".join(parts)) for owner, parts in state.items()}
            return cut, with_answers(state)
        if section == SECTION_CUT:
            cut = json.loads(piece)
        elif section == SECTION_CALLS:
            # Table, part, version; then how often it changed, which depends on how the stream was cut into blocks.
            part, begin = 1 + piece[0], 1 + piece[0] + 2
            state.setdefault(("calls", piece[1:part], piece[part]), []).append(piece[begin + 8:])
        else:
            engine_frames(piece, state)


def engine_frames(piece, state):
    # How much of a payload tells whose it is: rule and partition, map and gateway and part, rule, or nothing.
    owner_bytes = {2: 3, 3: 3, 4: 6, 5: 6, 6: 4, 7: 2}
    names = {1: "header", 2: "partition", 3: "keys", 4: "part", 5: "entries", 6: "answers", 7: "subjects", 8: "lists",
             9: "made", 10: "holders", 11: "end"}
    at = 0
    while at < len(piece):
        kind, length, _ = struct.unpack_from("<BII", piece, at)
        payload = piece[at + 9:at + 9 + length]
        at += 9 + length
        n = owner_bytes.get(kind, 0)
        # The last counts frames, and how many there are is nobody's state.
        if kind != 11:
            state.setdefault((names[kind], payload[:n]), []).append(payload[n:])


# Answers of a frame; calls name theirs by frame and place.
ANSWERS = 4096
CALL_MAPS, CALL_BYTES = (1, 2), 42


def with_answers(state):
    """Calls with what they were told, not with the place where that stands: which place is free depends on when the
    state was last read."""
    told = {}
    for part, data in [(owner[1], state[owner]) for owner in list(state) if owner[0] == "answers"]:
        at = 0
        while at < len(data):
            place, n_flags = struct.unpack_from("<H", data, at)[0], struct.unpack_from("<H", data, at + 7)[0]
            told[int.from_bytes(part, "little") * ANSWERS + place] = data[at + 2:at + 9 + 2 * n_flags]
            at += 9 + 2 * n_flags
    for owner, data in state.items():
        if owner[0] == "entries" and owner[1][0] in CALL_MAPS:
            calls = [data[at:at + CALL_BYTES] for at in range(0, len(data), CALL_BYTES)]
            state[owner] = [(call[:28], told.get(struct.unpack_from("<I", call, 28)[0]), call[32:]) for call in calls]
    return {owner: data for owner, data in state.items() if owner[0] != "answers"}


def in_order(kind, data):
    """Entries of maps whose order means nothing, in one that does not change; anything else as it is."""
    rows, at, begun = [], 0, 0
    word = lambda at: struct.unpack_from("<I", data, at)[0]

    def listed(at):
        form = data[at + 4]
        return at + 5 + (4 + word(at + 5) if form == 4 else {0: 8, 1: 8, 2: 4, 3: 16}[form])
    while kind in ("subjects", "made", "holders") and at < len(data):
        begun = at
        if kind == "subjects":
            at += 27
            for _ in range(2 * data[at - 1]):
                at += 4 + word(at)
        elif kind == "made":
            at += 35 + 8 * data[at + 34]
            at += 4
            for _ in range(word(at - 4)):
                at = listed(at) + 8
        else:
            at = listed(at) + 9
            at += 8 * data[at - 1] + 4
            at += 8 * word(at - 4)
        rows.append(data[begun:at])
    return sorted(rows) or data


def rows(database, table):
    """What the store says, without what only says when and where it stands, or the number of the alert that took it."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        told = [c for c in columns if c not in ("row", "told_at", "alert", "sum")]
        return sorted(db.execute(f"SELECT {', '.join(told)} FROM {table}"), key=repr)

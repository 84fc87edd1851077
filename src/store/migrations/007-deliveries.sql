-- What goes to one person or program by one channel. `once` is what it must not be twice: message, channel and address.
-- `body` never changes; what happened to it is in `transitions`, with `delivery` as the kind.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    once        TEXT NOT NULL UNIQUE,
    customer    TEXT NOT NULL,
    incident    INTEGER,
    message     INTEGER,
    severity    INTEGER NOT NULL,
    channel     TEXT NOT NULL,
    -- However it is written.
    address     TEXT NOT NULL COLLATE NOCASE,
    -- Whom it is for: the same person by another channel is the same here.
    person      TEXT NOT NULL,
    -- Whoever it reaches counts as the customer having been told.
    is_contact  INTEGER NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    provider    TEXT NOT NULL,
    receipt     TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    -- Another channel was given the same for this person.
    fell_back   INTEGER NOT NULL,
    queued      INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    changed     INTEGER NOT NULL,
    handed      INTEGER,
    sum         INTEGER NOT NULL
) STRICT;

-- An index with a condition serves only queries that repeat the condition word for word.
CREATE INDEX deliveries_by_turn ON deliveries (channel, severity, due, id) WHERE state = 'queued';
CREATE INDEX deliveries_stranded ON deliveries (channel, severity, due) WHERE state = 'queued' AND fell_back = 0;
CREATE INDEX deliveries_queued ON deliveries (due) WHERE state = 'queued';
CREATE INDEX deliveries_leased ON deliveries (due) WHERE state = 'leased';
CREATE INDEX deliveries_unknown ON deliveries (due) WHERE state = 'unknown';
CREATE INDEX deliveries_by_age ON deliveries (queued) WHERE state IN ('queued', 'leased', 'unknown');
-- Who gets the earlier one first.
CREATE INDEX deliveries_by_lane ON deliveries (incident, channel, address, id) WHERE state IN ('queued', 'leased', 'unknown');
-- What goes out with a digest, digests, and whom somebody is to phone.
CREATE INDEX deliveries_held ON deliveries (channel, address) WHERE state = 'suppressed';
CREATE INDEX deliveries_digests ON deliveries (channel, address) WHERE state = 'queued' AND incident IS NULL;
CREATE INDEX deliveries_on_sheet ON deliveries (valid_until) WHERE state = 'handed' AND channel = 'call-sheet';
CREATE INDEX deliveries_by_message ON deliveries (message, id);
CREATE INDEX deliveries_by_incident ON deliveries (incident, id);
CREATE INDEX deliveries_by_customer ON deliveries (customer, id);
-- What somebody was handed lately.
CREATE INDEX deliveries_by_handed ON deliveries (channel, address, handed) WHERE handed IS NOT NULL;
-- What was given up.
CREATE INDEX deliveries_by_end ON deliveries (changed) WHERE state IN ('failed', 'expired');

-- What thresholds found. `id` is POSITION/RULE/LEVEL, the name under which sinks are told.
CREATE TABLE violations (
    row       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    position  INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    customer  TEXT NOT NULL,
    rule      TEXT NOT NULL,
    level     TEXT NOT NULL,
    key       TEXT NOT NULL,
    measure   TEXT NOT NULL,
    value     REAL,
    threshold REAL,
    window    TEXT NOT NULL,
    call_id   TEXT NOT NULL,
    mode      TEXT NOT NULL,
    late      INTEGER NOT NULL,
    told_at   INTEGER,
    sum       INTEGER NOT NULL
) STRICT;

CREATE INDEX violations_by_time ON violations (time);
CREATE INDEX violations_by_customer ON violations (customer, time);
CREATE INDEX violations_by_rule ON violations (rule, time);

-- The values of `violations.key`, so that a number is found under whichever name it was counted, the newest first.
CREATE TABLE violation_keys (
    text      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    violation INTEGER NOT NULL REFERENCES violations (row) ON DELETE CASCADE,
    PRIMARY KEY (text, at, violation)
) STRICT, WITHOUT ROWID;

CREATE INDEX violation_keys_by_violation ON violation_keys (violation);

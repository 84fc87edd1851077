-- What thresholds put on dynamic lists. `until` is null while the episode that did is open.
CREATE TABLE blocks (
    row      INTEGER PRIMARY KEY,
    list     TEXT NOT NULL,
    value    TEXT NOT NULL,
    customer TEXT NOT NULL,
    rule     TEXT NOT NULL,
    position INTEGER NOT NULL,
    added    INTEGER NOT NULL,
    until    INTEGER,
    removed  INTEGER,
    sum      INTEGER NOT NULL,
    UNIQUE (list, value, customer, rule, position)
) STRICT;

CREATE INDEX blocks_by_time ON blocks (added);
CREATE INDEX blocks_by_customer ON blocks (customer, added);
CREATE INDEX blocks_by_rule ON blocks (rule, added);
CREATE INDEX blocks_by_value ON blocks (value, added);

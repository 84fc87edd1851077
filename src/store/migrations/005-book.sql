-- What alerts, incidents, messages and objectives went through: who, when and why. Rows are added and never touched
-- again. `from_state` is empty where a subject begins; `data` is JSON.
CREATE TABLE transitions (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    time         INTEGER NOT NULL,
    subject_kind TEXT NOT NULL,
    subject      INTEGER NOT NULL,
    from_state   TEXT NOT NULL,
    to_state     TEXT NOT NULL,
    what         TEXT NOT NULL,
    who          TEXT NOT NULL,
    came_from    TEXT NOT NULL,
    why          TEXT NOT NULL,
    data         TEXT NOT NULL,
    sum          INTEGER NOT NULL
) STRICT;

CREATE INDEX transitions_by_subject ON transitions (subject_kind, subject, seq);

CREATE TRIGGER transitions_are_never_changed BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions: rows are never changed');
END;

CREATE TRIGGER transitions_are_never_deleted BEFORE DELETE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions: rows are never deleted');
END;

-- `INSERT OR REPLACE` deletes without telling the trigger above.
CREATE TRIGGER transitions_are_never_replaced BEFORE INSERT ON transitions
WHEN EXISTS (SELECT 1 FROM transitions WHERE seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'transitions: rows are never replaced');
END;

-- How each of them stands, which follows from the transitions; written with them. `body` is JSON.
CREATE TABLE subjects (
    row      INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    id       INTEGER NOT NULL,
    customer TEXT NOT NULL,
    -- What an alert or a message belongs to.
    incident INTEGER,
    state    TEXT NOT NULL,
    is_open  INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    body     TEXT NOT NULL,
    sum      INTEGER NOT NULL,
    UNIQUE (kind, id)
) STRICT;

CREATE INDEX subjects_by_open ON subjects (kind, is_open, id);
CREATE INDEX subjects_by_customer ON subjects (kind, customer, id);
CREATE INDEX subjects_by_incident ON subjects (kind, incident, id);

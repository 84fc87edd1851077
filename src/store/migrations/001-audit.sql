-- Who changed what, from where. Entries are added and never touched again.
CREATE TABLE migrations (
    version INTEGER PRIMARY KEY,
    time    INTEGER NOT NULL,
    build   TEXT NOT NULL
) STRICT;

-- What this file knows of itself: `open` is 1 from an open to the close that ends it.
CREATE TABLE state (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `before` and `after` are JSON; `sum` is a checksum of the rest of the row.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    who       TEXT NOT NULL,
    came_from TEXT NOT NULL,
    action    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    before    TEXT,
    after     TEXT,
    sum       INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX audit_by_who ON audit (who, time);
CREATE INDEX audit_by_subject ON audit (subject, time);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit: entries are never changed');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit: entries are never deleted');
END;

-- `INSERT OR REPLACE` deletes without telling the trigger above.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit: entries are never replaced');
END;

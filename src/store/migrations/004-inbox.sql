-- What folds into one incident: the group of the rule and the values that tell its incidents apart. Rows from before
-- there was an incident book have neither, and never were in its inbox. `alert` is the one that took the violation.
ALTER TABLE violations ADD COLUMN rule_group TEXT NOT NULL DEFAULT '';
ALTER TABLE violations ADD COLUMN target TEXT NOT NULL DEFAULT '{}';
ALTER TABLE violations ADD COLUMN alert INTEGER;

CREATE INDEX violations_by_alert ON violations (alert, time) WHERE alert IS NOT NULL;

-- Ends of episodes. `id` is TIME/RULE/closed/HASH, the hash being of customer and key.
CREATE TABLE closings (
    row      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    customer TEXT NOT NULL,
    rule     TEXT NOT NULL,
    key      TEXT NOT NULL,
    sum      INTEGER NOT NULL
) STRICT;

CREATE INDEX closings_by_time ON closings (time);

-- What the incident book has not taken yet: `subject` is the id of a violation or of a closing. A row comes with the
-- one it names and goes with what the book makes of it; its number is never given again.
CREATE TABLE inbox (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    sum     INTEGER NOT NULL,
    UNIQUE (subject, kind)
) STRICT;

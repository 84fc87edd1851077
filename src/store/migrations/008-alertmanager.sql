-- Alerts that an Alertmanager was told of and has not been told the end of. Written before it is told, gone once it took
-- the end. `key` and `facts` are as they are told; `facts` is JSON.
CREATE TABLE firing (
    row      INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    rule     TEXT NOT NULL,
    customer TEXT NOT NULL,
    key      TEXT NOT NULL,
    level    TEXT NOT NULL,
    starts   INTEGER NOT NULL,
    facts    TEXT NOT NULL,
    sum      INTEGER NOT NULL,
    UNIQUE (endpoint, rule, customer, key, level)
) STRICT;

-- What a violation is about, in a line, where no rule of ours says it: alerts of other programs bring their own words.
ALTER TABLE violations ADD COLUMN what TEXT NOT NULL DEFAULT '';

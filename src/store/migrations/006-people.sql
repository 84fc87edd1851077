-- People who use the service. `password` is a PHC string, null where there is none to log in with; `roles` is a JSON
-- array of texts.
CREATE TABLE users (
    row         INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    display     TEXT NOT NULL,
    roles       TEXT NOT NULL,
    password    TEXT,
    is_disabled INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    changed     INTEGER NOT NULL,
    sum         INTEGER NOT NULL
) STRICT;

-- What programs log in with: `hash` is of the secret, which stands nowhere; `scopes` is a JSON array of texts.
CREATE TABLE tokens (
    row       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    user      TEXT NOT NULL REFERENCES users (name),
    label     TEXT NOT NULL,
    hash      TEXT NOT NULL,
    scopes    TEXT NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER,
    last_used INTEGER,
    revoked   INTEGER,
    sum       INTEGER NOT NULL
) STRICT;

CREATE INDEX tokens_by_user ON tokens (user);

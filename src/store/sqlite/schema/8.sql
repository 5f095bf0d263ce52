-- Schema 8, on top of 7: a key costs less where keys rise.

-- As before, with the key before the publisher in what is unique. Keys that rise with time (UUIDs of version 7, ULIDs,
-- counters) then come to one end of that index whoever sends them, so those of one commit share its pages; with the
-- publisher first, each publisher dirties one of its own.
CREATE TABLE idempotency_8 (
    n           INTEGER PRIMARY KEY,
    publisher   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    -- SHA-256 of what was asked.
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    kept_ms     INTEGER NOT NULL,
    id          BLOB    NOT NULL CHECK (length(id) = 16),
    position    INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    reference   TEXT,
    throttled   INTEGER NOT NULL CHECK (throttled IN (0, 1)),
    UNIQUE (key, publisher)
) STRICT;

INSERT INTO idempotency_8
        (n, publisher, key, fingerprint, kept_ms, id, position, created_ms, reference, throttled)
    SELECT n, publisher, key, fingerprint, kept_ms, id, position, created_ms, reference, throttled
    FROM idempotency ORDER BY n;

DROP TABLE idempotency;
ALTER TABLE idempotency_8 RENAME TO idempotency;

-- Schema 2, on top of 1: nothing doubled, nothing stuck, and why somebody did not get it.

-- A copy that `campanile backup` made: the first `serve` on it draws a new epoch.
ALTER TABLE hub ADD COLUMN copied INTEGER NOT NULL DEFAULT 0 CHECK (copied IN (0, 1));

-- Of a broadcast, or what is for everyone: to how many streams it was written at once, and how many read it from the log.
ALTER TABLE entry ADD COLUMN streams INTEGER CHECK (streams >= 0);
ALTER TABLE entry ADD COLUMN behind INTEGER CHECK (behind >= 0);

-- Whoever works on an owed recipient, and since when. `processing` is a row with both, so none can be without a lease.
ALTER TABLE delivery ADD COLUMN owner TEXT CHECK (owner IS NULL OR state = 'owed');
ALTER TABLE delivery ADD COLUMN leased_ms INTEGER CHECK ((owner IS NULL) = (leased_ms IS NULL));

DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (next_ms) WHERE state = 'owed' AND owner IS NULL;
CREATE INDEX delivery_leased ON delivery (leased_ms) WHERE owner IS NOT NULL;
CREATE INDEX delivery_outcome ON delivery (state, changed_ms);

-- The keys under which publishers asked not to be served twice, each with the answer that they got. In order of their
-- coming, so that the oldest go first. They outlive what they stand for, so nothing refers to the log.
CREATE TABLE idempotency (
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
    UNIQUE (publisher, key)
) STRICT;

-- Each time that one of them was used again: with the same draft, which got the same answer, or with another, which was
-- refused.
CREATE TABLE duplicate (
    n         INTEGER PRIMARY KEY,
    publisher TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    outcome   TEXT    NOT NULL CHECK (outcome IN ('answered', 'refused')),
    id        BLOB    NOT NULL CHECK (length(id) = 16),
    at_ms     INTEGER NOT NULL
) STRICT;

CREATE INDEX duplicate_key ON duplicate (key, n);
CREATE INDEX duplicate_publisher ON duplicate (publisher, n);

-- The last one accepted under a publisher's throttle key, for as long as it holds others off.
CREATE TABLE throttle (
    publisher   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    window_ms   INTEGER NOT NULL CHECK (window_ms > 0),
    accepted_ms INTEGER NOT NULL,
    id          BLOB    NOT NULL CHECK (length(id) = 16),
    position    INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    reference   TEXT,
    PRIMARY KEY (publisher, key, window_ms)
) STRICT, WITHOUT ROWID;

CREATE INDEX throttle_over ON throttle (accepted_ms + window_ms);

-- Every reference ever given, by us or by a publisher. Never pruned: a number that a person has read off a ticket means
-- that ticket for good.
CREATE TABLE reference (
    reference  TEXT    PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    position   INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last number drawn for a prefix in a month (MMYY).
CREATE TABLE reference_counter (
    prefix TEXT    NOT NULL,
    month  TEXT    NOT NULL CHECK (length(month) = 4),
    last   INTEGER NOT NULL CHECK (last >= 0),
    PRIMARY KEY (prefix, month)
) STRICT, WITHOUT ROWID;

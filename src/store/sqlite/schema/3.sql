-- Schema 3, on top of 2: notifications that are held back until their time, and notifications that are cancelled.

-- Accepted, and not in the log yet: it gets its place there, and its row here goes, in one transaction. One that was
-- cancelled stays until it is as old as notifications get.
CREATE TABLE scheduled (
    n            INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    kind         TEXT    NOT NULL CHECK (kind IN ('notification', 'broadcast')),
    publisher    TEXT    NOT NULL,
    -- As in the entry that it becomes.
    audience     TEXT    NOT NULL,
    accepted_ms  INTEGER NOT NULL,
    due_ms       INTEGER NOT NULL,
    expires_ms   INTEGER CHECK (expires_ms > due_ms),
    body         TEXT    NOT NULL,
    cancelled_ms INTEGER,
    cancelled_by TEXT    CHECK ((cancelled_by IS NULL) = (cancelled_ms IS NULL))
) STRICT;

CREATE INDEX scheduled_due ON scheduled (due_ms, n) WHERE cancelled_ms IS NULL;
CREATE INDEX scheduled_cancelled ON scheduled (cancelled_ms) WHERE cancelled_ms IS NOT NULL;

INSERT INTO counter (name, n) VALUES ('scheduled', 0);

CREATE TRIGGER scheduled_came AFTER INSERT ON scheduled BEGIN
    UPDATE counter SET n = n + 1 WHERE name = 'scheduled';
END;

CREATE TRIGGER scheduled_cancelled_now AFTER UPDATE OF cancelled_ms ON scheduled WHEN old.cancelled_ms IS NULL BEGIN
    UPDATE counter SET n = n - 1 WHERE name = 'scheduled';
END;

CREATE TRIGGER scheduled_went AFTER DELETE ON scheduled WHEN old.cancelled_ms IS NULL BEGIN
    UPDATE counter SET n = n - 1 WHERE name = 'scheduled';
END;

-- Withdrawn from the inboxes after nobody took it, and by whom.
ALTER TABLE entry ADD COLUMN cancelled_ms INTEGER;
ALTER TABLE entry ADD COLUMN cancelled_by TEXT CHECK ((cancelled_by IS NULL) = (cancelled_ms IS NULL));

-- As before, with one state more: a list in a CHECK can only be changed with its table.
CREATE TABLE delivery_3 (
    position   INTEGER NOT NULL REFERENCES entry (position),
    key        TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('owed', 'sent') OR state IN ('failed', 'expired') OR state = 'cancelled'),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_ms    INTEGER,
    reopened   INTEGER NOT NULL DEFAULT 0 CHECK (reopened IN (0, 1)),
    changed_ms INTEGER NOT NULL,
    reason     TEXT,
    owner      TEXT CHECK (owner IS NULL OR state = 'owed'),
    leased_ms  INTEGER CHECK ((owner IS NULL) = (leased_ms IS NULL)),
    PRIMARY KEY (position, key),
    CHECK ((state = 'owed') = (next_ms IS NOT NULL)),
    CHECK (reopened = 0 OR state IN ('owed', 'failed'))
) STRICT, WITHOUT ROWID;

INSERT INTO delivery_3 (position, key, state, attempts, next_ms, reopened, changed_ms, reason, owner, leased_ms)
    SELECT position, key, state, attempts, next_ms, reopened, changed_ms, reason, owner, leased_ms FROM delivery;

DROP TABLE delivery;
ALTER TABLE delivery_3 RENAME TO delivery;

CREATE INDEX delivery_due ON delivery (next_ms) WHERE state = 'owed' AND owner IS NULL;
CREATE INDEX delivery_leased ON delivery (leased_ms) WHERE owner IS NOT NULL;
CREATE INDEX delivery_outcome ON delivery (state, changed_ms);
CREATE INDEX delivery_oldest ON delivery (position) WHERE state = 'owed';
CREATE INDEX delivery_open ON delivery (key, position) WHERE state IN ('owed', 'failed');
CREATE INDEX delivery_reopened ON delivery (key, position) WHERE reopened = 1;

CREATE TRIGGER delivery_came AFTER INSERT ON delivery BEGIN
    UPDATE counter SET n = n + 1 WHERE name = new.state;
END;

CREATE TRIGGER delivery_went AFTER DELETE ON delivery BEGIN
    UPDATE counter SET n = n - 1 WHERE name = old.state;
END;

CREATE TRIGGER delivery_turned AFTER UPDATE OF state ON delivery WHEN old.state <> new.state BEGIN
    UPDATE counter SET n = n - 1 WHERE name = old.state;
    UPDATE counter SET n = n + 1 WHERE name = new.state;
END;

-- Schema 1, on which the later ones build. Every enumerated value is held to its list here, because a row outlives the
-- code that wrote it; in pairs, because of a longer IN SQLite makes a table at each insert. Times are milliseconds since
-- 1970 (UTC). Positions are places in the log: 1, 2, 3 … in commit order.

-- One row: which log this is, and how far it has come.
CREATE TABLE hub (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    epoch           TEXT    NOT NULL CHECK (length(epoch) BETWEEN 1 AND 32),
    -- The last position given. Kept here, not derived: when the newest entry is pruned its position stays used.
    head            INTEGER NOT NULL DEFAULT 0 CHECK (head >= 0),
    -- Up to here every recipient has a verdict; no delivery row means sent at the first try.
    settled         INTEGER NOT NULL DEFAULT 0 CHECK (settled BETWEEN 0 AND head),
    -- At or below its floor anything of that kind may have been pruned.
    inbox_floor     INTEGER NOT NULL DEFAULT 0,
    broadcast_floor INTEGER NOT NULL DEFAULT 0,
    created_ms      INTEGER NOT NULL
) STRICT;

-- The log.
CREATE TABLE entry (
    position   INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('notification', 'broadcast')),
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    publisher  TEXT    NOT NULL,
    -- One key a line: u:<user>, r:<role>, *.
    audience   TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    body       TEXT    NOT NULL
) STRICT;

-- For pruning: the oldest of a kind first.
CREATE INDEX entry_age ON entry (kind, created_ms);

-- The log once more, by key: what one viewer may see is a union of such lists. No foreign key, since looking after one
-- would take a second index as large as the table; entries and their keys come and go in one transaction.
CREATE TABLE audience (
    key        TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    -- Whether it is in the recipients' inboxes: a notification is, a broadcast is not.
    inbox      INTEGER NOT NULL CHECK (inbox IN (0, 1)),
    -- As in the entry.
    expires_ms INTEGER,
    PRIMARY KEY (key, position)
) STRICT, WITHOUT ROWID;

-- For counting what is unread: no broadcast is in it, however many there were, and the log itself is not looked at.
CREATE INDEX audience_inbox ON audience (key, position, expires_ms) WHERE inbox = 1;

-- What became of a recipient that nobody took it for at the first try.
CREATE TABLE delivery (
    position   INTEGER NOT NULL REFERENCES entry (position),
    key        TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('owed', 'sent') OR state IN ('failed', 'expired')),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- When it is asked again.
    next_ms    INTEGER,
    -- Owed only because a crash left it undecided: a client's cursor can settle it.
    reopened   INTEGER NOT NULL DEFAULT 0 CHECK (reopened IN (0, 1)),
    changed_ms INTEGER NOT NULL,
    reason     TEXT,
    PRIMARY KEY (position, key),
    CHECK ((state = 'owed') = (next_ms IS NOT NULL)),
    CHECK (reopened = 0 OR state IN ('owed', 'failed'))
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_due ON delivery (next_ms) WHERE state = 'owed';
CREATE INDEX delivery_oldest ON delivery (position) WHERE state = 'owed';
CREATE INDEX delivery_open ON delivery (key, position) WHERE state IN ('owed', 'failed');
CREATE INDEX delivery_reopened ON delivery (key, position) WHERE reopened = 1;

-- For each user who has ever opened a stream: the highest position served to any of their streams, and where the log
-- stood when they opened the first. What was for their roles or for everyone before that is not in their inbox.
CREATE TABLE mark (
    user     TEXT    PRIMARY KEY,
    position INTEGER NOT NULL,
    since    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For each user who has ever read anything: up to here all of their inbox is read.
CREATE TABLE reading (
    user   TEXT    PRIMARY KEY,
    upto   INTEGER NOT NULL DEFAULT 0,
    -- How many rows they have in `read_mark`. Triggers keep it exact.
    single INTEGER NOT NULL DEFAULT 0 CHECK (single >= 0)
) STRICT, WITHOUT ROWID;

-- What a user has read above that, each by itself.
CREATE TABLE read_mark (
    user     TEXT    NOT NULL REFERENCES reading (user),
    position INTEGER NOT NULL,
    PRIMARY KEY (user, position)
) STRICT, WITHOUT ROWID;

-- For pruning: whoever has read an entry.
CREATE INDEX read_mark_entry ON read_mark (position);

CREATE TRIGGER read_mark_came AFTER INSERT ON read_mark BEGIN
    UPDATE reading SET single = single + 1 WHERE user = new.user;
END;

CREATE TRIGGER read_mark_went AFTER DELETE ON read_mark BEGIN
    UPDATE reading SET single = single - 1 WHERE user = old.user;
END;

-- API keys. The key itself is nowhere: only its SHA-256.
CREATE TABLE api_key (
    name       TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    publish    INTEGER NOT NULL CHECK (publish IN (0, 1)),
    admin      INTEGER NOT NULL CHECK (admin IN (0, 1)),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

-- How many there are of what is asked for all the time. Triggers keep it exact whichever statement changes the rows.
CREATE TABLE counter (
    name TEXT    PRIMARY KEY,
    n    INTEGER NOT NULL CHECK (n >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, n) VALUES ('notification', 0), ('broadcast', 0), ('owed', 0), ('failed', 0);

CREATE TRIGGER entry_came AFTER INSERT ON entry BEGIN
    UPDATE counter SET n = n + 1 WHERE name = new.kind;
END;

CREATE TRIGGER entry_went AFTER DELETE ON entry BEGIN
    UPDATE counter SET n = n - 1 WHERE name = old.kind;
END;

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

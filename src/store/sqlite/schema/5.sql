-- Schema 5, on top of 4: reminders.

-- The latest moment that any sweep has seen: a clock that is set back opens no window a second time.
ALTER TABLE hub ADD COLUMN latest_ms INTEGER NOT NULL DEFAULT 0;

CREATE TABLE reminder (
    n          INTEGER PRIMARY KEY,
    publisher  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    -- What is published, as a draft in JSON.
    draft      TEXT    NOT NULL,
    due_ms     INTEGER NOT NULL,
    -- None: once.
    repeat_ms  INTEGER CHECK (repeat_ms > 0),
    -- When it is published next; none if it was, and is not repeated.
    next_ms    INTEGER CHECK (next_ms >= due_ms),
    -- When it was last, by the latest clock; and how often.
    last_ms    INTEGER,
    sent       INTEGER NOT NULL DEFAULT 0 CHECK ((sent > 0) = (last_ms IS NOT NULL)),
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    UNIQUE (publisher, key),
    -- No sooner than a window after the last one.
    CHECK (next_ms IS NULL OR last_ms IS NULL OR next_ms >= last_ms + coalesce(repeat_ms, 1))
) STRICT;

CREATE INDEX reminder_next ON reminder (next_ms) WHERE next_ms IS NOT NULL;
CREATE INDEX reminder_due ON reminder (due_ms);

INSERT INTO counter (name, n) VALUES ('reminder', 0);

CREATE TRIGGER reminder_came AFTER INSERT ON reminder BEGIN
    UPDATE counter SET n = n + 1 WHERE name = 'reminder';
END;

CREATE TRIGGER reminder_went AFTER DELETE ON reminder BEGIN
    UPDATE counter SET n = n - 1 WHERE name = 'reminder';
END;

-- What was published, and when. It outlives its reminder.
CREATE TABLE reminded (
    n          INTEGER PRIMARY KEY,
    publisher  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    at_ms      INTEGER NOT NULL,
    overdue_ms INTEGER NOT NULL CHECK (overdue_ms >= 0)
) STRICT;

CREATE INDEX reminded_history ON reminded (publisher, key, n);

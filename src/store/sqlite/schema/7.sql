-- Schema 7, on top of 6: a notification costs less to store.

-- Entries are counted when the head passes them, all of a commit at once. A trigger on the entries themselves runs for
-- each, and has SQLite keep a copy of every page that an insert changes, in case the trigger fails half way.
DROP TRIGGER entry_came;

-- By position: an index by kind would be read from its beginning. One by one: for a list SQLite makes a table.
CREATE TRIGGER head_moved AFTER UPDATE OF head ON hub WHEN new.head > old.head BEGIN
    UPDATE counter SET n = n + (
        SELECT count(*) FROM entry NOT INDEXED
        WHERE position > old.head AND position <= new.head AND kind = 'notification')
    WHERE name = 'notification';
    UPDATE counter SET n = n + (
        SELECT count(*) FROM entry NOT INDEXED
        WHERE position > old.head AND position <= new.head AND kind = 'broadcast')
    WHERE name = 'broadcast';
END;

-- As before, with `inbox` in the key: what an index of its own was for, which cost each notification a second page. No
-- ORDER BY: the rows come in the order of their keys, near enough, and nothing has to be sorted in memory.
CREATE TABLE audience_7 (
    key        TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    -- Whether it is in the recipients' inboxes: a notification is, until it is withdrawn; a broadcast is not. For counting
    -- what is unread: no broadcast is in that list, however many there were, and the log itself is not looked at.
    inbox      INTEGER NOT NULL CHECK (inbox IN (0, 1)),
    expires_ms INTEGER,
    PRIMARY KEY (key, inbox, position)
) STRICT, WITHOUT ROWID;

INSERT INTO audience_7 (key, position, inbox, expires_ms)
    SELECT key, position, inbox, expires_ms FROM audience;

DROP TABLE audience;
ALTER TABLE audience_7 RENAME TO audience;

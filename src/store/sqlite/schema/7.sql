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

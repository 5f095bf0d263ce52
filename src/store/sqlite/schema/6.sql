-- Schema 6, on top of 5: users whose credentials were taken back.

-- What was issued to them before is refused. One row a user, the latest moment.
CREATE TABLE revocation (
    user  TEXT    PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Schema 4, on top of 3: webhooks.

-- What a draft said about webhooks, over the heads of the endpoints.
ALTER TABLE entry ADD COLUMN webhook TEXT CHECK (webhook IN ('undelivered', 'always') OR webhook = 'never');

ALTER TABLE scheduled ADD COLUMN webhook TEXT CHECK (webhook IN ('undelivered', 'always') OR webhook = 'never');

-- Where webhooks go. The secrets are here as they are, because each webhook is signed with them.
CREATE TABLE webhook_endpoint (
    id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
    url          TEXT    NOT NULL,
    fires        TEXT    NOT NULL CHECK (fires IN ('undelivered', 'always')),
    -- Lists in JSON; an empty one lets everything through.
    roles        TEXT    NOT NULL,
    modules      TEXT    NOT NULL,
    severities   TEXT    NOT NULL,
    secret       BLOB    NOT NULL,
    -- The one before, and until when it signs as well.
    old_secret   BLOB,
    old_until_ms INTEGER,
    created_ms   INTEGER NOT NULL,
    -- Since when nothing has come through.
    failing_ms   INTEGER,
    disabled_ms  INTEGER,
    disabled_by  TEXT    CHECK (disabled_by IN ('admin', 'gone', 'failing')),
    -- Whether those who administer have been told that the hub disabled it.
    told         INTEGER NOT NULL DEFAULT 1 CHECK (told IN (0, 1)),
    CHECK ((old_secret IS NULL) = (old_until_ms IS NULL)),
    CHECK ((disabled_ms IS NULL) = (disabled_by IS NULL)),
    CHECK (told = 1 OR disabled_ms IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_enabled ON webhook_endpoint (id) WHERE disabled_ms IS NULL;

-- The outbox and, once they are done, the history. Each holds all that is sent, so it outlives what it tells of. No foreign
-- key to the endpoint, for the history outlives that as well.
CREATE TABLE webhook (
    n            INTEGER PRIMARY KEY,
    -- The `webhook-id`, the same at each try.
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    endpoint     BLOB    NOT NULL CHECK (length(endpoint) = 16),
    notification BLOB    CHECK (length(notification) = 16),
    type         TEXT    NOT NULL CHECK (type IN ('notification.undelivered', 'notification.created') OR type = 'webhook.test'),
    data         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('waiting', 'sent') OR state = 'failed'),
    -- All there were, and those since it was last begun anew.
    attempts     INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tries        INTEGER NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND attempts),
    next_ms      INTEGER,
    -- Whoever sends it, since when, and when the sending itself began: a row with all three may have arrived.
    owner        TEXT,
    leased_ms    INTEGER,
    begun_ms     INTEGER,
    made_ms      INTEGER NOT NULL,
    changed_ms   INTEGER NOT NULL,
    -- What came of the last try.
    status       INTEGER,
    answer       TEXT,
    error        TEXT,
    -- One for each notification and endpoint.
    UNIQUE (notification, endpoint),
    CHECK ((notification IS NULL) = (type = 'webhook.test')),
    CHECK ((state = 'waiting') = (next_ms IS NOT NULL)),
    CHECK (owner IS NULL OR state = 'waiting'),
    CHECK ((owner IS NULL) = (leased_ms IS NULL)),
    CHECK (begun_ms IS NULL OR owner IS NOT NULL)
) STRICT;

CREATE INDEX webhook_due ON webhook (endpoint, next_ms) WHERE state = 'waiting' AND owner IS NULL;
CREATE INDEX webhook_leased ON webhook (leased_ms) WHERE owner IS NOT NULL;
CREATE INDEX webhook_history ON webhook (endpoint, n);

INSERT INTO counter (name, n) VALUES ('webhook', 0);

CREATE TRIGGER webhook_came AFTER INSERT ON webhook WHEN new.state = 'waiting' BEGIN
    UPDATE counter SET n = n + 1 WHERE name = 'webhook';
END;

CREATE TRIGGER webhook_went AFTER DELETE ON webhook WHEN old.state = 'waiting' BEGIN
    UPDATE counter SET n = n - 1 WHERE name = 'webhook';
END;

CREATE TRIGGER webhook_turned AFTER UPDATE OF state ON webhook WHEN (old.state = 'waiting') <> (new.state = 'waiting') BEGIN
    UPDATE counter SET n = n + (CASE WHEN new.state = 'waiting' THEN 1 ELSE -1 END) WHERE name = 'webhook';
END;

-- Entries whose last verdict may have come in this transaction, whichever statement gave it. The writer empties it into
-- the outbox before it commits, so it is never seen with anything in it. Without an endpoint nothing comes here.
CREATE TABLE webhook_verdict (
    position INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER webhook_settled AFTER UPDATE OF settled ON hub
    WHEN new.settled > old.settled AND EXISTS (SELECT 1 FROM webhook_endpoint WHERE disabled_ms IS NULL) BEGIN
    INSERT OR IGNORE INTO webhook_verdict
        SELECT position FROM entry WHERE position > old.settled AND position <= new.settled;
END;

CREATE TRIGGER webhook_decided AFTER UPDATE OF state ON delivery
    WHEN old.state = 'owed' AND new.state <> 'owed'
        AND EXISTS (SELECT 1 FROM webhook_endpoint WHERE disabled_ms IS NULL)
        AND new.position <= (SELECT settled FROM hub) BEGIN
    INSERT OR IGNORE INTO webhook_verdict VALUES (new.position);
END;

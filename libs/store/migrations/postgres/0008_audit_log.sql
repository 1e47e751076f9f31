-- Who changed what, and a change log that tells how any resource was at a time of the last days.

-- Written in the transaction of the change; kept for 90 days, which control-plane sees to. Secrets are masked before they get here.
CREATE TABLE audit_log (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- ascends in commit order: writers take turns
    at        BIGINT NOT NULL DEFAULT ((extract(epoch FROM clock_timestamp()) * 1000)::BIGINT),
    account   TEXT COLLATE "C",          -- whose resource; none: the installation's
    actor     TEXT COLLATE "C" NOT NULL, -- whose credentials, or which process
    request   TEXT NOT NULL,             -- id of the request; empty: there was none
    action    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    key       TEXT COLLATE "C" NOT NULL, -- SID or name of the resource
    seq       BIGINT,                    -- of the change; none: not a change of the configuration
    changed   TEXT NOT NULL,             -- JSON: pointers to what differs
    old_state TEXT,                      -- JSON
    new_state TEXT                       -- JSON
);
CREATE INDEX audit_log_of_account ON audit_log (account, id);
CREATE INDEX audit_log_of_resource ON audit_log (key, id);
CREATE INDEX audit_log_of_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_time ON audit_log (at);

-- Compaction keeps the last change of each resource, unless that one removed it.
ALTER TABLE changes ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX changes_of_resource ON changes (kind, key, seq);
CREATE INDEX changes_of_account ON changes (account, kind);
CREATE INDEX changes_by_time ON changes (at);

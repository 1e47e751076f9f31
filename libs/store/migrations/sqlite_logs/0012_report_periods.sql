-- What became of reports and when, so that of an event nobody knows anything of it can be said whether its reports were kept.
CREATE TABLE report_periods (
    fate    BIGINT NOT NULL,
    source  TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    reports BIGINT NOT NULL,
    PRIMARY KEY (fate, source, since)
);

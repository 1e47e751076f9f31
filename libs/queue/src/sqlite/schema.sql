-- The queue in one SQLite file, format 1. Ids are milliseconds << 20 | number within the millisecond.
CREATE TABLE IF NOT EXISTS meta (
  key TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS ready (
  id INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  chunk BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS ready_by_partition ON ready (partition, id);

CREATE TABLE IF NOT EXISTS backlogs (
  partition INTEGER NOT NULL,
  sink BLOB NOT NULL,
  state BLOB NOT NULL,
  PRIMARY KEY (partition, sink)
) WITHOUT ROWID;

-- class 0: backlog, 1: delayed. chunk: zstd, NULL once it expired.
CREATE TABLE IF NOT EXISTS parked (
  key INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  sink BLOB NOT NULL,
  class INTEGER NOT NULL,
  id BLOB NOT NULL,
  at INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  chunk BLOB,
  UNIQUE (partition, sink, class, id)
);
CREATE INDEX IF NOT EXISTS parked_by_time ON parked (partition, sink, class, at, id);
CREATE INDEX IF NOT EXISTS parked_by_expiry ON parked (expires) WHERE chunk IS NOT NULL;

-- Marks of events that were appended, until they expire.
CREATE TABLE IF NOT EXISTS seen (
  partition INTEGER NOT NULL,
  mark BLOB NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (partition, mark)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_by_expiry ON seen (expires);

-- place: where it stood, as text. chunk: zstd where it was parked.
CREATE TABLE IF NOT EXISTS quarantined (
  partition INTEGER NOT NULL,
  place TEXT NOT NULL,
  reason TEXT NOT NULL,
  chunk BLOB NOT NULL,
  PRIMARY KEY (partition, place)
);

-- token: of the last owner that did not release. unclean: another did not, and what it left is not settled yet.
CREATE TABLE IF NOT EXISTS owners (
  partition INTEGER PRIMARY KEY,
  token BLOB,
  unclean INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS suspects (
  partition INTEGER NOT NULL,
  place TEXT NOT NULL,
  note INTEGER NOT NULL,
  PRIMARY KEY (partition, place)
) WITHOUT ROWID;

-- kind 0: attempts, 1: drops. consumer: who has it in hand, since when.
CREATE TABLE IF NOT EXISTS reports (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  body BLOB NOT NULL,
  consumer TEXT,
  since INTEGER
);
CREATE INDEX IF NOT EXISTS reports_by_kind ON reports (kind, id);
CREATE INDEX IF NOT EXISTS reports_by_partition ON reports (kind, partition, id);

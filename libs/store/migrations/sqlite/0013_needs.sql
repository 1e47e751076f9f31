-- Who may use these tables.

ALTER TABLE meta ADD COLUMN needs BIGINT NOT NULL DEFAULT 0; -- migration that a program must know to use these tables

-- Where the epoch was drawn, and who may use these tables.

ALTER TABLE meta ADD COLUMN origin TEXT; -- server, database, table and timeline; elsewhere it is a restored database. None: not noted yet
ALTER TABLE meta ADD COLUMN needs BIGINT NOT NULL DEFAULT 0; -- migration that a program must know to use these tables

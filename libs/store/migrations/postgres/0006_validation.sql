-- What becomes of events whose data does not fit: what the platform registers is enforced, of the catalogue there is a warning.

ALTER TABLE event_types ADD COLUMN validation TEXT NOT NULL DEFAULT 'enforce';
UPDATE event_types SET validation = 'warn' WHERE name LIKE 'com.twilio.%' OR name LIKE 'io.millrace.%';

-- How a sink asks to be delivered to.

ALTER TABLE sinks ADD COLUMN delivery TEXT NOT NULL DEFAULT '{}'; -- JSON: paused, rate_limit, max_concurrency, window_seconds

-- Problems of one sink are listed without reading those of the account's others.
CREATE INDEX error_logs_of_sinks ON error_logs (account, sink, id);

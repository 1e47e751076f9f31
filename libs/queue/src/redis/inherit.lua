#!lua flags=no-writes
-- What the owners before have left. KEYS: suspects, ready. Answers the id of the last chunk, or '', and the notes:
-- fields and values in turn.
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return { last and last[1] or '', redis.call('HGETALL', KEYS[1]) }

#!lua flags=no-writes,allow-oom
-- Lists the accounts that are full now. KEYS: full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], string.format('(%d', now), '+inf', 'BYSCORE')

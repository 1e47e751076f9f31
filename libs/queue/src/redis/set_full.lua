#!lua flags=allow-oom
-- Says that accounts are full, and forgets of which that has run out.
-- KEYS: full. ARGV: for how long in ms, accounts.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[1]), ARGV[i])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2])

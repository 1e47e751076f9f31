#!lua flags=allow-oom
-- Says that a member lives, forgets those that do not, lists the rest: id, since + address, id, …
-- KEYS: deliverers, members. ARGV: id, address, lease in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', string.format('%d', now), 'BYSCORE')) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
local known = redis.call('HGET', KEYS[2], ARGV[1])
if not known or string.match(known, '^%d+ (.*)$') ~= ARGV[2] then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%d %s', now, ARGV[2]))
end
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[3]), ARGV[1])
return redis.call('HGETALL', KEYS[2])

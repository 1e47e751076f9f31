#!lua flags=allow-oom
-- Notes a number beside each chunk. KEYS: owner, suspects. ARGV: token, then (place, number) in turn.
-- 1: noted, 0: the token is stale.
local holder = redis.call('GET', KEYS[1])
if not holder or string.sub(holder, 1, 32) ~= ARGV[1] then
  return 0
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return 1

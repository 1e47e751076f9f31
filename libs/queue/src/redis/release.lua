#!lua flags=allow-oom
-- Gives up the lease of a partition. KEYS: owner, suspects. ARGV: token. 1: given up, 0: not the token's.
local holder = redis.call('GET', KEYS[1])
if not holder or string.sub(holder, 1, 32) ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], 'owner')
return redis.call('DEL', KEYS[1])

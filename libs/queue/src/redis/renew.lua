#!lua flags=allow-oom
-- Renews the lease of a partition. KEYS: owner. ARGV: token, lease in ms. 1: renewed, 0: not the token's.
local holder = redis.call('GET', KEYS[1])
if not holder or string.sub(holder, 1, 32) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

#!lua flags=allow-oom
-- Takes the lease of a partition that nobody holds. KEYS: owner. ARGV: token, address, lease in ms.
-- 1: the token holds it now, 0: another does.
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, 32) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1

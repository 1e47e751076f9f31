#!lua flags=allow-oom
-- Takes the lease of a partition that nobody holds. KEYS: owner, suspects. ARGV: token, address, lease in ms.
-- 1: the token holds it now, 0: another does. Whose it was last stays in `suspects` until it is released: where
-- another finds it there, its owner ended without. A token's second half names its process, which lives where it
-- comes again itself.
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, 32) ~= ARGV[1] then
  return 0
end
local last = redis.call('HGET', KEYS[2], 'owner')
if last and string.sub(last, 17) ~= string.sub(ARGV[1], 17) then
  redis.call('HSET', KEYS[2], 'unclean', 1)
end
redis.call('HSET', KEYS[2], 'owner', ARGV[1])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1

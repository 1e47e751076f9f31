#!lua
-- Moves a chunk from quarantine to the end of `ready`. KEYS: quarantine, ready. ARGV: its place there, and its bytes, or ''
-- for as they are stored. 1: moved, 0: it is not there.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then
  return 0
end
redis.call('XADD', KEYS[2], '*', 'c', ARGV[2] ~= '' and ARGV[2] or stored)
redis.call('HDEL', KEYS[1], ARGV[1], ARGV[1] .. ':why')
return 1

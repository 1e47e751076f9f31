#!lua flags=allow-oom
-- Makes the group that reads a stream of reports, from its start. KEYS: the stream. ARGV: group.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
  return made
end
return 1

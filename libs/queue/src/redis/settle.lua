#!lua flags=allow-oom
-- Settles: removes what was consumed and records what became of it, in one step.
--
-- KEYS: owner, ready, backlogs, quarantine, attempts, drops, then as the sections below need them.
-- ARGV: token, then section by section a count and so many groups:
--   quarantined  (entry id, reason)
--   entries      (entry id)
--   unparked     (chunk id)              KEYS: set, chunk
--   parks        (chunk id, ms, expires, bytes)   KEYS: set, chunk
--   backlogs     (sink, 1 and its state, or 0 and '': nothing is parked any more)
--   attempts body or '', most entries of attempts, drops body or ''
--
-- Answers {-1}: the token is stale; {0}: already settled; {1, n}: done, n attempts trimmed.
local holder = redis.call('GET', KEYS[1])
if not holder or string.sub(holder, 1, 32) ~= ARGV[1] then
  return { -1 }
end
local ready, backlogs, quarantine, attempts, drops = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local k, a = 6, 1
local function key()
  k = k + 1
  return KEYS[k]
end
local function arg()
  a = a + 1
  return ARGV[a]
end
local function raw(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'c' then
      return fields[i + 1]
    end
  end
  return table.concat(fields, '\n')
end

local asked, gone = 0, 0
for _ = 1, tonumber(arg()) do
  local id, reason = arg(), arg()
  local found = redis.call('XRANGE', ready, id, id)[1]
  if found then
    redis.call('HSET', quarantine, id, raw(found[2]), id .. ':why', reason)
    gone = gone + redis.call('XDEL', ready, id)
  end
  asked = asked + 1
end
for _ = 1, tonumber(arg()) do
  gone = gone + redis.call('XDEL', ready, arg())
  asked = asked + 1
end
for _ = 1, tonumber(arg()) do
  local id, set, chunk = arg(), key(), key()
  if redis.call('ZREM', set, id) == 1 then
    redis.call('DEL', chunk)
    gone = gone + 1
  end
  asked = asked + 1
end
if asked > 0 and gone == 0 then
  return { 0 }
end

for _ = 1, tonumber(arg()) do
  local id, ms, expires, bytes = arg(), arg(), arg(), arg()
  local set, chunk = key(), key()
  redis.call('SET', chunk, bytes, 'PXAT', expires)
  redis.call('ZADD', set, ms, id)
end
for _ = 1, tonumber(arg()) do
  local sink, parked, state = arg(), arg(), arg()
  if parked == '1' then
    redis.call('HSET', backlogs, sink, state)
  else
    redis.call('HDEL', backlogs, sink)
  end
end
local attempted, most, dropped = arg(), arg(), arg()
local trimmed = 0
if attempted ~= '' then
  local before = redis.call('XLEN', attempts)
  redis.call('XADD', attempts, 'MAXLEN', '~', most, '*', 'r', attempted)
  trimmed = before + 1 - redis.call('XLEN', attempts)
end
if dropped ~= '' then
  redis.call('XADD', drops, '*', 'r', dropped)
end
return { 1, trimmed }

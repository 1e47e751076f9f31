#!lua flags=allow-oom
-- Settles: removes what was consumed and records what became of it, in one step.
--
-- Redis takes nothing back when a script fails midway. So it looks first, then writes, then removes: an error
-- leaves what was consumed where it stands, and the same settlement again does the rest.
--
-- KEYS: owner, ready, backlogs, quarantine, attempts, drops, suspects, then as the sections below need them.
-- ARGV: token, then section by section a count and so many groups:
--   quarantined  (entry id, reason)
--   entries      (entry id)
--   unparked     (chunk id)              KEYS: set, chunk
--   quarantined  (chunk id, place, reason)   KEYS: set, chunk   of parked chunks
--   parks        (chunk id, ms, expires, bytes)   KEYS: set, chunk
--   backlogs     (sink, 1 and its state, or 0 and '': nothing is parked any more)   KEYS: both sets of the sink
--   acquitted    (place)
--   1: trusted, or 0; attempts body or '', most entries of attempts, drops body or ''
--
-- Answers {-1}: the token is stale; {0}: already settled; {1, n}: done, n attempts trimmed.
local holder = redis.call('GET', KEYS[1])
if not holder or string.sub(holder, 1, 32) ~= ARGV[1] then
  return { -1 }
end
local ready, backlogs, quarantine, attempts, drops = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local suspects = KEYS[7]
local k, a = 7, 1
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

-- Looks. One chunk that is left is enough: no others are read.
local entries, quarantined, unparked = {}, {}, {}
local left = false
for _ = 1, tonumber(arg()) do
  local id, reason = arg(), arg()
  local found = redis.call('XRANGE', ready, id, id)[1]
  entries[#entries + 1] = id
  if found then
    quarantined[#quarantined + 1] = { id = id, reason = reason, bytes = raw(found[2]) }
    left = true
  end
end
for _ = 1, tonumber(arg()) do
  entries[#entries + 1] = arg()
end
for _ = 1, tonumber(arg()) do
  local one = { id = arg(), set = key(), chunk = key() }
  one.left = redis.call('ZSCORE', one.set, one.id)
  unparked[#unparked + 1] = one
  left = left or one.left
end
for _ = 1, tonumber(arg()) do
  local one = { id = arg(), set = key(), chunk = key() }
  local place, reason = arg(), arg()
  one.left = redis.call('ZSCORE', one.set, one.id)
  unparked[#unparked + 1] = one
  left = left or one.left
  -- One that expired is nothing to keep.
  local bytes = one.left and redis.call('GET', one.chunk)
  if bytes then
    quarantined[#quarantined + 1] = { id = place, reason = reason, bytes = bytes }
  end
end
for _, id in ipairs(entries) do
  left = left or redis.call('XRANGE', ready, id, id)[1]
end
if #entries + #unparked > 0 and not left then
  return { 0 }
end

-- Writes.
for _, one in ipairs(quarantined) do
  redis.call('HSET', quarantine, one.id, one.bytes, one.id .. ':why', one.reason)
end
local placed, kept = {}, {}
for _ = 1, tonumber(arg()) do
  local id, ms, expires, bytes = arg(), arg(), arg(), arg()
  local set, chunk = key(), key()
  redis.call('SET', chunk, bytes, 'PXAT', expires)
  redis.call('ZADD', set, ms, id)
  placed[set .. ' ' .. id], kept[chunk] = true, true
end
local drained = {}
for _ = 1, tonumber(arg()) do
  local sink, parked, state = arg(), arg(), arg()
  local backlog, delayed = key(), key()
  if parked == '1' then
    redis.call('HSET', backlogs, sink, state)
  else
    drained[#drained + 1] = { sink = sink, backlog = backlog, delayed = delayed }
  end
end
local acquitted = {}
for _ = 1, tonumber(arg()) do
  acquitted[#acquitted + 1] = arg()
end
if arg() == '1' then
  acquitted[#acquitted + 1] = 'unclean'
end
local attempted, most, dropped = arg(), arg(), arg()
local trimmed = 0
if dropped ~= '' then
  redis.call('XADD', drops, '*', 'r', dropped)
end
if attempted ~= '' then
  local before = redis.call('XLEN', attempts)
  redis.call('XADD', attempts, 'MAXLEN', '~', most, '*', 'r', attempted)
  trimmed = before + 1 - redis.call('XLEN', attempts)
end

-- Removes, but not what was parked anew under the same name.
for _, one in ipairs(unparked) do
  if one.left and not placed[one.set .. ' ' .. one.id] then
    redis.call('ZREM', one.set, one.id)
  end
  if one.left and not kept[one.chunk] then
    redis.call('DEL', one.chunk)
  end
end
-- Whatever the owner thinks: a sink that has something parked must be found by the next owner.
for _, one in ipairs(drained) do
  if redis.call('EXISTS', one.backlog, one.delayed) == 0 then
    redis.call('HDEL', backlogs, one.sink)
  else
    redis.call('HSETNX', backlogs, one.sink, '')
  end
end
for _, id in ipairs(entries) do
  redis.call('XDEL', ready, id)
end
for _, place in ipairs(acquitted) do
  redis.call('HDEL', suspects, place)
end
return { 1, trimmed }

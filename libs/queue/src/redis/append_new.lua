#!lua
-- Appends a chunk of the events whose marks are not there, and marks them. Without room it is refused before it begins.
-- KEYS: ready, then the mark of each event. ARGV: how long to keep marks in ms, the chunk's head, then each event's part.
-- Answers the places, from 0, of the events that were left out.
local parts, marks, mine, seen = { ARGV[2] }, {}, {}, {}
for i = 2, #KEYS do
  local mark = KEYS[i]
  if mine[mark] or redis.call('EXISTS', mark) == 1 then
    seen[#seen + 1] = i - 2
  else
    mine[mark] = true
    marks[#marks + 1] = mark
    parts[#parts + 1] = ARGV[i + 1]
  end
end
if #marks > 0 then
  redis.call('XADD', KEYS[1], '*', 'c', table.concat(parts))
  for _, mark in ipairs(marks) do
    redis.call('SET', mark, 1, 'PX', ARGV[1])
  end
elseif #KEYS > 1 then
  -- Something is written in any case: who waits for replicas then waits for the event that was appended before, too.
  redis.call('SET', KEYS[2], 1, 'KEEPTTL')
end
return seen

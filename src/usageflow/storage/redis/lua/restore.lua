-- restore: puts back windows of a checkpoint. A window that is live already keeps the higher use.
--
-- KEYS: counters. ARGV: base, now_us, and start, end, used per counter as doubles. Answers how many were put back.
-- Atomic: Redis runs nothing beside a script. Idempotent. O(counters).

local count = 0
for n = 1, #KEYS do
  local start, stop, used = struct.unpack('<ddd', ARGV[3], n * 24 - 23)
  local live = loaded(KEYS[n], call('GET', KEYS[n]), stop - start, false)
  local known = live and live.kind == FIXED_WINDOW and NOW < live.stop and live.used >= used
  if not known and NOW < stop then
    local window = { kind = FIXED_WINDOW, kept = 0, window = stop - start, start = start, stop = stop, used = used }
    save(KEYS[n], succeeds(window, live))
    count = count + 1
  end
end
return count

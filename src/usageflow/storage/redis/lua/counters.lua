-- Prelude: counters, holds and slots in Redis. Every script works on one partition: all of its keys begin with ARGV[1], which
-- names the partition in braces, so that they lie in one slot of a cluster.
--
--   c:<counter>    a state, packed; of CONCURRENCY a sorted set of members by the end of their lives
--   h:<counter>    the holds that end there by themselves, a sorted set by the instant
--   r:<hold>       what a reservation or a lease holds, packed
--   s:<slot>       the sets that a slot id stands in, with the lives there
--   epoch          there since windows were restored: without it counters were lost, and nothing is decided
--
-- What ends is ended at its own instant by the first script that looks: answers never depend on expiry, which only gives
-- memory back, a margin after a key says nothing any more.

local BASE = ARGV[1]
local EPOCH = BASE .. 'epoch'
local LOST = { err = 'UFLOST the counters were lost: restore the windows' }
local MARGIN_MS, MARGIN_US = 60000, 60000000
local LONGEST_MS = 10000000000000 -- 317 years: Redis refuses expiry that overflows
local LONG_WINDOW_US = 3600000000
local KEEP_ENDED_US = 60000000
local RETRY_US = 1000000
local CHUNK = 4000 -- values on the stack at once: Lua bears 8000

local call = redis.call

-- ARGV[2] is the time in microseconds; 0: Redis's own. Suites pass the time of their clocks.
local NOW = tonumber(ARGV[2])
if NOW == 0 then
  local time = call('TIME')
  NOW = time[1] * 1000000 + time[2]
end

local function text(number)
  return string.format('%.0f', number)
end

-- Returns how long a key is kept that says nothing from `until_us` on.
local function kept_ms(until_us)
  local ms = (until_us - NOW) / 1000
  ms = ms > 0 and ms - ms % 1 + MARGIN_MS or MARGIN_MS
  return ms < LONGEST_MS and ms or LONGEST_MS
end

-- Packed states: a tag, four numbers, until when the key is kept, and four more numbers where there are holds (tag + 16).

local function unpacked(raw, window)
  local tag, a, b, c, d, kept = struct.unpack('<Bddddd', raw)
  local kind = tag % 16
  local state
  if kind == FIXED_WINDOW then
    state = { kind = kind, window = window, kept = kept, start = a, stop = b, used = c }
  elseif kind == TOKEN_BUCKET then
    state = { kind = kind, window = window, kept = kept, whole = a, part = b, at = c, rate = d }
  else
    state = { kind = kind, window = window, kept = kept, start = a, previous = b, present = c }
  end
  if tag > 16 then
    state.held, state.leases, state.due, state.last = struct.unpack('<dddd', raw, 42)
  end
  return state
end

local function packed(state)
  local kind = state.kind
  local tag = state.due and kind + 16 or kind
  local raw
  if kind == FIXED_WINDOW then
    raw = struct.pack('<Bddddd', tag, state.start, state.stop, state.used, 0, state.kept)
  elseif kind == TOKEN_BUCKET then
    raw = struct.pack('<Bddddd', tag, state.whole, state.part, state.at, state.rate, state.kept)
  else
    raw = struct.pack('<Bddddd', tag, state.start, state.previous, state.present, 0, state.kept)
  end
  if state.due then
    return raw .. struct.pack('<dddd', state.held, state.leases, state.due, state.last)
  end
  return raw
end

-- Returns a state packed without what only expiry depends on: equal where nothing else happened.
local function compared(state)
  local kept, last = state.kept, state.last
  state.kept, state.last = 0, last and 0
  local raw = packed(state)
  state.kept, state.last = kept, last
  return raw
end

-- Returns the instant from which on a state says nothing. A bucket may drain below what is held only after the last hold.
local function ends_at(state)
  if state.kind == FIXED_WINDOW then
    return state.stop
  elseif state.kind == SLIDING_WINDOW then
    return sliding_end(state)
  end
  local from = state.last and state.last > state.at and state.last or state.at
  return from + (state.whole * state.window + state.part) / state.rate
end

-- Writes a state. A new expiry costs more than all the rest, so it is set for a margin more than is needed, and anew only when less
-- than a margin is left.
local function save(key, state)
  local ends = ends_at(state)
  if ends <= state.kept then
    call('SET', key, packed(state), 'KEEPTTL')
  else
    state.kept = ends + MARGIN_US
    call('SET', key, packed(state), 'PX', kept_ms(state.kept))
  end
end

local function is_long(state)
  return state.kind == FIXED_WINDOW and state.stop - state.start >= LONG_WINDOW_US
end

-- Holds of a counter. A member of the sorted set is the hold's id, a zero byte, and what ends with it.

local LEASE, REFUND = 1, 2 -- flags: a hold is one of these, or 0
local HOLD = '<Bddd'
local HOLD_BYTES = 25

local function holds_of(key)
  return BASE .. 'h:' .. string.sub(key, #BASE + 3)
end

local function member_of(id, flags, window, amount, instance)
  return id .. '\0' .. struct.pack(HOLD, flags, window, amount, instance)
end

-- Tells whether a hold changes a counter when it ends by itself.
local function ends_there(kind, flags)
  return kind == TOKEN_BUCKET or flags ~= 0
end

-- Lets a counter hold units until `ends`.
local function hold(key, state, id, flags, amount, instance, ends)
  local holds = holds_of(key)
  if not state.due then
    call('DEL', holds) -- whatever is there was of a state that is over
    state.held, state.leases, state.due, state.last = 0, 0, ends, ends
  end
  call('ZADD', holds, ends, member_of(id, flags, state.window, amount, instance))
  state.due = ends < state.due and ends or state.due
  state.last = ends > state.last and ends or state.last
  state.leases = state.leases + (flags == LEASE and 1 or 0)
  if state.kind == TOKEN_BUCKET then
    state.held = state.held + amount
  end
  call('PEXPIRE', holds, kept_ms(state.last))
end

-- Notes when the next hold of a state ends, or that it has none.
local function look_ahead(key, state)
  local first = call('ZRANGEBYSCORE', holds_of(key), '(' .. text(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    state.due = tonumber(first[2])
  else
    state.held, state.leases, state.due, state.last = nil, nil, nil, nil
  end
end

-- Takes a hold that somebody ended early off a counter.
local function drop(key, state, id, flags, amount, instance)
  local member = member_of(id, flags, state.window, amount, instance)
  if state.due and call('ZREM', holds_of(key), member) == 1 then
    state.leases = state.leases - (flags == LEASE and 1 or 0)
    look_ahead(key, state)
  end
end

-- Returns a state after the holds that are over, each ended at its own instant. O(those).
local function after_holds(key, state, peeking)
  local holds = holds_of(key)
  local over = call('ZRANGEBYSCORE', holds, '-inf', text(NOW), 'WITHSCORES')
  for n = 1, #over, 2 do
    local member, ends = over[n], tonumber(over[n + 1])
    local flags, window, amount, instance = struct.unpack(HOLD, member, #member - HOLD_BYTES + 1)
    state = end_hold(state, window, ends, amount, flags == REFUND and 0 or amount, instance) or state
    state.leases = state.leases - (flags == LEASE and 1 or 0)
  end
  if not peeking then
    call('ZREMRANGEBYSCORE', holds, '-inf', text(NOW))
  end
  look_ahead(key, state)
  return state
end

-- Returns a state from what is stored, and whether holds of it are over; false where nothing is stored.
local function loaded(key, raw, window, peeking)
  if not raw then
    return false, false
  end
  local state = unpacked(raw, window)
  if state.due and state.due <= NOW then
    return after_holds(key, state, peeking), true
  end
  return state, false
end

-- Slots of CONCURRENCY.

-- Returns the standing of a set for one more member, as `standing` does.
local function slots(key, limit, member, peeking)
  local used
  if peeking then
    used = call('ZCOUNT', key, '(' .. text(NOW), '+inf')
  else
    call('ZREMRANGEBYSCORE', key, '-inf', text(NOW))
    used = call('ZCARD', key)
  end
  local fits = used < limit
  if not fits then
    local ends = call('ZSCORE', key, member)
    fits = ends and tonumber(ends) > NOW
  end
  return limit > used and limit - used or 0, used > 0 and RETRY_US or 0, fits and 0 or RETRY_US, 0
end

local function keep_at_least(key, ms)
  if call('PTTL', key) < ms then
    call('PEXPIRE', key, ms)
  end
end

-- Puts a member into a set, or renews it.
local function enter(key, life, member)
  call('ZADD', key, NOW + life, member)
  keep_at_least(key, kept_ms(NOW + life))
end

local function slot_record(slot_id)
  return BASE .. 's:' .. slot_id
end

-- Lets a slot id remember a set that it stands in.
local function remember(slot_id, key, life)
  local record = slot_record(slot_id)
  call('HSET', record, key, life)
  keep_at_least(record, kept_ms(NOW + life))
end

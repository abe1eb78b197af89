-- Prelude: the arithmetic of usageflow.domain.limits, to the unit and the microsecond, in doubles. It touches no key.
-- Doubles are exact up to 2^53. Counts stay below 2^45 and windows below 2^45 us, so only products can be too long: muldiv.
-- All of it is O(1).

local FIXED_WINDOW, TOKEN_BUCKET, SLIDING_WINDOW, CONCURRENCY = 1, 2, 3, 4
local MAX_COUNT = 35184372088831 -- 2^45 - 1
local MAX_SPAN_US = 9007199254740991 -- 2^53 - 1

-- Returns the whole quotient and the remainder of a * b / c, for whole a < 2^52, b < 2^49 and 0 < c < 2^45.
-- A quotient of 2^53 or more is rounded. Lua's % is x - floor(x / c) * c: exact for whole x < 2^53, since x / c is at least 1 / c
-- below the next whole number, which is more than what rounding adds.
local function muldiv(a, b, c)
  local product = a * b
  if product < 4503599627370496 then -- 2^52: nothing was rounded
    local rest = product % c
    return (product - rest) / c, rest
  end
  local factor = a % c
  -- Long division of factor * b by c, seven bits of b at a time: rest * 128 + factor * 127 < 2^53.
  local quotient, rest, left, scale = 0, 0, b, 4398046511104 -- 2^42
  while scale >= 1 do
    local below = left % scale
    local sum = rest * 128 + factor * ((left - below) / scale)
    rest = sum % c
    quotient = quotient * 128 + (sum - rest) / c
    left, scale = below, scale / 128
  end
  return (a - factor) / c * b + quotient, rest
end

-- Rules: {kind, limit, window, capacity, charge, aligned, [4 bounds]}. States, which only this prelude takes apart:
--   {kind = FIXED_WINDOW, start, stop, used}
--   {kind = TOKEN_BUCKET, whole, part, at, rate}     debt = whole units + part / window
--   {kind = SLIDING_WINDOW, start, previous, present}
-- and each with `window`, until when its key is `kept` and, where it has holds: `held` units, live `leases`, the first hold `due`,
-- the `last` one's end.

local function counted(count, more)
  count = count + more
  return count < 0 and 0 or count > MAX_COUNT and MAX_COUNT or count
end

-- Returns a state that takes the place of `state`: under the same key, with the same holds.
local function succeeds(fresh, state)
  if state then
    fresh.kept = state.kept
    if state.due then
      fresh.held, fresh.leases, fresh.due, fresh.last = state.held, state.leases, state.due, state.last
    end
  end
  return fresh
end

local function drained(state, window, now, rate)
  local whole, part, held = state.whole, state.part, state.held or 0
  local elapsed = now - state.at
  if elapsed > 0 and (whole > held or part > 0) then
    local gone, rest = muldiv(elapsed, state.rate, window)
    whole, part = whole - gone, part - rest
    if part < 0 then
      whole, part = whole - 1, part + window
    end
    if whole < held then
      whole, part = held, 0
    end
  end
  local at = elapsed > 0 and now or state.at
  local fresh = { kind = TOKEN_BUCKET, window = window, kept = 0, whole = whole, part = part, at = at, rate = rate }
  return succeeds(fresh, state)
end

local function current_window(state, rule, now)
  if state and now < state.stop then
    return state
  end
  local start, stop = now, now + rule.window
  if rule.bounds then
    local index = (now >= rule.bounds[2] and 1 or 0) + (now >= rule.bounds[3] and 1 or 0)
    start, stop = rule.bounds[index + 1], rule.bounds[index + 2]
  end
  -- Only where clocks are more than a window apart has the fresh one ended too: it goes on then.
  if state and state.start == start then
    return state
  end
  return succeeds({ kind = FIXED_WINDOW, kept = 0, window = rule.window, start = start, stop = stop, used = 0 }, state)
end

local function current_sliding(state, window, now)
  local past = now % window
  local start = now - past
  if state and state.start >= start then
    return state -- of this window, or of a later one where the clock went back
  end
  local previous = state and state.start >= start - window and state.present or 0
  return succeeds({ kind = SLIDING_WINDOW, kept = 0, window = window, start = start, previous = previous, present = 0 }, state)
end

-- Returns the state as it is now: a window that has ended is fresh, a bucket has drained and goes on at the rule's rate.
local function current(state, rule, now)
  local kind = rule.kind
  if state and state.kind ~= kind then
    state = nil
  end
  if kind == FIXED_WINDOW then
    return current_window(state, rule, now)
  elseif kind == SLIDING_WINDOW then
    return current_sliding(state, rule.window, now)
  elseif not state then
    return { kind = TOKEN_BUCKET, kept = 0, window = rule.window, whole = 0, part = 0, at = now, rate = rule.limit }
  end
  return drained(state, rule.window, now, rule.limit)
end

-- Returns what counts of the window before, rounded up: the share that the sliding window still covers.
local function weighed(state, now)
  local covered = state.start + state.window - now
  if covered > state.window then
    covered = state.window
  end
  local whole, rest = muldiv(state.previous, covered, state.window)
  return rest > 0 and whole + 1 or whole
end

-- Returns how many units fit into a current state; below zero where more were used.
local function room(state, rule, now)
  local kind = state.kind
  if kind == FIXED_WINDOW then
    return rule.limit - state.used
  elseif kind == TOKEN_BUCKET then
    return rule.capacity - state.whole - (state.part > 0 and 1 or 0)
  end
  return rule.limit - state.present - (state.previous > 0 and weighed(state, now) or 0)
end

-- Returns the time in which a bucket of `limit` units per window drains `whole` units and `part`, rounded up.
local function drains_in(whole, part, window, limit)
  if whole < 0 then
    return 0
  end
  local time, rest = muldiv(whole, window, limit)
  rest = rest + part
  local more = rest % limit
  time = time + (rest - more) / limit + (more > 0 and 1 or 0)
  return time < MAX_SPAN_US and time or MAX_SPAN_US
end

local function fades_to(count, left, window)
  if count <= left then
    return 0
  end
  return window - (muldiv(left, window, count))
end

local function sliding_wait(state, left, now)
  if left < 0 then
    return 1 -- never: the cost is above the capacity, which the caller says
  elseif left >= state.present then
    return state.start + fades_to(state.previous, left - state.present, state.window) - now
  end
  return state.start + state.window + fades_to(state.present, left, state.window) - now
end

local function sliding_end(state)
  return state.start + state.window * (state.present > 0 and 2 or state.previous > 0 and 1 or 0)
end

-- Returns where a current state stands for one more request: units that fit, microseconds to the reset, microseconds until
-- the cost fits (-1: never), and the present window's length where it is one of a calendar.
local function standing(state, rule, now, cost)
  local kind, left = state.kind, room(state, rule, now)
  local reset, wait, span = 0, 0, 0
  if kind == FIXED_WINDOW then
    reset = state.stop > now and state.stop - now or 0
    if cost > left then
      wait = reset > 1 and reset or 1
    end
    span = rule.aligned and state.stop - state.start or 0
  elseif kind == TOKEN_BUCKET then
    reset = drains_in(state.whole, state.part, rule.window, rule.limit)
    if cost > left then
      wait = drains_in(cost - rule.capacity + state.whole, state.part, rule.window, rule.limit)
    end
  else
    reset = sliding_end(state) - now
    reset = reset > 0 and reset or 0
    if cost > left then
      wait = sliding_wait(state, rule.limit - cost, now)
    end
  end
  return left > 0 and left or 0, reset, cost > rule.capacity and -1 or wait, span
end

-- Takes from a current state, which changes; a negative cost credits, never below empty.
local function debit(state, cost)
  if state.kind == FIXED_WINDOW then
    state.used = counted(state.used, cost)
  elseif state.kind == SLIDING_WINDOW then
    state.present = counted(state.present, cost)
  else
    local whole = state.whole + cost
    if whole < 0 then
      state.whole, state.part = 0, 0
    elseif whole >= MAX_COUNT then
      state.whole, state.part = MAX_COUNT, 0
    else
      state.whole = whole
    end
  end
end

-- Returns the state after a hold of `amount` units ended with `actual` used; nil where what was debited counts no longer.
local function end_hold(state, window, now, amount, actual, instance)
  if state.kind == TOKEN_BUCKET then
    local after = drained(state, window, now, state.rate)
    local held = (after.held or 0) - amount
    after.held = held > 0 and held or 0
    debit(after, actual - amount)
    return after
  elseif state.kind == FIXED_WINDOW then
    if now >= state.stop or state.start ~= instance then
      return nil
    end
    debit(state, actual - amount)
    return state
  end
  local after = current_sliding(state, window, now)
  if instance == after.start - window then
    after.previous = counted(after.previous, actual - amount)
  elseif instance == after.start then
    debit(after, actual - amount)
  else
    return nil
  end
  return after
end

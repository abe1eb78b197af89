-- Prelude: what take and peek share: decides each take in order, writes what changed once, packs the answers (questions.lua).

local states, dirty, touched = {}, {}, {}
local told, standings, filled = { NOW }, {}, 0

local function put(place, state)
  states[place] = state
  if not dirty[place] then
    dirty[place] = true
    touched[#touched + 1] = place
  end
end

local function stored(place, window, peeking)
  local state = states[place]
  if state == nil then
    local over
    state, over = loaded(KEYS[place], raws[place], window, peeking)
    states[place] = state
    if over then
      put(place, state)
    end
  end
  return state
end

local function answer(a, b, c, d)
  standings[filled + 1], standings[filled + 2], standings[filled + 3], standings[filled + 4] = a, b, c, d
  filled = filled + 4
end

local function tell(number)
  told[#told + 1] = number
end

-- Tells whether all limits of a group fit. `nows` gets their present states.
local function all_fit(first, count, nows, peeking)
  local fit = true
  for n = 1, count do
    local place, rule, cost = numbers[first + 1], rules[numbers[first + 2]], numbers[first + 3]
    first = first + 3
    if rule.kind == CONCURRENCY then
      local _, _, wait = slots(KEYS[place], rule.limit, name(cost), peeking)
      fit = fit and wait == 0
    else
      local state = current(stored(place, rule.window, peeking), rule, NOW)
      nows[n] = state
      if cost > room(state, rule, NOW) then
        fit = false
      end
    end
  end
  return fit
end

-- Whoever was admitted waits for nothing, whether or not the same cost would fit once more.
local function tell_standings(first, count, nows, admitted, peeking)
  for n = 1, count do
    local rule, cost = rules[numbers[first + 2]], numbers[first + 3]
    if rule.kind == CONCURRENCY then
      answer(slots(KEYS[numbers[first + 1]], rule.limit, name(cost), peeking))
    else
      local left, reset, wait, span = standing(nows[n], rule, NOW, cost)
      answer(left, reset, admitted and 0 or wait, span)
    end
    first = first + 3
  end
end

-- Debits a group. For a part that may be undone, `undo` gets what its slots were before.
local function debit_all(first, count, nows, times, undo)
  for n = 1, count do
    local place, rule, cost = numbers[first + 1], rules[numbers[first + 2]], numbers[first + 3]
    first = first + 3
    if rule.kind == CONCURRENCY then
      if undo then
        undo[#undo + 1] = slot_item(KEYS[place], rule.window, name(cost), cost > 0)
      end
      enter(KEYS[place], rule.window, name(cost))
      if cost > 0 then
        remember(name(cost), KEYS[place], rule.window)
      end
    else
      debit(nows[n], cost * times)
      put(place, nows[n])
    end
  end
end

-- Lets a denied request take what is left, where rules say so. A bucket that denies and whose rate was changed goes on at the new
-- one from here, as its wait was told, though nothing was taken.
local function charge_all(first, count, nows)
  for n = 1, count do
    local place, rule, cost = numbers[first + 1], rules[numbers[first + 2]], numbers[first + 3]
    first = first + 3
    local state, before = nows[n], states[place]
    local left = rule.kind ~= CONCURRENCY and room(state, rule, NOW) or 0
    local charged = rule.charges and (left < cost and left or cost) or 0
    if charged > 0 then
      debit(state, charged)
      put(place, state)
    elseif rule.kind == TOKEN_BUCKET and left < cost and before and before.rate and before.rate ~= rule.limit then
      put(place, state)
    end
  end
end

-- Returns how many tokens beside the take itself are leased, and for how long.
local function granted(asked, first, count, nows)
  local tokens, life = numbers[asked + 2], numbers[asked + 3]
  for n = 1, count do
    local rule, cost, state = rules[numbers[first + 2]], numbers[first + 3], nows[n]
    first = first + 3
    if not state then
      return 0, 0 -- slots are not leased
    end
    local left = room(state, rule, NOW) - cost
    local share = 4 * ((state.leases or 0) + 1) * (cost > 1 and cost or 1)
    local most = (left - left % share) / share
    tokens = most < tokens and most or tokens
    if state.kind == FIXED_WINDOW and state.stop - NOW < life then
      life = state.stop - NOW
    end
  end
  if tokens > 0 and life > 0 then
    return tokens, life
  end
  return 0, 0
end

-- Returns the states of a group as they are stored, packed: a part that is undone leaves them so.
local function befores(first, count)
  local before = {}
  for n = 1, count do
    local state = states[numbers[first + 1]]
    before[n] = state and packed(state) or ''
    first = first + 3
  end
  return before
end

-- Holds what a group was debited, `times` its costs, beside the `items` that are there. `before`: it may be undone.
local function hold_all(id, flags, items, before, first, count, nows, times, life, tokens)
  local ends = NOW + life
  local last = ends
  for n = 1, count do
    local place, rule, cost, state = numbers[first + 1], rules[numbers[first + 2]], numbers[first + 3], nows[n]
    first = first + 3
    local held = not rule.once or flags == LEASE
    if state and (held or before) then
      if held and ends_there(rule.kind, flags) then
        hold(KEYS[place], state, id, flags, cost * times, state.start or 0, ends)
      end
      if tokens > 0 and rule.kind == FIXED_WINDOW and state.stop > last then
        last = state.stop
      end
      items[#items + 1] = unit_item(rule, held, KEYS[place], state, cost * times, before and before[n])
    end
  end
  local forget = last + KEEP_ENDED_US
  save_record(id, { flags = flags, settled = 0, ends = ends, forget = forget, tokens = tokens, items = items })
end

local function decide_shadow(peeking)
  local first, count = read_group()
  local nows = {}
  local fit = all_fit(first, count, nows, peeking)
  if not peeking then
    if fit then
      debit_all(first, count, nows, 1)
    else
      charge_all(first, count, nows)
    end
  end
  tell(fit and 1 or 0)
  tell_standings(first, count, nows, fit, peeking)
end

local function take_all(first, count, nows, reserve, lease)
  local tokens, life, items, before = 0, 0, {}, nil
  if lease then
    tokens, life = granted(lease, first, count, nows)
  end
  if reserve and numbers[reserve + 3] >= 2 then
    before = befores(first, count)
  end
  debit_all(first, count, nows, 1, before and items)
  if reserve then
    local flags = numbers[reserve + 3] % 2 == 1 and REFUND or 0
    hold_all(name(numbers[reserve + 1]), flags, items, before, first, count, nows, 1, numbers[reserve + 2], 0)
  end
  if tokens > 0 then
    debit_all(first, count, nows, tokens)
    hold_all(name(numbers[lease + 1]), LEASE, {}, nil, first, count, nows, tokens, life, tokens)
  end
  return tokens, life
end

local function decide(peeking)
  local flags, shadows = numbers[at + 1], numbers[at + 2]
  at = at + 2
  local first, count = read_group()
  local reserve, lease
  if flags % 2 == 1 then
    reserve, at = at, at + 3
  end
  if flags >= 2 then
    lease, at = at, at + 3
  end
  local nows, tokens, life = {}, 0, 0
  local admitted = all_fit(first, count, nows, peeking)
  if not peeking then
    if admitted then
      tokens, life = take_all(first, count, nows, reserve, lease)
    else
      charge_all(first, count, nows)
    end
  end
  tell(admitted and 1 or 0)
  tell_standings(first, count, nows, admitted, peeking)
  if lease then
    tell(tokens)
    tell(life)
  end
  for _ = 1, shadows do
    if admitted or peeking then
      decide_shadow(peeking)
    else
      read_group()
    end
  end
end

local function packed_integers(integers, count)
  local parts = {}
  for first = 1, count, CHUNK do
    local last = first + CHUNK - 1 < count and first + CHUNK - 1 or count
    parts[#parts + 1] = struct.pack('<' .. string.rep('i8', last - first + 1), unpack(integers, first, last))
  end
  return table.concat(parts)
end

-- Writes every counter that changed; returns the long windows among them, packed.
local function write_counters()
  local windows, count = {}, 0
  for n = 1, #touched do
    local place = touched[n]
    local state = states[place]
    save(KEYS[place], state)
    if is_long(state) then
      windows[count + 1], windows[count + 2] = place, state.start
      windows[count + 3], windows[count + 4] = state.stop, state.used
      count = count + 4
    end
  end
  return packed_integers(windows, count)
end

-- Answers all questions; `peeking` changes nothing. O(limits + holds that are over).
local function answer_all(peeking)
  if not read_counters() then
    return LOST
  end
  read_numbers()
  read_rules()
  for _ = 1, numbers[2] do
    decide(peeking)
  end
  local windows = peeking and '' or write_counters()
  return { packed_integers(told, #told), packed_integers(standings, filled), windows }
end

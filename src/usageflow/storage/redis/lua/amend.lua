-- amend: ends reservations and leases, and releases and renews slots, in order.
--
-- KEYS: the epoch. ARGV: base, now_us, then four per amendment: what (S settlement, L lease return, R release, N renewal; of parts
-- of takes that span partitions: U undo, C confirm, T trim), id, number (units or tokens used, tokens left), microseconds by which
-- a trimmed life is shorter. Answers a table: now_us and 1 or 0 per amendment (integers of 8 bytes), then, for each long window
-- that changed, its key and start, end, used.
-- Atomic: Redis runs nothing beside a script. Idempotent by id. O(what was held + holds that are over).

if call('EXISTS', EPOCH) == 0 then
  return LOST
end

local changed, changes = {}, {}

local function save_changed(key, state)
  save(key, state)
  if is_long(state) then
    if not changed[key] then
      changes[#changes + 1] = key
    end
    changed[key] = struct.pack('<i8i8i8', state.start, state.stop, state.used)
  end
end

-- Corrects one counter to `actual` of what was held of it; a bucket whose share ended by itself stays as it is. `ends`: what is
-- left stays held until then.
local function correct(id, record, item, actual, ends)
  if item.held == 0 then
    return
  end
  local state, differs = loaded(item.key, call('GET', item.key), item.window, false)
  if not state or state.kind ~= item.kind then
    return
  end
  local over = record.ends <= NOW
  if not (over and item.kind == TOKEN_BUCKET) then
    local after = end_hold(state, item.window, NOW, item.amount, actual, item.instance)
    state, differs = after or state, differs or after ~= nil
  end
  if not over and ends_there(item.kind, record.flags) then
    drop(item.key, state, id, record.flags, item.amount, item.instance)
    if ends then
      hold(item.key, state, id, record.flags, actual, item.instance, ends)
    end
    differs = true
  end
  if differs then
    save_changed(item.key, state)
  end
end

local function settle(id, actual)
  local record = find_record(id)
  if not record or record.flags == LEASE or (record.ends <= NOW and record.settled == 0) then
    return false
  elseif record.settled == 0 then
    record.settled = 1
    save_record(id, record)
    for n = 1, #record.items do
      correct(id, record, record.items[n], actual > 0 and actual or 0)
    end
  end
  return true
end

local function give_back(id, used)
  local record = find_record(id)
  if not record or record.flags ~= LEASE then
    return false
  elseif record.settled == 0 then
    record.settled = 1
    save_record(id, record)
    used = used < 0 and 0 or used > record.tokens and record.tokens or used
    for n = 1, #record.items do
      local item = record.items[n]
      correct(id, record, item, item.amount / record.tokens * used)
    end
  end
  return true
end

-- Undoes one slot of a part.
local function leave(item)
  if item.amount > NOW then
    call('ZADD', item.key, item.amount, item.member)
    return
  end
  call('ZREM', item.key, item.member)
  if item.instance == 1 then
    call('HDEL', slot_record(item.member), item.key)
  end
end

-- Credits units that no hold kept.
local function credit(item)
  local state = loaded(item.key, call('GET', item.key), item.window, false)
  local held = state.held
  local after = end_hold(state, item.window, NOW, 0, -item.amount, item.instance) or state
  after.held = held
  save_changed(item.key, after)
end

-- Undoes what a part did to one counter: where nothing else happened, all of it; else its units are credited.
local function restore(id, record, item)
  local raw = call('GET', item.key)
  local state = raw and unpacked(raw, item.window)
  if not state or item.after == '' or compared(state) ~= item.after then
    if item.held == 1 then
      correct(id, record, item, 0)
    elseif state and state.kind == item.kind then
      credit(item)
    end
    return
  end
  if item.held == 1 and ends_there(item.kind, record.flags) then
    drop(item.key, state, id, record.flags, item.amount, item.instance)
  end
  if item.before ~= '' then
    save_changed(item.key, unpacked(item.before, item.window))
  else
    state.used = 0
    save_changed(item.key, state) -- tells of a long window that is no more
    call('DEL', item.key)
  end
end

-- Ends a part as if it had never been, save what denied requests are charged. No record, no effect: whoever comes again finds none.
local function undo(id)
  local record = find_record(id)
  if not record or record.ends <= NOW then
    return false
  end
  call('DEL', record_key(id))
  for n = 1, #record.items do
    local item = record.items[n]
    if item.kind == CONCURRENCY then
      leave(item)
    elseif item.charges == 1 and item.amount > 0 and record.flags ~= LEASE then
      correct(id, record, item, item.amount)
    else
      restore(id, record, item)
    end
  end
  return true
end

-- Ends a part that all other parts agree with: its units were used.
local function confirm(id)
  local record = find_record(id)
  if not record or record.ends <= NOW then
    return false
  end
  call('DEL', record_key(id))
  for n = 1, #record.items do
    local item = record.items[n]
    if ends_there(item.kind, record.flags) then
      correct(id, record, item, item.amount)
    end
  end
  return true
end

-- Cuts a lease down to what all of its parts could grant.
local function trim(id, tokens, less)
  local record = find_record(id)
  if not record or record.flags ~= LEASE or record.ends <= NOW then
    return false
  end
  local ends = record.ends - less
  for n = 1, #record.items do
    local item = record.items[n]
    local amount = item.amount / record.tokens * tokens
    correct(id, record, item, amount, ends)
    item.amount = amount
  end
  record.tokens, record.ends = tokens, ends
  save_record(id, record)
  return true
end

local function release(slot_id)
  local record, found = slot_record(slot_id), 0
  local sets = call('HGETALL', record)
  for n = 1, #sets, 2 do
    call('ZREMRANGEBYSCORE', sets[n], '-inf', text(NOW))
    found = found + call('ZREM', sets[n], slot_id)
  end
  call('DEL', record)
  return found > 0
end

local function renew(slot_id)
  local record, found = slot_record(slot_id), false
  local sets = call('HGETALL', record)
  for n = 1, #sets, 2 do
    local ends, life = call('ZSCORE', sets[n], slot_id), tonumber(sets[n + 1])
    if ends and tonumber(ends) > NOW then
      enter(sets[n], life, slot_id)
      keep_at_least(record, kept_ms(NOW + life))
      found = true
    end
  end
  return found
end

local AMENDMENTS = { S = settle, L = give_back, R = release, N = renew, U = undo, C = confirm, T = trim }

local done = { struct.pack('<i8', NOW) }
for n = 3, #ARGV, 4 do
  local found = AMENDMENTS[ARGV[n]](ARGV[n + 1], tonumber(ARGV[n + 2]), tonumber(ARGV[n + 3]))
  done[#done + 1] = struct.pack('<i8', found and 1 or 0)
end
local answer = { table.concat(done) }
for n = 1, #changes do
  answer[#answer + 1], answer[#answer + 2] = changes[n], changed[changes[n]]
end
return answer

-- Prelude: the records of holds, which say what a reservation or a lease holds until it is forgotten.

local HEAD, ITEM = '<BBdddB', '<BdddBHc0Hc0Hc0Hc0'

local function record_key(id)
  return BASE .. 'r:' .. id
end

-- What holds an item under a record's flags: one that counts requests (charges >= 2) is kept whatever becomes of the others.
local function flags_of(flags, charges)
  return charges >= 2 and 0 or flags
end

-- A record: flags, settled, when it ends and is forgotten, tokens, items of {kind, window, amount, instance, charges, key, member,
-- before, after}. `before` and `after` are the states around a part that may be undone. An item of CONCURRENCY is a slot that may
-- be undone: `amount` is when its life would have ended before, `instance` is 1 where its member is the slot id.
local function save_record(id, record)
  local parts = { struct.pack(HEAD, record.flags, record.settled, record.ends, record.forget, record.tokens, #record.items) }
  for n = 1, #record.items do
    local item = record.items[n]
    local head = { item.kind, item.window, item.amount, item.instance, item.charges }
    local key, member, before, after = item.key, item.member, item.before, item.after
    head[6], head[7], head[8], head[9] = #key, key, #member, member
    head[10], head[11], head[12], head[13] = #before, before, #after, after
    parts[n + 1] = struct.pack(ITEM, unpack(head, 1, 13))
  end
  call('SET', record_key(id), table.concat(parts), 'PX', kept_ms(record.forget))
end

-- Returns a record that is not forgotten yet.
local function find_record(id)
  local raw = call('GET', record_key(id))
  if not raw then
    return nil
  end
  local flags, is_settled, ends, forget, tokens, count, place = struct.unpack(HEAD, raw)
  if forget <= NOW then
    return nil
  end
  local items = {}
  for n = 1, count do
    local item = {}
    item.kind, item.window, item.amount, item.instance, item.charges, item.key, item.member, item.before, item.after, place =
      struct.unpack(ITEM, raw, place)
    items[n] = item
  end
  return { flags = flags, settled = is_settled, ends = ends, forget = forget, tokens = tokens, items = items }
end

-- Returns an item of a counter. `before` nil: it will not be undone.
local function unit_item(rule, key, state, amount, before)
  return {
    kind = rule.kind,
    window = rule.window,
    amount = amount,
    instance = state.start or 0,
    charges = (rule.charges and 1 or 0) + (rule.once and 2 or 0),
    key = key,
    member = '',
    before = before or '',
    after = before and compared(state) or '',
  }
end

-- Returns the item that undoes a slot which is about to be taken.
local function slot_item(key, life, member, own)
  local ends = call('ZSCORE', key, member)
  return {
    kind = CONCURRENCY,
    window = life,
    amount = ends and tonumber(ends) or 0,
    instance = own and 1 or 0,
    charges = 0,
    key = key,
    member = member,
    before = '',
    after = '',
  }
end

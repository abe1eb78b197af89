-- Prelude: the records of holds, which say what a reservation or a lease holds until it is forgotten.

local HEAD, ITEM = '<BBdddB', '<BdddBBHc0Hc0Hc0Hc0'

local function record_key(id)
  return BASE .. 'r:' .. id
end

-- A record: flags, settled, when it ends and is forgotten, tokens, items of {kind, window, amount, instance, charges, held, key,
-- member, before, after}. `before` and `after` are the states around a part that may be undone. What is not `held` may only be undone:
-- units that are neither settled nor kept, and slots, whose `amount` is when their life would have ended before and whose
-- `instance` is 1 where their member is the slot id.
local function save_record(id, record)
  local parts = { struct.pack(HEAD, record.flags, record.settled, record.ends, record.forget, record.tokens, #record.items) }
  for n = 1, #record.items do
    local item = record.items[n]
    local head = { item.kind, item.window, item.amount, item.instance, item.charges, item.held }
    local key, member, before, after = item.key, item.member, item.before, item.after
    head[7], head[8], head[9], head[10] = #key, key, #member, member
    head[11], head[12], head[13], head[14] = #before, before, #after, after
    parts[n + 1] = struct.pack(ITEM, unpack(head, 1, 14))
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
    item.kind, item.window, item.amount, item.instance, item.charges, item.held, item.key, item.member, item.before, item.after, place =
      struct.unpack(ITEM, raw, place)
    items[n] = item
  end
  return { flags = flags, settled = is_settled, ends = ends, forget = forget, tokens = tokens, items = items }
end

-- Returns an item of a counter. `before` nil: it will not be undone.
local function unit_item(rule, held, key, state, amount, before)
  return {
    kind = rule.kind,
    window = rule.window,
    amount = amount,
    instance = state.start or 0,
    charges = rule.charges and 1 or 0,
    held = held and 1 or 0,
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
    held = 0,
    key = key,
    member = member,
    before = '',
    after = '',
  }
end

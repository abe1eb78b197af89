-- Prelude: the records of holds, which say what a reservation or a lease holds until it is forgotten.

local HEAD, ITEM = '<BBdddB', '<BdddBHc0Hc0'

local function record_key(id)
  return BASE .. 'r:' .. id
end

-- A record: flags, settled, when it ends and is forgotten, tokens, items of {kind, window, amount, instance, charges, key, member}.
-- An item of CONCURRENCY is a slot that may be undone: `amount` is when its life would have ended before, `instance` is 1 where
-- its member is the slot id.
local function save_record(id, record)
  local parts = { struct.pack(HEAD, record.flags, record.settled, record.ends, record.forget, record.tokens, #record.items) }
  for n = 1, #record.items do
    local item = record.items[n]
    parts[n + 1] = struct.pack(
      ITEM, item.kind, item.window, item.amount, item.instance, item.charges, #item.key, item.key, #item.member, item.member)
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
    item.kind, item.window, item.amount, item.instance, item.charges, item.key, item.member, place =
      struct.unpack(ITEM, raw, place)
    items[n] = item
  end
  return { flags = flags, settled = is_settled, ends = ends, forget = forget, tokens = tokens, items = items }
end

-- Returns the item that undoes a slot which is about to be taken.
local function slot_item(key, life, member, own)
  local ends = call('ZSCORE', key, member)
  local item = { kind = CONCURRENCY, window = life, amount = ends and tonumber(ends) or 0, charges = 0, key = key, member = member }
  item.instance = own and 1 or 0
  return item
end

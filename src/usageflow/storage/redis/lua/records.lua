-- Prelude: the records of holds, which say what a reservation or a lease holds until it is forgotten.

local HEAD, ITEM = '<BBdddB', '<BdddHc0'

local function record_key(id)
  return BASE .. 'r:' .. id
end

-- A record: flags, settled, when it ends and is forgotten, tokens, items of {kind, window, amount, instance, key}.
local function save_record(id, record)
  local parts = { struct.pack(HEAD, record.flags, record.settled, record.ends, record.forget, record.tokens, #record.items) }
  for n = 1, #record.items do
    local item = record.items[n]
    parts[n + 1] = struct.pack(ITEM, item.kind, item.window, item.amount, item.instance, #item.key, item.key)
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
    local kind, window, amount, instance, key
    kind, window, amount, instance, key, place = struct.unpack(ITEM, raw, place)
    items[n] = { kind = kind, window = window, amount = amount, instance = instance, key = key }
  end
  return { flags = flags, settled = is_settled, ends = ends, forget = forget, tokens = tokens, items = items }
end

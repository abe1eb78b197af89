-- Prelude: reads what take and peek are asked.
--
-- KEYS: the epoch, then the distinct counters. ARGV: base, now_us, numbers, names ... The numbers are doubles:
--   how many rules, how many takes
--   each rule: kind, limit, window, capacity, charges, aligned, four bounds or zeros, once (counts requests: never held)
--   each take: flags (1 reserves, 2 leases), how many shadows, how many limits; its limits; [reservation: name, life, what
--     (0 kept at its end, 1 refunded; + 2 for a part of a take that spans partitions, which may be undone: slots too)];
--     [lease: name, tokens, life]; each shadow: how many limits; its limits
--   each limit: place in KEYS, rule, cost; of CONCURRENCY the member's name, below zero where that is not the slot id
-- The answer is three strings of integers of 8 bytes:
--   now_us, and per take: admitted; [tokens, life]; where it was admitted or is peeked at, per shadow: admitted
--   per limit of all these, in their order: a standing, four integers
--   per long window that changed: place in KEYS, start, end, used

local numbers, at = {}, 2
local rules, raws = {}, {}
local names_before = 3 -- the first name is ARGV[4]

local function read_numbers()
  local blob = ARGV[3]
  local left, place = #blob / 8, 1
  while left > 0 do
    local some = left < CHUNK and left or CHUNK
    local part, before = { struct.unpack('<' .. string.rep('d', some), blob, place) }, (place - 1) / 8
    if before == 0 then
      numbers = part
    else
      for n = 1, some do
        numbers[before + n] = part[n]
      end
    end
    left, place = left - some, place + some * 8
  end
end

local function read_rules()
  for n = 1, numbers[1] do
    local rule = {
      kind = numbers[at + 1],
      limit = numbers[at + 2],
      window = numbers[at + 3],
      capacity = numbers[at + 4],
      charges = numbers[at + 5] == 1,
      aligned = numbers[at + 6] == 1,
      bounds = false,
      once = numbers[at + 11] == 1,
    }
    if numbers[at + 10] > 0 then
      rule.bounds = { numbers[at + 7], numbers[at + 8], numbers[at + 9], numbers[at + 10] }
    end
    rules[n], at = rule, at + 11
  end
end

-- Reads all counters at once; tells whether there is an epoch. A set of slots reads as nothing here.
local function read_counters()
  for first = 1, #KEYS, CHUNK do
    local last = first + CHUNK - 1
    local some = call('MGET', unpack(KEYS, first, last < #KEYS and last or #KEYS))
    for n = 1, #some do
      raws[first + n - 1] = some[n]
    end
  end
  return raws[1]
end

local function name(number)
  return ARGV[names_before + (number < 0 and -number or number)]
end

-- Reads past one group of limits; returns where it begins and how many there are.
local function read_group()
  local count, first = numbers[at + 1], at + 1
  at = first + 3 * count
  return first, count
end

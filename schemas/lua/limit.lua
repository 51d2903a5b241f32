-- A share of a limit that a fleet keeps together, for one process and a second or so: of a rate, over
-- a true sliding window, or of a budget, from the beginning of a day or a month to its end.
-- KEYS: limit (a hash). ARGV: instance, generation of the share held, requests and tokens per window
-- (0: no such limit), window in ms (0: a budget; its key is that of its period), lifetime of a share in
-- ms, requests and tokens left of the share, requests and tokens wanted, 1 when what was spent while we
-- were away is told, else 0, for how many ms the provider wants to see nobody (0: it said nothing), what
-- the store knows as spent of a budget (-1: not asked), the channel on which everybody is asked to tell
-- what it has spent, and what is said there; then for each moment since the last question: its age in
-- ms, requests and tokens spent then (tokens may be negative: what was estimated too high).
-- Returns {generation, requests granted, tokens granted, processes at it, ms until more comes free,
-- 1 when the share is not known here: then tell what was spent in the whole window, 1 when nobody has
-- said yet what the store knows of the budget: ask it, and tell, requests and tokens that nobody has}.
--
-- What is spent is counted in tenths of a second until its whole bucket is older than the window; of a
-- budget there is one bucket, which never leaves. A
-- share is counted in the bucket of the last moment it may be spent at, and moves to the buckets of
-- what was really spent when its holder says so; what it has left comes back. A holder whose
-- generation is not the one we know has not heard our last answer, or is another life of the
-- process: its old share stays counted, since nobody can say what became of it. When we were away or
-- have forgotten all, everybody is asked to tell what it has spent, and nothing is granted for HOLD ms.
local key, WIDTH, HOLD, CALM, LOOK = KEYS[1], 100, 1000, 5000, 1000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local max_r, max_t, window, life = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local left_r, left_t, want_r, want_t = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local function number(field) return tonumber(redis.call('HGET', key, field) or 0) end
local sum_r, sum_t, first = number('r'), number('t'), number('first')
local calendar = window == 0
local function bucket(ms) return calendar and 1 or math.floor(ms / WIDTH) end
local last = bucket(now + life)

local function add(n, r, t)
  if n < first or (r == 0 and t == 0) then return end
  r, t = r + 0, t + 0 -- Redis takes no -0
  redis.call('HINCRBY', key, 'r' .. n, r)
  redis.call('HINCRBY', key, 't' .. n, t)
  sum_r, sum_t = sum_r + r, sum_t + t
end

-- What is older than the window.
local oldest = bucket(now - window)
if first == 0 then first = oldest end
for n = first, math.min(oldest, first + 1000) - 1 do
  sum_r, sum_t = sum_r - number('r' .. n), sum_t - number('t' .. n)
  redis.call('HDEL', key, 'r' .. n, 't' .. n)
end
if first + 1000 < oldest then -- nothing lives that long
  redis.call('DEL', key)
  sum_r, sum_t = 0, 0
end
first = math.max(first, oldest)

-- The share held so far, and what was spent of it.
local mine = redis.call('HGET', key, 'share ' .. ARGV[1])
local generation = 0
if mine then
  local g, n, r, t, era = string.match(mine, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  generation = tonumber(g)
  if g == ARGV[2] then add(tonumber(n), -tonumber(r), -tonumber(t)) end
  mine = tonumber(era)
end
local forgot = not mine and tonumber(ARGV[2]) > 0
local held = number('held')
if (forgot or ARGV[11] == '1') and now > held + CALM then
  held = now + HOLD
  redis.call('HSET', key, 'held', held)
  redis.call('PUBLISH', ARGV[14], ARGV[15])
end
local pause, seed = tonumber(ARGV[12]), tonumber(ARGV[13])
if pause > 0 and now + pause > held then
  held = now + pause
  redis.call('HSET', key, 'held', held)
end
for i = 16, #ARGV, 3 do
  add(bucket(now - tonumber(ARGV[i])), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
end

-- A budget begins with what the store knows.
local unknown = calendar and not redis.call('HGET', key, 'seeded')
if unknown and seed >= 0 then
  add(1, 0, seed)
  redis.call('HSET', key, 'seeded', 1)
  unknown = false
end

-- How many processes want something, counted anew every five seconds; of a budget, every ten minutes.
local era, members = math.floor(now / (calendar and 600000 or 5000)), 0
if want_r > 0 and mine ~= era then
  members = redis.call('HINCRBY', key, 'members' .. era, 1)
  redis.call('HDEL', key, 'members' .. era - 2)
else
  members = number('members' .. era)
end
members = math.max(members, number('members' .. era - 1), 1)

-- Half of what is free, if others want it too: the next one that asks gets the half of the rest.
local function grant(max, sum, left, want)
  if forgot or unknown or now < held then return 0 end
  if max == 0 then return want end
  local free = math.max(max - sum - left, 0)
  if members > 1 then free = math.ceil(free / 2) end
  return math.min(want, free)
end
local free_r, free_t = math.max(max_r - sum_r - left_r, 0), math.max(max_t - sum_t - left_t, 0)
local got_r, got_t = grant(max_r, sum_r, left_r, want_r), grant(max_t, sum_t, left_t, want_t)
generation = generation + 1
add(last, left_r + got_r, left_t + got_t)
redis.call('HSET', key, 'share ' .. ARGV[1],
  string.format('%d %d %d %d %d', generation, last, left_r + got_r, left_t + got_t, want_r > 0 and era or mine or 0))

-- When more comes free: the first bucket with something in it leaves the window. Sooner, if we left something for others
-- that they may not want, or if others hold shares, of which something may come back: where that is worth a question,
-- which is a fiftieth of the limit.
local function is_worth(max, n) return max == 0 or n > max / 50 end
local function is_lent()
  local r, t = -left_r - got_r, -left_t - got_t
  for n = bucket(now) + 1, last do r, t = r + number('r' .. n), t + number('t' .. n) end
  return is_worth(max_r, r) and is_worth(max_t, t)
end
local wait = 0
if not calendar and (got_r < want_r or got_t < want_t) then
  local n = first
  while n < last and number('r' .. n) == 0 and number('t' .. n) == 0 do n = n + 1 end
  wait = (n + 1) * WIDTH + window - now
  if wait > LOOK and ((is_worth(max_r, free_r - got_r) and is_worth(max_t, free_t - got_t)) or is_lent()) then wait = LOOK end
end
if forgot then
  wait = 0
elseif now < held then
  wait = held - now
end
redis.call('HSET', key, 'r', sum_r)
redis.call('HSET', key, 't', sum_t)
redis.call('HSET', key, 'first', first)
redis.call('PEXPIRE', key, calendar and 172800000 or window + life + 60000)
return {generation, got_r, got_t, members, wait, forgot and 1 or 0, unknown and 1 or 0, free_r, free_t}

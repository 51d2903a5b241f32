-- Takes the claim on one slot, or says what is known of it already.
-- KEYS: claim, kept, done, cancelled. ARGV: instance, incarnation, lifetime of the claim in ms.
-- Returns {"done", text} | {"kept", bytes} | {"held", "INSTANCE INCARNATION"} | {"claimed"}; the last two
-- with "cancelled" behind them when the request was.
-- What is cancelled is claimed all the same: somebody has to say so, and only one.
local done = redis.call('GET', KEYS[3])
if done then return {'done', done} end
local kept = redis.call('GET', KEYS[2])
if kept then return {'kept', kept} end
local cancelled = redis.call('GET', KEYS[4]) and 'cancelled' or nil
local mine = ARGV[1] .. ' ' .. ARGV[2]
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= mine then
  local instance, incarnation = string.match(holder, '^(.*) (%d+)$')
  -- Our own earlier life held it: that process is gone, whatever its claim says.
  if not (instance == ARGV[1] and tonumber(incarnation) < tonumber(ARGV[2])) then
    return {'held', holder, cancelled}
  end
end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[3])
return {'claimed', '', cancelled}

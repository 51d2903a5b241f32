-- Appends one turn to a conversation; turns move only forward, and a gap forgets the list (the
-- reader then takes the history from PostgreSQL).
-- KEYS: conversation. ARGV: turn, the turn as JSON {"turn":n,...}, lifetime in s, most turns kept.
-- Returns the number of turns held.
local turn = tonumber(ARGV[1])
local last = redis.call('LINDEX', KEYS[1], -1)
if last then
  local known = tonumber(string.match(last, '^{"turn":(%d+)'))
  if known == nil or known < turn - 1 then
    redis.call('DEL', KEYS[1])
    last = nil
  elseif known >= turn then
    return redis.call('LLEN', KEYS[1])
  end
end
if not last and turn > 1 then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[4]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('LLEN', KEYS[1])

-- A worker says that it is there, and how many there are is told.
-- KEYS: members (a hash). ARGV: instance, how long its word holds in ms (0: it leaves).
-- Returns the number of those whose word holds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local life = tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], now + life)
redis.call('PEXPIRE', KEYS[1], 60000)
local all, count = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) > now then
    count = count + 1
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return count

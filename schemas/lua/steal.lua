-- Takes over the claim of a process that was found dead, unless it changed hands meanwhile.
-- KEYS: claim. ARGV: holder as seen, instance, incarnation, lifetime in ms. Returns 1 when taken.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return 1

-- Takes over the claim of a process that was found dead, unless it changed hands meanwhile. The dead
-- stay written in front of the holder, see claim.lua.
-- KEYS: claim. ARGV: claim as seen, instance, incarnation, lifetime in ms.
-- Returns 0: not taken; 1: taken from the dead; 2: nobody held it any more.
local claim = redis.call('GET', KEYS[1])
if claim and claim ~= ARGV[1] then return 0 end
local mine = ARGV[2] .. ' ' .. ARGV[3]
redis.call('SET', KEYS[1], claim and claim .. '\n' .. mine or mine, 'PX', ARGV[4])
return claim and 1 or 2

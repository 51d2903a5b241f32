-- The holder makes a second call for the same answer beside its first: who takes the claim over from it
-- must know of both. A line "INSTANCE INCARNATION hedge" goes in front of the holder's, see claim.lua.
-- KEYS: claim. ARGV: instance, incarnation.
local claim = redis.call('GET', KEYS[1])
local mine = ARGV[1] .. ' ' .. ARGV[2]
if not claim then return 0 end
local before, holder = string.match(claim, '^(.*\n)([^\n]*)$')
before, holder = before or '', holder or claim
if holder ~= mine then return 0 end
redis.call('SET', KEYS[1], before .. mine .. ' hedge\n' .. mine, 'KEEPTTL')
return 1

-- Gives a claim back that is still ours. What stands in front of us, see claim.lua, stays for whoever
-- takes the slot up next, in front of an empty line: the last of those lives was taken for dead, and if it has
-- only slept it must not be waited for. KEYS: claim. ARGV: instance, incarnation.
local claim = redis.call('GET', KEYS[1])
local mine = ARGV[1] .. ' ' .. ARGV[2]
if not claim or string.sub(claim, -#mine) ~= mine then return 0 end
if claim == mine then return redis.call('DEL', KEYS[1]) end
local ended, line = string.match(claim, '^(.*)\n([^\n]*)$')
if line ~= mine then return 0 end
-- Both calls of a hedge of ours are told of by ourselves.
local others = {}
for life in string.gmatch(ended, '[^\n]+') do
  if life ~= mine .. ' hedge' then others[#others + 1] = life end
end
if #others == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], table.concat(others, '\n') .. '\n', 'KEEPTTL')
return 1

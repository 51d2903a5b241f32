-- Gives a claim back that is still ours. KEYS: claim. ARGV: instance, incarnation.
if redis.call('GET', KEYS[1]) == ARGV[1] .. ' ' .. ARGV[2] then
  return redis.call('DEL', KEYS[1])
end
return 0

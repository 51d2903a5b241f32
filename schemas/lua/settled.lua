-- A final result is stored: leave the mark, drop what was kept, tell who waits.
-- KEYS: done, then any number of claim and kept keys. ARGV: text, lifetime in ms, channel, message.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 1

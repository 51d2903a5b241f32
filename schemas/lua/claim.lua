-- Takes the claim on one slot, or says what is known of it already.
-- KEYS: claim, kept, done, cancelled. ARGV: instance, incarnation, lifetime of the claim in ms.
-- The claim has a life a line, "INSTANCE INCARNATION": the holder last, and before it those that
-- ended with the slot in hand, and may have paid for a call that nobody else tells of. "INSTANCE INCARNATION
-- hedge" is the second call of such a life (hedge.lua). An empty last line: nobody holds it (release.lua).
-- Returns {"done", text} | {"kept", bytes} | {"held", claim} | {"claimed", lives that ended}; the last
-- two with "cancelled" behind them when the request was.
-- What is cancelled is claimed all the same: somebody has to say so, and only one.
local done = redis.call('GET', KEYS[3])
if done then return {'done', done} end
local kept = redis.call('GET', KEYS[2])
if kept then return {'kept', kept} end
local cancelled = redis.call('GET', KEYS[4]) and 'cancelled' or nil
local mine = ARGV[1] .. ' ' .. ARGV[2]
local claim = redis.call('GET', KEYS[1])
local ended = ''
if claim then
  local before, holder = string.match(claim, '^(.*\n)([^\n]*)$')
  before, holder = before or '', holder or claim
  ended = before
  if holder == '' then
    -- We were taken for dead, and tell of our calls ourselves.
    ended = ''
    for life in string.gmatch(before, '[^\n]+') do
      if life ~= mine and life ~= mine .. ' hedge' then ended = ended .. life .. '\n' end
    end
  elseif holder ~= mine then
    local instance, incarnation = string.match(holder, '^(.*) (%d+)$')
    -- Our own earlier life held it: that process is gone, whatever its claim says.
    if not (instance == ARGV[1] and tonumber(incarnation) < tonumber(ARGV[2])) then
      return {'held', claim, cancelled}
    end
    ended = claim .. '\n'
  end
end
if #ended > 2000 then ended = string.match(string.sub(ended, -2000), '\n(.*)$') or '' end
redis.call('SET', KEYS[1], ended .. mine, 'PX', ARGV[3])
return {'claimed', ended, cancelled}

// Lua scripts of the saved forms. The ledger has one line per form: id, user, size in bytes and expiry in ms.

const ledgerLine = "'(%S+) (%S+) (%d+) (%d+)\\n'";

/**
 * Saves a form and lists it in the ledger, if that exceeds no limit; an older form with the same id is replaced.
 * Keys: form, ledger. Arguments: id, user, sealed form, TTL in ms, time in ms, TTL of the ledger in ms, and the limits:
 * forms of the user, their bytes, forms, and their bytes. Returns the four sizes with the new form.
 */
export const putWithinLimits = `
local size = #ARGV[3]
local usage = { 1, size, 1, size }
local lines = {}
for id, user, bytes, expiry in string.gmatch(redis.call('GET', KEYS[2]) or '', ${ledgerLine}) do
  if id ~= ARGV[1] and tonumber(expiry) > tonumber(ARGV[5]) then
    if user == ARGV[2] then
      usage[1] = usage[1] + 1
      usage[2] = usage[2] + tonumber(bytes)
    end
    usage[3] = usage[3] + 1
    usage[4] = usage[4] + tonumber(bytes)
    lines[#lines + 1] = id .. ' ' .. user .. ' ' .. bytes .. ' ' .. expiry .. '\\n'
  end
end
for i = 1, 4 do
  if usage[i] > tonumber(ARGV[6 + i]) then return usage end
end
local expiry = string.format('%.0f', tonumber(ARGV[5]) + tonumber(ARGV[4]))
lines[#lines + 1] = ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. size .. ' ' .. expiry .. '\\n'
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('SET', KEYS[2], table.concat(lines), 'PX', ARGV[6])
return usage`;

/** Removes a form, also from the ledger, and returns it. Keys: form, ledger. Arguments: id. */
export const takeForm = `
local form = redis.call('GET', KEYS[1])
if not form then return false end
redis.call('DEL', KEYS[1])
local lines = {}
for id, user, bytes, expiry in string.gmatch(redis.call('GET', KEYS[2]) or '', ${ledgerLine}) do
  if id ~= ARGV[1] then lines[#lines + 1] = id .. ' ' .. user .. ' ' .. bytes .. ' ' .. expiry .. '\\n' end
end
if #lines == 0 then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], table.concat(lines), 'KEEPTTL') end
return form`;

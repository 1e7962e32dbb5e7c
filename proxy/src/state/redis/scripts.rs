//! What runs inside Redis, in Lua: a script is the only thing there that reads before it writes and
//! still is whole or not at all. Every script may run twice, as when its answer was lost. None
//! walks the keyspace, and none is handed more than one part of a copy.

use std::sync::LazyLock;

use redis::Script;

/// Bytes of dumps that one READ returns before it stops, and one STAGE takes.
pub(super) const PART_BYTES: usize = 1 << 20;
/// Keys that one READ, STAGE or RELEASE is handed.
pub(super) const PART_KEYS: usize = 128;
/// How long staged keys live if nothing becomes of them; every import begins it anew.
pub(super) const STAGED_MS: u64 = 600_000;

/// KEYS: keys. ARGV: bytes after which to stop; bytes left of the service's bound.
/// Returns the bytes, then dump and PTTL of each key for as far as it came: what is over the bound
/// is counted and not sent. In one script, so that a key's dump and time to live agree.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local stop, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local sum, out = 0, {0}
for _, key in ipairs(KEYS) do
  local dump = redis.call('DUMP', key)
  if dump then sum = sum + #dump end
  if sum > left then return {sum} end
  out[#out + 1] = dump or ''
  out[#out + 1] = redis.call('PTTL', key)
  if sum >= stop then break end
end
out[1] = sum
return out",
    )
});

/// KEYS: manifest. ARGV: kind (full, delta, more), prefix of staged names, life of what is staged,
/// version it builds on, version it makes (empty if more parts follow), then for each key its name,
/// what (old, gone, or what is left of its life; 0 for no end) and dump.
/// A manifest without a version is half staged and refused by FENCE.
pub(super) static STAGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local manifest, kind, prefix, life = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local since, version = ARGV[4], ARGV[5]
local before = redis.call('HGET', manifest, 'prefix')
if kind ~= 'full' and before ~= prefix then
  return redis.error_reply('UNSTAGED nothing of this handoff is staged any more')
end
if kind == 'delta' then
  local has = redis.call('HGET', manifest, 'version')
  if has == version and version ~= since then return 1 end
  if has ~= since then
    return redis.error_reply('UNSTAGED what is staged is not what the delta builds on')
  end
end
-- A full server refuses a script at its first write or not at all, and refuses this one.
redis.call('HSET', manifest, 'prefix', prefix)
redis.call('HDEL', manifest, 'version')
if kind == 'full' then
  for _, field in ipairs(redis.call('HKEYS', manifest)) do
    if before and string.sub(field, 1, 2) == 'k:' then
      redis.call('UNLINK', before .. string.sub(field, 3))
    end
  end
  redis.call('DEL', manifest)
  redis.call('HSET', manifest, 'prefix', prefix)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 6, #ARGV, 3 do
  local key, what, dump = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if what == 'old' then
    redis.call('HSET', manifest, 'o:' .. key, '')
  elseif what == 'gone' then
    redis.call('UNLINK', prefix .. key)
    redis.call('HDEL', manifest, 'k:' .. key)
  else
    local left = tonumber(what)
    redis.call('RESTORE', prefix .. key, life, dump, 'REPLACE')
    local ends = '0'
    if left > 0 then ends = string.format('%.0f', now + left) end
    redis.call('HSET', manifest, 'k:' .. key, ends)
  end
end
if version == '' then
  redis.call('PEXPIRE', manifest, life)
  return 1
end
-- Renewed at half-time only: in the cut this would be one more command for every key.
if kind ~= 'full' and redis.call('PTTL', manifest) < life / 2 then
  for _, field in ipairs(redis.call('HKEYS', manifest)) do
    if string.sub(field, 1, 2) == 'k:' then
      redis.call('PEXPIRE', prefix .. string.sub(field, 3), life)
    end
  end
  redis.call('PEXPIRE', manifest, life)
elseif kind == 'full' then
  redis.call('PEXPIRE', manifest, life)
end
redis.call('HSET', manifest, 'version', version)
return 1",
    )
});

/// KEYS: manifest, fence, live. ARGV: epoch; how long fence and live are remembered.
/// All that can be refused is refused before the first write, and the first write is the one that a
/// full server refuses. What is staged is renamed, so this takes its time by keys, not by bytes.
pub(super) static FENCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local manifest, epoch = KEYS[1], tonumber(ARGV[1])
local has = tonumber(redis.call('GET', KEYS[2]) or '0')
if has > epoch then
  return redis.error_reply('FENCED epoch ' .. string.format('%.0f', has) .. ' was here already')
end
local fields = redis.call('HGETALL', manifest)
local prefix, version, keys, old = nil, nil, {}, {}
for i = 1, #fields, 2 do
  local name, value = fields[i], fields[i + 1]
  if name == 'prefix' then prefix = value
  elseif name == 'version' then version = value
  elseif string.sub(name, 1, 2) == 'k:' then keys[string.sub(name, 3)] = tonumber(value)
  else old[#old + 1] = string.sub(name, 3) end
end
if prefix and not version then
  return redis.error_reply('UNSTAGED only a part of the state is staged')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for key, ends in pairs(keys) do
  local due = ends == 0 or ends > now
  if due and redis.call('EXISTS', prefix .. key) == 0 then
    return redis.error_reply('UNSTAGED a staged key was evicted or deleted')
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if not prefix then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
for _, key in ipairs(old) do
  if not keys[key] then redis.call('UNLINK', key) end
end
for key, ends in pairs(keys) do
  redis.call('UNLINK', key)
  if ends ~= 0 and ends <= now then
    redis.call('UNLINK', prefix .. key)
  else
    redis.call('RENAME', prefix .. key, key)
    if ends == 0 then
      redis.call('PERSIST', key)
    else
      redis.call('PEXPIREAT', key, string.format('%.0f', ends))
    end
  end
end
redis.call('DEL', manifest)
return 1",
    )
});

/// KEYS: manifest. ARGV: life of what is staged. Begins the life of it and of what it names anew.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local prefix = redis.call('HGET', KEYS[1], 'prefix')
if not prefix or redis.call('HEXISTS', KEYS[1], 'version') == 0 then
  return redis.error_reply('UNSTAGED nothing whole is kept of this session any more')
end
local life = tonumber(ARGV[1])
if redis.call('PTTL', KEYS[1]) > life / 2 then return 1 end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'k:' then
    redis.call('PEXPIRE', prefix .. string.sub(field, 3), life)
  end
end
return redis.call('PEXPIRE', KEYS[1], life)",
    )
});

/// KEYS: manifest. Drops it and what it names.
pub(super) static FORSAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local prefix = redis.call('HGET', KEYS[1], 'prefix')
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if prefix and string.sub(field, 1, 2) == 'k:' then
    redis.call('UNLINK', prefix .. string.sub(field, 3))
  end
end
return redis.call('DEL', KEYS[1])",
    )
});

/// KEYS: manifest, fence, live. ARGV: epoch; how long the fence is remembered; live keys.
/// Returns whether the live keys were below the epoch. Needs no memory, so that a full server can
/// be relieved; there the fence that was set before stays as it is.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local epoch = tonumber(ARGV[1])
local prefix = redis.call('HGET', KEYS[1], 'prefix')
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if prefix and string.sub(field, 1, 2) == 'k:' then
    redis.call('UNLINK', prefix .. string.sub(field, 3))
  end
end
redis.call('DEL', KEYS[1])
if tonumber(redis.call('GET', KEYS[3]) or '0') >= epoch then return 0 end
local dropped = 0
for i = 3, #ARGV do dropped = dropped + redis.call('UNLINK', ARGV[i]) end
redis.call('DEL', KEYS[3])
if dropped > 0 and tonumber(redis.call('GET', KEYS[2]) or '0') < epoch then
  redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
return 1",
    )
});

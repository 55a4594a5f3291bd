"""The scripts that run on the Redis server: each is one transaction, written to its log whole or not at all.

Offsets are compared as text, because a number of Lua has 53 bits. The first write of a script is the only one that can
fail (a key of another type, no memory), so none can stop half way.
"""

from __future__ import annotations

from typing import Final

_WRITE: Final = """
local function write(space, at)
  local last = at + tonumber(ARGV[at])
  for first = at + 1, last, 2000 do
    redis.call('HSET', space, unpack(ARGV, first, math.min(first + 1999, last)))
  end
  for first = last + 1, #ARGV, 2000 do
    redis.call('HDEL', space, unpack(ARGV, first, math.min(first + 1999, #ARGV)))
  end
end
"""

SCRIPTS: Final = {
    # KEYS space; ARGV the offset's field, applied, expect, changes. Answers the offset that is stored afterwards.
    "commit": _WRITE
    + """
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or '-1'
if stored ~= ARGV[3] then return stored end
write(KEYS[1], 4)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
""",
    # KEYS space; ARGV the offset's field, changes. Answers -1, or the offset that forbids it.
    "fill": _WRITE
    + """
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or '-1'
if stored ~= '-1' then return stored end
write(KEYS[1], 2)
redis.call('HDEL', KEYS[1], ARGV[1])
return '-1'
""",
    # KEYS names, format; ARGV namespace, format.
    "register": """
redis.call('HSET', KEYS[1], ARGV[1], 'live')
redis.call('SET', KEYS[2], ARGV[2], 'NX')
return 1
""",
    # KEYS names, active; ARGV namespace. Answers 0 when the namespace serves.
    "retire": """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], 'dropping') end
return 1
""",
    # KEYS names; ARGV namespace. A loader may have made it anew in between: then it stays on the list.
    "forget": """
if redis.call('HGET', KEYS[1], ARGV[1]) == 'dropping' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
""",
    # KEYS names, active; ARGV namespace. Answers 0 when the namespace is being dropped.
    "activate": """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= 'live' then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
""",
}

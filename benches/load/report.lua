-- Each request is a report with an id of its own, of a fleet of ten versions on two
-- architectures, as wrk's threads send them.
local thread_count = 0

function setup(thread)
   thread:set("number", thread_count)
   thread_count = thread_count + 1
end

local body = '{"instance_id":"%08x%08x%08x%08x","image_version":"v11.%d.0",'
   .. '"architecture":"%s","os":"Linux","container_runtime":"","startup_time_ms":%d,'
   .. '"db_type":"postgres","telemetry_version":"1.0"}'
local random = math.random

function init()
   math.randomseed(os.time() * 16 + number)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   local id = random(0, 0x7fffffff)
   return wrk.format(nil, nil, nil, string.format(body,
      id, random(0, 0x7fffffff), random(0, 0x7fffffff), random(0, 0x7fffffff),
      id % 10, id % 3 == 0 and "x86_64" or "aarch64", 500 + id % 20000))
end

-- Each request is the next report of the thread's own file; the files are $REPORTS.0, $REPORTS.1
-- and so on. They begin anew after the last one, which only a server that does not store reaches.
local thread_count = 0

function setup(thread)
   thread:set("number", thread_count)
   thread_count = thread_count + 1
end

local file

function init()
   file = assert(io.open(os.getenv("REPORTS") .. "." .. number))
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   local body = file:read()
   if not body then
      file:seek("set")
      body = file:read()
   end
   return wrk.format(nil, nil, nil, body)
end

-- For wrk: views of products, each answer noted: its status, then the command's id or the Retry-After.
-- `wrk … -s views.lua URL -- IDS OUT [PAUSE_MS]`; each thread writes a file of its own, OUT.1, OUT.2 …
local threads = 0
local requests = {}
local at = 0
local out

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init(args)
    for id in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", "/v1/products/" .. id .. "/views")
    end
    out = assert(io.open(args[2] .. "." .. number, "w"))
    if args[3] then -- each client rests before each request
        local pause_ms = tonumber(args[3])
        delay = function() return pause_ms end
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function response(status, headers, body)
    local told = status == 202 and body:match('"command_id":"([^"]+)"') or headers["Retry-After"]
    out:write(status, " ", told or "-", "\n")
end

-- One line for the runner.
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("requests=%d duration=%d p50=%d p99=%d connect=%d read=%d write=%d timeout=%d\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.timeout))
end

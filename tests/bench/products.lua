-- For wrk: views or reads of the products whose ids stand in a file, one a line.
-- `wrk … -s products.lua URL -- FILE views|reads [PAUSE_MS]`
local requests = {}
local at = 0

function init(args)
    for id in io.lines(args[1]) do
        local path = "/v1/products/" .. id
        requests[#requests + 1] = args[2] == "reads" and wrk.format("GET", path) or wrk.format("POST", path .. "/views")
    end
    if args[3] then -- each client rests before each request
        local pause_ms = tonumber(args[3])
        delay = function() return pause_ms end
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

-- One line for the runner; times in microseconds. `status` counts answers above 399.
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        "requests=%d duration=%d p50=%d p99=%d connect=%d read=%d write=%d timeout=%d status=%d\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end

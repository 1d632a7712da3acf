-- For wrk: logins of members that load.c registered. `wrk … -s logins.lua URL -- ROUND MEMBERS PASSWORD PAUSE_MS`
local requests = {}
local pause_ms
local at = 0
local threads = {}

-- Globals, because done() asks each thread for them.
logins = 0  -- 200
refused = 0 -- 429 and 503: the edge does not take more at once
wrong = 0   -- any other status

function setup(thread)
    threads[#threads + 1] = thread
end

function init(args)
    local headers = { ["Content-Type"] = "application/json" }
    for i = 0, tonumber(args[2]) - 1 do
        local body = string.format('{"email":"person.%d.%d@example.com","password":"%s"}', args[1], i, args[3])
        requests[#requests + 1] = wrk.format("POST", "/v1/auth/login", headers, body)
    end
    pause_ms = tonumber(args[4])
end

-- Before each request of each client.
function delay()
    return pause_ms
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function response(status)
    if status == 200 then
        logins = logins + 1
    elseif status == 429 or status == 503 then
        refused = refused + 1
    else
        wrong = wrong + 1
    end
end

local function sum(name)
    local all = 0
    for _, thread in ipairs(threads) do
        all = all + thread:get(name)
    end
    return all
end

-- One line for the runner; duration in microseconds.
function done(summary)
    local errors = summary.errors
    io.write(string.format(
        "logins=%d refused=%d wrong=%d duration=%d connect=%d read=%d write=%d timeout=%d\n",
        sum("logins"), sum("refused"), sum("wrong"), summary.duration,
        errors.connect, errors.read, errors.write, errors.timeout))
end

-- Requests that place one order each, with a fresh idempotency key. The body is wrk's first argument.
local threads = 0
local body, prefix, count

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init(arguments)
    body = arguments[1]
    prefix = string.format("bench-%d-%d-", os.time(), number)
    count = 0
end

function request()
    count = count + 1
    local headers = { ["content-type"] = "application/json", ["idempotency-key"] = prefix .. count }
    return wrk.format("POST", "/orders", headers, body)
end

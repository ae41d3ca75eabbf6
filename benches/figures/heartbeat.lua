-- Heartbeats as DockFlare agents send them, each from an agent chosen at random.
-- LIGHTSHIP_BENCH_AGENTS names a file with one `id key` a line.

local body = '{"type":"heartbeat","timestamp":"2026-11-21T21:01:14.030665+00:00"}'
local threads = 0
local requests = {}

function setup(thread)
  threads = threads + 1
  thread:set("seed", os.time() + threads)
end

function init()
  math.randomseed(seed)
  for line in io.lines(os.getenv("LIGHTSHIP_BENCH_AGENTS")) do
    local id, key = line:match("^(%S+) (%S+)$")
    local headers = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }
    requests[#requests + 1] = wrk.format("POST", "/api/v2/agents/" .. id .. "/events", headers, body)
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"p99_micros":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end

-- wrk's script: POSTs of events, none of which was sent before. Its environment (bench/peers/wrk.py):
--   EVENT     one event as a format for string.format; each of its places is filled with the event's number
--   PLACES    the modulus of each place, by commas: 1000,10000000000
--   SIZE      events in a request
--   OPENS, PARTS, CLOSES   what stands before, between and behind the events of a request
--   HEADERS   further header lines, each with its line end
--   KEY       a format for the request's Idempotency-Key; empty: none
--   REQUESTS  how many to send in all; 0: until wrk's time is over
-- Prints one line, RESULT and a JSON object.
local event, size = os.getenv("EVENT"), tonumber(os.getenv("SIZE"))
local opens, parts, closes = os.getenv("OPENS"), os.getenv("PARTS"), os.getenv("CLOSES")
local key, requests = os.getenv("KEY"), tonumber(os.getenv("REQUESTS"))
local places = {}
for place in string.gmatch(os.getenv("PLACES"), "%d+") do places[#places + 1] = tonumber(place) end

local head
local number, sent, answered = 0, 0, 0

function init(args)
  local host = "Host: " .. wrk.headers["Host"] .. "\r\n"
  head = "POST " .. wrk.path .. " HTTP/1.1\r\n" .. host .. os.getenv("HEADERS")
end

local function next_event()
  number = number + 1
  return string.format(event, number % places[1], number % places[2], number % places[3])
end

local function body()
  if size == 1 then return opens .. next_event() .. closes end
  local events = {}
  for i = 1, size do events[i] = next_event() end
  return opens .. table.concat(events, parts) .. closes
end

function request()
  local text = body()
  local own = key ~= "" and "Idempotency-Key: " .. string.format(key, number) .. "\r\n" or ""
  return head .. own .. "Content-Length: " .. #text .. "\r\n\r\n" .. text
end

if requests > 0 then
  -- wrk knows no end but its time's: further requests wait for longer than that, and who started it interrupts it.
  function delay()
    sent = sent + 1
    return sent > requests and 3600000 or 0
  end

  function response()
    answered = answered + 1
    if answered == requests then
      io.write("DONE\n")
      io.flush()
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  local sockets = errors.connect + errors.read + errors.write + errors.timeout
  local line = '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,"socket_errors":%d}\n'
  io.write("RESULT " .. string.format(line, summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors.status, sockets))
end

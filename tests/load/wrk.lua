-- The requests that wrk sends, and the responses that count: status 2xx with the expected text.
-- Arguments: the file with the body, and the expected text. A placeholder id of zeros in the body or a header
-- becomes a new id in each request. The last line of the output is one JSON object.

local placeholder = "00000000-0000-4000-8000-000000000000"
local threads = {}
local parts, expected, headers, salt, sent
good, bad, first_bad = 0, 0, ""

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

local function split(text)
  local pieces, from = {}, 1
  while true do
    local start, stop = text:find(placeholder, from, true)
    if not start then break end
    table.insert(pieces, text:sub(from, start - 1))
    from = stop + 1
  end
  table.insert(pieces, text:sub(from))
  return pieces
end

function init(args)
  wrk.method = "POST"
  local file = assert(io.open(args[1], "rb"))
  wrk.body = file:read("*a")
  file:close()
  expected = args[2]
  parts = split(wrk.body)
  math.randomseed(tonumber(args[3]) + number)
  salt, sent = math.random(0, 0x7fffffff), 0
  local fixed = wrk.format()
  if #parts == 1 then
    request = function() return fixed end
  else
    request = function()
      sent = sent + 1
      local id = string.format("%08x-0000-4000-8000-%012x", salt, sent)
      local named = {}
      for name, value in pairs(wrk.headers) do
        named[name] = table.concat(split(tostring(value)), id)
      end
      return wrk.format(nil, nil, named, table.concat(parts, id))
    end
  end
end

function response(status, _, body)
  if status >= 200 and status < 300 and body:find(expected, 1, true) then
    good = good + 1
  else
    bad = bad + 1
    if first_bad == "" then first_bad = status .. " " .. body:sub(1, 300) end
  end
end

function done(summary, latency)
  local answered, refused, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    answered = answered + thread:get("good")
    refused = refused + thread:get("bad")
    if example == "" then example = thread:get("first_bad") end
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(string.format(
    '\n{"good": %d, "bad": %d, "broken": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "longest": %.6f, "example": "%s"}',
    answered, refused, broken, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    latency.max / 1e6, example:gsub('[%c"\\]', " ")))
end

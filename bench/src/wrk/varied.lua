-- Three requests of four carry a key, each another of the file that is named, in its order and again from the start.
local keyed_requests, unkeyed_request, threads = {}, nil, {}
keyed, unkeyed = 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  unkeyed_request = wrk.format()
  local headers = {}
  for name, value in pairs(wrk.headers) do headers[name] = value end
  for key in io.lines(args[1]) do
    headers["baggage"] = wrk.headers["baggage"] .. ",sd-routing-key=" .. key
    table.insert(keyed_requests, wrk.format(nil, nil, headers))
  end
end

function request()
  if (keyed + unkeyed) % 4 == 3 then
    unkeyed = unkeyed + 1
    return unkeyed_request
  end
  keyed = keyed + 1
  return keyed_requests[(keyed - 1) % #keyed_requests + 1]
end

function done()
  print(string.format("Sent: %d keyed, %d unkeyed", threads[1]:get("keyed"), threads[1]:get("unkeyed")))
end

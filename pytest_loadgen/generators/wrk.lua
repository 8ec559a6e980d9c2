-- What pytest-loadgen has wrk and wrk2 do: send one request, byte for byte as it is in a file, and
-- tell at the end, in one line of JSON, all that came of it.

local function content(name)
   local file = assert(io.open(name, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local bytes, address = content("request"), content("address")
local is_wrk2 = wrk.time_us ~= nil -- which only wrk2 has

-- The name in the URL is for TLS; the address that was found for it is where to connect.
local lookup = wrk.lookup
function wrk.lookup(_, service)
   return lookup(address, service)
end

function wrk.format()
   return bytes
end

-- They send again what was lost, and do not tell how often: so what is sent is counted here.
sent = 0
function request()
   sent = sent + 1
   return bytes
end

-- One plain number for each status, as wrk2 cannot hand tables from its threads.
local names = {}
function response(status)
   local name = names[status]
   if not name then
      name = "status" .. status
      names[status], _G[name] = name, 0
   end
   _G[name] = _G[name] + 1
end

local threads = {}
function setup(thread)
   threads[#threads + 1] = thread
end

local function over_threads(name)
   local total = 0
   for _, thread in ipairs(threads) do
      total = total + (thread:get(name) or 0)
   end
   return total
end

local function row(value, count)
   return string.format("[%.0f,%.0f]", value, count)
end

-- wrk2: latency[rank] is a value, and #latency how many there are. The last rank of a value is found
-- in steps that double, and then by halving what is left.
local function by_rank(latency)
   local rows, first, total = {}, 1, #latency
   while first <= total do
      local value, last, step = latency[first], first, 1
      while last + step <= total and latency[last + step] == value do
         last, step = last + step, step * 2
      end
      local beyond = math.min(last + step, total + 1)
      while beyond - last > 1 do
         local middle = math.floor((last + beyond) / 2)
         if latency[middle] == value then
            last = middle
         else
            beyond = middle
         end
      end
      rows[#rows + 1] = row(value, last - first + 1)
      first = last + 1
   end
   return rows
end

-- wrk: latency(i) is the i-th different value, and how often there is. Each call counts from the
-- start, which takes seconds where there are many.
local function by_value(latency)
   local rows = {}
   for i = 1, #latency do
      rows[i] = row(latency(i))
   end
   return rows
end

-- So they are read from wrk's memory in one pass where LuaJIT can, and where what is found there
-- is what wrk says of it.
local function from_memory(latency)
   local ffi = require("ffi")
   ffi.cdef("typedef struct { uint64_t count, limit, min, max, data[1]; } loadgen_stats;")
   local stats = ffi.cast("loadgen_stats **", latency)[0]
   local limit, low, high = tonumber(stats.limit), tonumber(stats.min), tonumber(stats.max)
   assert(low == latency.min and high == latency.max and low <= high and high < limit)
   local rows, total = {}, 0
   for value = low, high do
      local count = tonumber(stats.data[value])
      if count > 0 then
         total = total + count
         rows[#rows + 1] = row(value, count)
      end
   end
   assert(total == tonumber(stats.count))
   return rows
end

local function rows_of(latency)
   if is_wrk2 then
      return by_rank(latency)
   elseif #latency == 0 then
      return {}
   end
   local read, rows = pcall(from_memory, latency)
   return read and rows or by_value(latency)
end

function done(summary, latency)
   local cpu = os.clock() -- before what follows takes some
   local statuses = {}
   for status = 0, 999 do
      local count = over_threads("status" .. status)
      if count > 0 then
         statuses[#statuses + 1] = string.format('"%03d":%.0f', status, count)
      end
   end
   local errors = summary.errors
   io.write("pytest-loadgen: ", string.format(
      '{"microseconds":%.0f,"requests":%.0f,"sent":%.0f,"received":%.0f,"cpu":%.3f,' ..
         '"errors":{"connect":%.0f,"read":%.0f,"write":%.0f,"timeout":%.0f},"statuses":{%s},"latencies":[%s]}\n',
      summary.duration, summary.requests, over_threads("sent"), summary.bytes, cpu,
      errors.connect, errors.read, errors.write, errors.timeout,
      table.concat(statuses, ","), table.concat(rows_of(latency), ",")
   ))
end

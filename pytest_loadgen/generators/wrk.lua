-- The hook of pytest-loadgen in wrk and wrk2: it sends the requests in files, byte for byte, and
-- prints the figures of the run in one line of JSON at the end.

local function content(name)
   local file = assert(io.open(name, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local address = content("address")
local is_wrk2 = wrk.time_us ~= nil -- only wrk2 has it

-- The host name in the URL is for TLS; the connection goes to the address that was checked.
local lookup = wrk.lookup
function wrk.lookup(_, service)
   return lookup(address, service)
end

-- The requests in the order in which they are sent, until it repeats.
local order, requests = {}, {}
for number in content("order"):gmatch("%d+") do
   requests[number] = requests[number] or content("request" .. number)
   order[#order + 1] = requests[number]
end
local length = #order

function wrk.format()
   return order[1]
end

-- The programs send lost requests again and do not report how often: so requests are counted here.
sent, answered, offset = 0, 0, 0

-- Nor does wrk2 report how late it was itself. It certainly was late while a request was due and the
-- thread had no request in flight on any connection, so that it was not waiting for a response. When
-- requests are due is learnt: all connections have the same period, so the requests of each come at
-- the same offset in every period, and never early.
local connections, period, settled, last_moments -- of the thread, times in microseconds; nil in wrk
local started, counted_from, earliest = nil, 0, {}
local idle_from, idle_to = {}, {}
answered_at = 0

-- Counts the requests in flight shortly before the end, at the first event from then on.
local function count_in_flight(now)
   if now > last_moments and not under_way then
      under_way = sent - answered
   end
end

local function idle_since(moment)
   local idle, number = 0, #idle_to
   while number > 0 and idle_to[number] > moment do
      idle = idle + idle_to[number] - math.max(moment, idle_from[number])
      number = number - 1
   end
   return idle
end

local function note_lateness(now)
   started = started or now
   if now - started < settled then -- some connections are not open yet
      counted_from = sent
      return
   end
   if sent - 1 == answered and now - answered_at > 500 then
      idle_from[#idle_from + 1], idle_to[#idle_to + 1] = answered_at, now
   end
   local number = sent - counted_from - 1
   local place, before = number % connections, math.floor(number / connections) * period
   local due = (earliest[place] or now) + before
   local late = math.floor(idle_since(due) / 1000)
   earliest[place] = math.min(earliest[place] or now, now - before)
   if late > 0 then
      local name = "late" .. late
      _G[name] = (_G[name] or 0) + 1
   end
end

function request()
   local now = period and sent >= 0 and wrk.time_us()
   if now then
      count_in_flight(now)
   end
   sent = sent + 1
   if now then
      note_lateness(now)
   end
   return order[(offset + sent - 1) % length + 1]
end

-- The time in microseconds, which wrk does not provide; unavailable without LuaJIT.
local function clock()
   local ffi = require("ffi")
   ffi.cdef([[
      typedef struct { long seconds, ns; } loadgen_time;
      int clock_gettime(int clock, loadgen_time *time);
   ]])
   local MONOTONIC, time = 1, ffi.new("loadgen_time")
   return function()
      assert(ffi.C.clock_gettime(MONOTONIC, time) == 0)
      return tonumber(time.seconds) * 1e6 + tonumber(time.ns) / 1e3
   end
end

local time_us = wrk.time_us
if not is_wrk2 then
   local found, its = pcall(clock)
   time_us = found and its or nil
end

-- wrk2 sleeps for up to a second if it checks its next timer a millisecond too late, unless something
-- is read or written meanwhile. So each thread's event loop gets a timer that wakes it each millisecond:
-- a descriptor that it waits for, without a handler.
local function wake_up_each_millisecond()
   local ffi = require("ffi")
   ffi.cdef([[
      typedef struct { long interval, interval_ns, first, first_ns; } loadgen_timer;
      typedef struct __attribute__((packed)) { uint32_t events; uint64_t data; } loadgen_event;
      int timerfd_create(int clock, int flags);
      int timerfd_settime(int fd, int flags, const loadgen_timer *timer, void *old);
      int epoll_ctl(int epoll, int operation, int fd, loadgen_event *event);
      long readlink(const char *path, char *target, size_t size);
   ]])
   local MONOTONIC, ADD, READABLE, EACH_TIME = 1, 1, 1, 2 ^ 31
   local clock = ffi.C.timerfd_create(MONOTONIC, 0)
   assert(0 < clock and clock < 10) -- wrk2's tables have room for at least that many descriptors
   assert(ffi.C.timerfd_settime(clock, 0, ffi.new("loadgen_timer", 0, 1e6, 0, 1e6), nil) == 0)
   local target, loops = ffi.new("char[64]"), 0
   for fd = 3, clock do
      local length = ffi.C.readlink("/proc/self/fd/" .. fd, target, 64)
      if length > 0 and ffi.string(target, length) == "anon_inode:[eventpoll]" then
         assert(ffi.C.epoll_ctl(fd, ADD, clock, ffi.new("loadgen_event", READABLE + EACH_TIME, clock)) == 0)
         loops = loops + 1
      end
   end
   assert(loops > 0)
end

-- For wrk2 the arguments after the URL are: connections per thread, the period of each, and the time
-- until all of them are open and until the run is nearly over, in microseconds.
function init(args)
   if is_wrk2 then
      pcall(wake_up_each_millisecond)
      connections, period, settled = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
      last_moments = wrk.time_us() + tonumber(args[4])
   end
end

-- One plain number for each status, because wrk2 cannot pass tables from its threads.
local names = {}
function response(status)
   local name = names[status]
   if not name then
      name = "status" .. status
      names[status], _G[name] = name, 0
   end
   _G[name] = _G[name] + 1
   if time_us then
      answered_at = time_us()
   end
   if period then
      count_in_flight(answered_at)
   end
   answered = answered + 1
end

local threads = {}
function setup(thread)
   -- The program asks the first thread for one more request, to validate it.
   thread:set("sent", #threads == 0 and -1 or 0)
   -- Each thread follows the weights; the offset keeps two from sending the same request at the same time.
   thread:set("offset", math.floor(#threads * length / 2))
   threads[#threads + 1] = thread
end

local function over_threads(name)
   local total = 0
   for _, thread in ipairs(threads) do
      total = total + (thread:get(name) or 0)
   end
   return total
end

-- Formats the number and count of each global with a numbered name.
local function counted(name, last, format)
   local found = {}
   for number = 0, last do
      local count = over_threads(name .. number)
      if count > 0 then
         found[#found + 1] = string.format(format, number, count)
      end
   end
   return table.concat(found, ",")
end

local function still_under_way()
   local total = 0
   for _, thread in ipairs(threads) do
      total = total + (thread:get("under_way") or thread:get("sent") - thread:get("answered"))
   end
   return total
end

-- How long ago the last response came, in microseconds; 0 if there was none, or without a clock.
local function silence()
   local last = 0
   for _, thread in ipairs(threads) do
      last = math.max(last, thread:get("answered_at"))
   end
   return last > 0 and math.max(0, time_us() - last) or 0
end

local function row(value, count)
   return string.format("[%.0f,%.0f]", value, count)
end

-- In wrk, latency(i) returns the i-th distinct value and its count. In wrk2, latency[rank] is a value;
-- the last rank of each is found in doubling steps, then by bisection. Each access counts from the
-- start, which takes seconds if there are many.
local function by_asking(latency)
   local rows, first, total = {}, 1, #latency
   while not is_wrk2 and first <= total do
      rows[first], first = row(latency(first)), first + 1
   end
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
      rows[#rows + 1], first = row(value, last - first + 1), last + 1
   end
   return rows
end

-- So the values are read from memory in one pass, if LuaJIT is there and the memory matches what the
-- program reports of it. wrk's array has a slot for each microsecond; wrk2's histogram has 2 * half
-- slots of 1 us, then half slots of 2 us, half of 4 us, and so on.
local function from_memory(latency)
   local ffi = require("ffi")
   ffi.cdef([[
      typedef struct { uint64_t count, limit, min, max, counts[1]; } loadgen_array;
      typedef struct {
         int64_t ends[2], unit, figures; int32_t bits, half; int64_t mask; int32_t sizes[2], length;
         int64_t total, counts[1];
      } loadgen_histogram;
      typedef struct { uint64_t others[5]; loadgen_histogram *histogram; } loadgen_stats;
   ]])
   local rows, total, low, high = {}, 0, nil, nil
   local function add(value, count)
      if count > 0 then
         rows[#rows + 1] = row(value, tonumber(count))
         total, low, high = total + tonumber(count), low or value, value
      end
   end
   if is_wrk2 then
      local histogram = ffi.cast("loadgen_stats **", latency)[0].histogram
      local half = histogram.half
      assert(histogram.total == #latency and histogram.unit == 0 and 2 * half == histogram.sizes[0])
      for index = 0, histogram.length - 1 do
         local doublings = math.max(0, math.floor(index / half) - 1)
         add((index - doublings * half + 1) * 2 ^ doublings - 1, histogram.counts[index])
      end
      assert(total == #latency and low == latency[1] and high == latency[total])
   else
      local array = ffi.cast("loadgen_array **", latency)[0]
      assert(array.min == latency.min and array.max == latency.max and array.max < array.limit)
      for value = latency.min, latency.max do
         add(value, array.counts[value])
      end
      assert(total == tonumber(array.count))
   end
   return rows
end

local function rows_of(latency)
   if #latency == 0 then
      return {}
   end
   local read, rows = pcall(from_memory, latency)
   return read and rows or by_asking(latency)
end

-- The state of each connection at the end: of TCP, and how many milliseconds ago data was last sent and received.
-- It shows which requests have no response, and since when; neither program tells.
local function peers()
   local ffi = require("ffi")
   ffi.cdef([[
      typedef struct { uint8_t state, others[7]; uint32_t more[9], sent, acked, received; uint8_t rest[256]; } loadgen_tcp;
      int getsockopt(int fd, int level, int option, void *value, uint32_t *length);
   ]])
   assert(ffi.os == "Linux")
   local TCP, TCP_INFO = 6, 11
   local rows, fd, misses = {}, 3, 0
   while misses < 100 do
      local info, length = ffi.new("loadgen_tcp"), ffi.new("uint32_t[1]", 256)
      if ffi.C.getsockopt(fd, TCP, TCP_INFO, info, length) == 0 and length[0] >= 56 then
         rows[#rows + 1] = string.format("[%d,%.0f,%.0f]", info.state, tonumber(info.sent), tonumber(info.received))
         misses = 0
      else
         misses = misses + 1
      end
      fd = fd + 1
   end
   return rows
end

function done(summary, latency)
   local cpu, silent = os.clock(), silence() -- before the following uses some
   local seen, states = pcall(peers)
   local errors = summary.errors
   io.write("pytest-loadgen: ", string.format(
      '{"microseconds":%.0f,"requests":%.0f,"sent":%.0f,"under_way":%.0f,"silent":%.0f,"received":%.0f,"cpu":%.3f,' ..
         '"errors":{"connect":%.0f,"read":%.0f,"write":%.0f,"timeout":%.0f},"statuses":{%s},"late":[%s],"peers":[%s],"latencies":[%s]}\n',
      summary.duration, summary.requests, over_threads("sent"), still_under_way(), silent, summary.bytes, cpu,
      errors.connect, errors.read, errors.write, errors.timeout,
      counted("status", 999, '"%03d":%.0f'), counted("late", summary.duration / 1000, "[%d,%.0f]"),
      seen and table.concat(states, ",") or "",
      table.concat(rows_of(latency), ",")
   ))
end

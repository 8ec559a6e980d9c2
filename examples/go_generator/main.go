// A load generator for pytest-loadgen that needs only loadgen.proto: HTTP/1.1, open and closed model, in
// one file.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"example/loadgen/pb"
)

const (
	name       = "go"
	maxLatency = int64(time.Hour)
)

var features = []string{"http", "rate", "max", "body"}

func main() {
	// Loopback only: there is no TLS and no token.
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	keepaliveTime := 5 * time.Second
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(64<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}),
	)
	pb.RegisterLoadGeneratorServer(server, generator{})
	fmt.Println("listening at", listener.Addr())
	log.Fatal(server.Serve(listener))
}

type generator struct {
	pb.UnimplementedLoadGeneratorServer
}

func (generator) Describe(_ context.Context, request *pb.DescribeRequest) (*pb.Description, error) {
	return &pb.Description{
		InterfaceVersion: 1,
		Name:             name,
		Version:          "1.0",
		Features:         features,
		LatencyFrom:      pb.LatencyFrom_LATENCY_FROM_SCHEDULED,
		StreamsIntervals: true,
		Generators:       []string{name},
	}, checkName(request.Generator)
}

func (generator) Run(plan *pb.Plan, stream grpc.ServerStreamingServer[pb.Interval]) error {
	load, err := newLoad(plan)
	if err == nil {
		err = load.connect(stream.Context())
	}
	if err != nil {
		return err
	}
	// The context is cancelled when the client cancels the call or dies; this cancels all requests.
	ctx, stop := context.WithCancel(stream.Context())
	defer load.close()
	defer stop()
	return load.run(ctx, stream.Send)
}

func checkName(generator string) error {
	if generator != "" && generator != name {
		return status.Errorf(codes.NotFound, "there is no load generator %q on that machine: there is %q", generator, name)
	}
	return nil
}

// load is a running plan and its figures.
type load struct {
	request      *http.Request
	body         []byte
	address      string
	client       *http.Client
	connections  int
	rate         float64 // requests per second; 0 for the closed model
	phase        float64 // when the first request is due, in requests
	warmup       time.Duration
	duration     time.Duration
	timeout      time.Duration
	readyTimeout time.Duration
	start        time.Time
	received     atomic.Uint64

	mutex     sync.Mutex
	open      map[net.Conn]bool
	intervals map[int]*interval
	sent      int           // how many intervals were sent
	cpu       time.Duration // at the end of the last interval
	cpuTime   time.Time     // when that was
}

func newLoad(plan *pb.Plan) (*load, error) {
	invalid := func(reason string) (*load, error) {
		return nil, status.Errorf(codes.InvalidArgument, "%s does not support this plan: %s", name, reason)
	}
	target := plan.GetTarget()
	if err := checkName(plan.Generator); err != nil {
		return nil, err
	}
	if target.GetScheme() != "http" || target.Http2 {
		return invalid("only HTTP/1.1")
	}
	if !bytes.HasPrefix(target.Path, []byte("/")) {
		return invalid("the path does not start with /")
	}
	if plan.Arrivals == pb.Arrivals_ARRIVALS_POISSON || len(plan.Stages) == 0 {
		return invalid("only constant arrivals")
	}
	if plan.Connections == 0 || plan.Parts == 0 || !(plan.Timeout > 0) {
		return invalid("no connections, no parts or no timeout")
	}
	rate, seconds := plan.Stages[0].Start, 0.0
	for _, stage := range plan.Stages {
		if !same(stage.Start, rate) || !same(stage.End, rate) {
			return invalid("only a constant rate")
		}
		seconds += stage.Seconds
	}
	perSecond := 0.0
	if rate != nil {
		exact, ok := new(big.Rat).SetString(*rate)
		if perSecond, _ = exact.Float64(); !ok || !(perSecond > 0) {
			return invalid("the rate must be greater than 0")
		}
	}
	load := &load{
		body:         target.Body,
		address:      net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))),
		connections:  int(plan.Connections),
		rate:         perSecond,
		phase:        float64(plan.Part) / float64(plan.Parts),
		warmup:       duration(plan.Warmup),
		duration:     duration(seconds),
		timeout:      duration(plan.Timeout),
		readyTimeout: duration(plan.ReadyTimeout),
		open:         map[net.Conn]bool{},
		intervals:    map[int]*interval{},
	}
	load.request = &http.Request{
		Method: target.Method,
		URL:    &url.URL{Scheme: "http", Host: load.address, Opaque: string(target.Path)},
		Header: http.Header{},
	}
	for _, header := range target.Headers {
		switch key := string(header.Name); strings.ToLower(key) {
		case "host":
			load.request.Host = string(header.Value)
		case "content-length": // net/http sets it
		default:
			load.request.Header[key] = append(load.request.Header[key], string(header.Value))
		}
	}
	load.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:         load.dial,
			MaxConnsPerHost:     load.connections,
			MaxIdleConnsPerHost: load.connections,
			DisableCompression:  true,
		},
	}
	if plan.StartAt != nil {
		load.start = time.UnixMicro(int64(*plan.StartAt * 1e6))
	}
	return load, nil
}

func same(one, other *string) bool {
	return (one == nil) == (other == nil) && (one == nil || *one == *other)
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

// connect waits until the service accepts connections, and refuses one that is neither local nor private.
func (l *load) connect(ctx context.Context) error {
	deadline := time.Now().Add(l.readyTimeout)
	for {
		connection, err := (&net.Dialer{Control: allowed, Timeout: 2 * time.Second}).DialContext(ctx, "tcp", l.address)
		if err == nil {
			l.address = connection.RemoteAddr().String()
			return connection.Close()
		}
		if errors.Is(err, errNotAllowed) {
			return status.Errorf(codes.PermissionDenied, "%s: %s", l.address, errNotAllowed)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return status.Errorf(codes.FailedPrecondition, "%s does not accept connections: %v", l.address, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var errNotAllowed = errors.New("it is neither this machine nor in a private network, and a load may harm others")

// The metadata services of clouds, which have private addresses.
var metadata = []string{"fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe"}

func allowed(_, address string, _ syscall.RawConn) error {
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); ip == nil || slices.Contains(metadata, ip.String()) || !(ip.IsLoopback() || ip.IsPrivate()) {
		return errNotAllowed
	}
	return nil
}

// run sends the load, and reports each interval.
func (l *load) run(ctx context.Context, report func(*pb.Interval) error) error {
	if now := time.Now().Add(l.warmup); l.start.Before(now) {
		l.start = now
	}
	var next atomic.Int64
	if l.rate > 0 {
		next.Store(-int64(l.rate * l.warmup.Seconds()))
	}
	var workers sync.WaitGroup
	for range l.connections {
		workers.Add(1)
		go func() {
			defer workers.Done()
			if l.rate > 0 {
				l.sendAtRate(ctx, &next)
			} else {
				l.sendAtMax(ctx)
			}
		}()
	}
	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	return l.report(ctx, done, report)
}

// sendAtRate takes requests of the schedule that the workers share, and sends each when it is due.
func (l *load) sendAtRate(ctx context.Context, next *atomic.Int64) {
	for {
		free := time.Now()
		offset := duration((float64(next.Add(1)-1) + l.phase) / l.rate)
		if offset >= l.duration || !sleep(ctx, time.Until(l.start.Add(offset))) {
			return
		}
		due, now := l.start.Add(offset), time.Now()
		lag := now.Sub(due)
		if free.After(due) {
			// Until then no connection was free, which is not the generator's fault.
			lag = now.Sub(free)
		}
		l.send(ctx, due, lag, offset >= 0)
	}
}

// sendAtMax sends a request as soon as the previous one has a response.
func (l *load) sendAtMax(ctx context.Context) {
	sleep(ctx, time.Until(l.start.Add(-l.warmup)))
	for now := time.Now(); ctx.Err() == nil && now.Before(l.start.Add(l.duration)); now = time.Now() {
		l.send(ctx, now, -1, !now.Before(l.start))
	}
}

func sleep(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// send sends one request and counts its outcome.
func (l *load) send(ctx context.Context, due time.Time, lag time.Duration, counts bool) {
	bounded, stop := context.WithDeadline(ctx, due.Add(l.timeout))
	defer stop()
	attempts, sent := 0, time.Now()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { attempts++; sent = time.Now() }}
	outcome, neverSent := "timeout", true
	if bounded.Err() == nil {
		outcome, neverSent = l.exchange(httptrace.WithClientTrace(bounded, trace)), false
	}
	end := time.Now()
	if !counts || ctx.Err() != nil {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if lag >= 0 {
		record(&l.at(due).lag, lag)
	}
	interval := l.at(end)
	interval.outcomes[outcome]++
	interval.retried += uint64(max(0, attempts-1))
	if neverSent {
		interval.neverSent++
	}
	if outcome[0] >= '0' && outcome[0] <= '9' {
		record(&interval.latency, end.Sub(due))
		record(&interval.service, end.Sub(sent))
	}
}

// exchange sends the request, reads the response completely, and returns its status or the kind of failure.
func (l *load) exchange(ctx context.Context) string {
	request := l.request.Clone(ctx)
	if len(l.body) > 0 {
		request.ContentLength = int64(len(l.body))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l.body)), nil }
		request.Body, _ = request.GetBody()
	}
	response, err := l.client.Do(request)
	if err == nil {
		defer response.Body.Close()
		if _, err = io.Copy(io.Discard, response.Body); err == nil {
			return strconv.Itoa(response.StatusCode)
		}
	}
	return failure(err)
}

func failure(err error) string {
	for kind, errs := range map[string][]error{
		"timeout":     {context.DeadlineExceeded},
		"refused":     {syscall.ECONNREFUSED},
		"reset":       {syscall.ECONNRESET, syscall.EPIPE},
		"unreachable": {syscall.EHOSTUNREACH, syscall.ENETUNREACH},
		"filehandles": {syscall.EMFILE, syscall.ENFILE},
		"ports":       {syscall.EADDRNOTAVAIL},
		"closed":      {io.EOF, io.ErrUnexpectedEOF},
	} {
		for _, each := range errs {
			if errors.Is(err, each) {
				return kind
			}
		}
	}
	var lookup *net.DNSError
	switch text := err.Error(); {
	case errors.As(err, &lookup):
		return "dns"
	case strings.Contains(text, "malformed"), strings.Contains(text, "invalid"):
		return "protocol"
	case strings.Contains(text, "closed"):
		return "closed"
	}
	return "failed"
}

// dial connects to the address that was checked, and counts the bytes that are read.
func (l *load) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	connection, err := (&net.Dialer{Timeout: l.timeout}).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return nil, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open == nil {
		connection.Close()
		return nil, net.ErrClosed
	}
	l.open[connection] = true
	return &counted{connection, l}, nil
}

// close closes all connections.
func (l *load) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for connection := range l.open {
		connection.Close()
	}
	l.open = nil
}

type counted struct {
	net.Conn
	load *load
}

func (c *counted) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	c.load.received.Add(uint64(n))
	return n, err
}

func (c *counted) Close() error {
	c.load.mutex.Lock()
	delete(c.load.open, c.Conn)
	c.load.mutex.Unlock()
	return c.Conn.Close()
}

// interval has the figures of one interval.
type interval struct {
	latency, service, lag *hdrhistogram.Histogram
	outcomes              map[string]uint64
	retried, neverSent    uint64
}

// sending returns in how many intervals requests are sent: of a second each, the last of up to one and a half.
func (l *load) sending() int {
	return max(1, int(l.duration.Seconds()+0.5))
}

// at returns the interval of a moment, or the first one that was not sent yet.
func (l *load) at(moment time.Time) *interval {
	since := moment.Sub(l.start)
	number := min(max(0, int(since.Seconds())), l.sending()-1)
	if since >= l.duration {
		number = l.sending() + int((since - l.duration).Seconds())
	}
	number = max(number, l.sent)
	if l.intervals[number] == nil {
		l.intervals[number] = &interval{outcomes: map[string]uint64{}}
	}
	return l.intervals[number]
}

// report sends each interval when it has ended, and those after the duration for late responses.
func (l *load) report(ctx context.Context, done <-chan struct{}, send func(*pb.Interval) error) error {
	sleep(ctx, time.Until(l.start))
	l.cpu, l.cpuTime = cpuUsed(), l.start
	l.received.Store(0)
	for number := 0; ; number++ {
		if number < l.sending() {
			if !sleep(ctx, time.Until(l.start.Add(duration(l.end(number))))) {
				return ctx.Err()
			}
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-done:
				if !l.hasMore() {
					return nil
				}
			case <-time.After(time.Second):
			}
		}
		if err := send(l.take(number)); err != nil {
			return err
		}
	}
}

func (l *load) end(number int) float64 {
	if number == l.sending()-1 {
		return l.duration.Seconds()
	}
	return float64(number + 1)
}

func (l *load) hasMore() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.intervals) > 0
}

// take removes an interval and returns its message.
func (l *load) take(number int) *pb.Interval {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	ended := l.intervals[number]
	if ended == nil {
		ended = &interval{}
	}
	delete(l.intervals, number)
	l.sent = number + 1
	message := &pb.Interval{
		Start:       float64(number),
		Latency:     encode(ended.latency),
		ServiceTime: encode(ended.service),
		Lag:         encode(ended.lag),
		Outcomes:    ended.outcomes,
		Received:    l.received.Swap(0),
		Retried:     ended.retried,
		NeverSent:   ended.neverSent,
	}
	if number >= l.sending() {
		message.Start = l.duration.Seconds() + float64(number-l.sending())
		return message
	}
	message.Seconds = l.end(number) - message.Start
	now, cpu := time.Now(), cpuUsed()
	message.Cpu = math.Max(0, (cpu-l.cpu).Seconds()/now.Sub(l.cpuTime).Seconds())
	l.cpuTime, l.cpu = now, cpu
	return message
}

func record(histogram **hdrhistogram.Histogram, taken time.Duration) {
	if *histogram == nil {
		*histogram = hdrhistogram.New(1, maxLatency, 3)
	}
	_ = (*histogram).RecordValue(min(max(0, int64(taken)), maxLatency))
}

// encode returns a histogram in the V2 encoding; the library adds base64.
func encode(histogram *hdrhistogram.Histogram) *pb.Histogram {
	if histogram == nil {
		return nil
	}
	text, err := histogram.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err)
	}
	hdr, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		panic(err)
	}
	return &pb.Histogram{Hdr: hdr}
}

// cpuUsed returns the CPU time of this process.
func cpuUsed() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

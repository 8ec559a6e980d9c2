// A load generator for pytest-loadgen, written against loadgen.proto alone: HTTP/1.1, at a rate or as
// fast as answers come, in one file.
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
	name    = "go"
	highest = int64(time.Hour)
)

var features = []string{"http", "rate", "max", "body"}

func main() {
	// Without TLS and a token it is for this machine only.
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	alive := 5 * time.Second
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(64<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: alive, Timeout: alive}),
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
		LatencyFrom:            pb.LatencyFrom_LATENCY_FROM_SCHEDULED,
		StreamsIntervals:             true,
		Generators:       []string{name},
	}, known(request.Generator)
}

func (generator) Run(plan *pb.Plan, stream grpc.ServerStreamingServer[pb.Interval]) error {
	load, err := read(plan)
	if err == nil {
		err = load.find(stream.Context())
	}
	if err != nil {
		return err
	}
	// When the client cancels, or is gone, the context is done, and with it every request.
	ctx, stop := context.WithCancel(stream.Context())
	defer load.close()
	defer stop()
	return load.run(ctx, stream.Send)
}

func known(generator string) error {
	if generator != "" && generator != name {
		return status.Errorf(codes.NotFound, "there is no load generator %q at that machine: there is %q", generator, name)
	}
	return nil
}

// load is one plan, and what came of it so far.
type load struct {
	request     *http.Request
	body        []byte
	address     string
	client      *http.Client
	connections int
	rate        float64 // per second; 0: as fast as answers come
	phase       float64 // how far the first request is behind the start, in requests
	warmup      time.Duration
	duration    time.Duration
	timeout     time.Duration
	ready       time.Duration
	start       time.Time
	received    atomic.Uint64

	mutex     sync.Mutex
	open      map[net.Conn]bool
	stretches map[int]*stretch
	sent      int // how many intervals were sent
	cpu       time.Duration
	looked    time.Time
}

func read(plan *pb.Plan) (*load, error) {
	impossible := func(why string) (*load, error) {
		return nil, status.Errorf(codes.InvalidArgument, "%s cannot do this plan: %s", name, why)
	}
	target := plan.GetTarget()
	if err := known(plan.Generator); err != nil {
		return nil, err
	}
	if target.GetScheme() != "http" || target.Http2 {
		return impossible("it speaks HTTP/1.1 only")
	}
	if !bytes.HasPrefix(target.Path, []byte("/")) {
		return impossible("its path does not begin with /")
	}
	if plan.Arrivals == pb.Arrivals_ARRIVALS_POISSON || len(plan.Stages) == 0 {
		return impossible("its arrivals are constant")
	}
	if plan.Connections == 0 || plan.Parts == 0 || !(plan.Timeout > 0) {
		return impossible("it has no connections, no parts or no time-out")
	}
	rate, seconds := plan.Stages[0].Start, 0.0
	for _, stage := range plan.Stages {
		if !same(stage.Start, rate) || !same(stage.End, rate) {
			return impossible("its rate is always the same")
		}
		seconds += stage.Seconds
	}
	perSecond := 0.0
	if rate != nil {
		exact, ok := new(big.Rat).SetString(*rate)
		if perSecond, _ = exact.Float64(); !ok || !(perSecond > 0) {
			return impossible("a rate is a fraction above 0")
		}
	}
	load := &load{
		body:        target.Body,
		address:     net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))),
		connections: int(plan.Connections),
		rate:        perSecond,
		phase:       float64(plan.Part) / float64(plan.Parts),
		warmup:      span(plan.Warmup),
		duration:    span(seconds),
		timeout:     span(plan.Timeout),
		ready:       span(plan.ReadyTimeout),
		open:        map[net.Conn]bool{},
		stretches:   map[int]*stretch{},
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
		case "content-length": // of the body, and that is written anyway
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

func span(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

// find waits until the service accepts connections, and refuses one that is neither here nor private.
func (l *load) find(ctx context.Context) error {
	deadline := time.Now().Add(l.ready)
	for {
		connection, err := (&net.Dialer{Control: allowed, Timeout: 2 * time.Second}).DialContext(ctx, "tcp", l.address)
		if err == nil {
			l.address = connection.RemoteAddr().String()
			return connection.Close()
		}
		if errors.Is(err, errForbidden) {
			return status.Errorf(codes.PermissionDenied, "%s: %s", l.address, errForbidden)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return status.Errorf(codes.FailedPrecondition, "%s accepts no connections: %v", l.address, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var errForbidden = errors.New("it is neither this machine nor in a private network, and a load there may harm others")

// Where clouds have what may be secret, in private networks all the same.
var metadata = []string{"fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe"}

func allowed(_, address string, _ syscall.RawConn) error {
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); ip == nil || slices.Contains(metadata, ip.String()) || !(ip.IsLoopback() || ip.IsPrivate()) {
		return errForbidden
	}
	return nil
}

// run carries out the plan, and tells of each second when it is over.
func (l *load) run(ctx context.Context, tell func(*pb.Interval) error) error {
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
				l.atRate(ctx, &next)
			} else {
				l.asFastAsItGoes(ctx)
			}
		}()
	}
	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	return l.tell(ctx, done, tell)
}

// atRate sends one after another of the requests that the workers share, each when it is due.
func (l *load) atRate(ctx context.Context, next *atomic.Int64) {
	for {
		free := time.Now()
		offset := span((float64(next.Add(1)-1) + l.phase) / l.rate)
		if offset >= l.duration || !sleep(ctx, time.Until(l.start.Add(offset))) {
			return
		}
		due, now := l.start.Add(offset), time.Now()
		late := now.Sub(due)
		if free.After(due) {
			// That no worker was free is the service's fault; only what came then is the generator's.
			late = now.Sub(free)
		}
		l.send(ctx, due, late, offset >= 0)
	}
}

// asFastAsItGoes sends a request as soon as the one before is answered.
func (l *load) asFastAsItGoes(ctx context.Context) {
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

// send makes one request, and counts what came of it.
func (l *load) send(ctx context.Context, due time.Time, late time.Duration, counts bool) {
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
	if late >= 0 {
		record(&l.at(due).lag, late)
	}
	stretch := l.at(end)
	stretch.outcomes[outcome]++
	stretch.retried += uint64(max(0, attempts-1))
	if neverSent {
		stretch.neverSent++
	}
	if outcome[0] >= '0' && outcome[0] <= '9' {
		record(&stretch.latency, end.Sub(due))
		record(&stretch.service, end.Sub(sent))
	}
}

// exchange sends the request and reads the answer to its end, and gives its status, or the kind of failure.
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

// dial opens a connection to the address that was found, and counts what is read from it.
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

// close leaves nothing open.
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

// stretch is what becomes an interval.
type stretch struct {
	latency, service, lag *hdrhistogram.Histogram
	outcomes              map[string]uint64
	retried, neverSent        uint64
}

// whole tells in how many stretches requests are sent: of a second each, the last of up to one and a half.
func (l *load) whole() int {
	return max(1, int(l.duration.Seconds()+0.5))
}

// at gives the stretch of a moment, or the first that has not been told of yet.
func (l *load) at(moment time.Time) *stretch {
	since := moment.Sub(l.start)
	number := min(max(0, int(since.Seconds())), l.whole()-1)
	if since >= l.duration {
		number = l.whole() + int((since - l.duration).Seconds())
	}
	number = max(number, l.sent)
	if l.stretches[number] == nil {
		l.stretches[number] = &stretch{outcomes: map[string]uint64{}}
	}
	return l.stretches[number]
}

// tell sends each interval when it has ended, and those of late answers.
func (l *load) tell(ctx context.Context, done <-chan struct{}, tell func(*pb.Interval) error) error {
	sleep(ctx, time.Until(l.start))
	l.cpu, l.looked = used(), l.start
	l.received.Store(0)
	for number := 0; ; number++ {
		if number < l.whole() {
			if !sleep(ctx, time.Until(l.start.Add(span(l.end(number))))) {
				return ctx.Err()
			}
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-done:
				if !l.more() {
					return nil
				}
			case <-time.After(time.Second):
			}
		}
		if err := tell(l.interval(number)); err != nil {
			return err
		}
	}
}

func (l *load) end(number int) float64 {
	if number == l.whole()-1 {
		return l.duration.Seconds()
	}
	return float64(number + 1)
}

func (l *load) more() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.stretches) > 0
}

func (l *load) interval(number int) *pb.Interval {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	ended := l.stretches[number]
	if ended == nil {
		ended = &stretch{}
	}
	delete(l.stretches, number)
	l.sent = number + 1
	interval := &pb.Interval{
		Start:       float64(number),
		Latency:     encoded(ended.latency),
		ServiceTime: encoded(ended.service),
		Lag:         encoded(ended.lag),
		Outcomes:    ended.outcomes,
		Received:    l.received.Swap(0),
		Retried:      ended.retried,
		NeverSent:      ended.neverSent,
	}
	if number >= l.whole() {
		interval.Start = l.duration.Seconds() + float64(number-l.whole())
		return interval
	}
	interval.Seconds = l.end(number) - interval.Start
	now, cpu := time.Now(), used()
	interval.Cpu = math.Max(0, (cpu-l.cpu).Seconds()/now.Sub(l.looked).Seconds())
	l.looked, l.cpu = now, cpu
	return interval
}

func record(histogram **hdrhistogram.Histogram, taken time.Duration) {
	if *histogram == nil {
		*histogram = hdrhistogram.New(1, highest, 3)
	}
	_ = (*histogram).RecordValue(min(max(0, int64(taken)), highest))
}

// encoded writes a histogram as HdrHistogram V2; its library does so in base64.
func encoded(histogram *hdrhistogram.Histogram) *pb.Histogram {
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

// used tells the CPU time of this process.
func used() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

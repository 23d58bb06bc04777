package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is what a load prints. Times are in microseconds.
type result struct {
	Done   int64   `json:"done"`
	Failed int64   `json:"failed"`
	Rate   float64 `json:"rate"` // a second
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	First  float64 `json:"first"`  // of a stream's events
	Closed int64   `json:"closed"` // connections that an answer ended, as it said
	Fault  string  `json:"fault,omitempty"`
}

// job is one load.
type job struct {
	proxy  string // HOST:PORT; empty: direct
	port   string // of the server
	roots  *x509.CertPool
	conns  int
	time   time.Duration
	count  int64 // of requests; 0: as many as the time allows
	size   int64 // of bodies
	every  time.Duration
	failed atomic.Int64
	closed atomic.Int64
	fault  atomic.Pointer[string]
}

func load(mode string, args []string) (result, error) {
	j := &job{}
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&j.proxy, "proxy", "", "")
	f.StringVar(&j.port, "port", "", "")
	roots := f.String("roots", "", "PEM file")
	f.IntVar(&j.conns, "conns", 16, "")
	f.DurationVar(&j.time, "time", time.Second, "")
	f.Int64Var(&j.count, "count", 0, "")
	f.Int64Var(&j.size, "size", jsonSize, "")
	f.DurationVar(&j.every, "every", 5*time.Millisecond, "")
	if err := f.Parse(args); err != nil {
		return result{}, err
	}
	pem, err := os.ReadFile(*roots)
	if err != nil {
		return result{}, err
	}
	j.roots = x509.NewCertPool()
	j.roots.AppendCertsFromPEM(pem)
	do, ok := map[string]func() (result, error){"requests": j.requests, "rate": j.atRate, "connections": j.connections, "stream": j.stream,
		"download": j.download, "hold": j.hold, "h2requests": j.requestsH2, "h2rate": j.atRateH2, "h2download": j.downloadH2}[mode]
	if !ok {
		return result{}, fmt.Errorf("there is no load %q", mode)
	}
	r, err := do()
	r.Failed, r.Closed = j.failed.Load(), j.closed.Load()
	if fault := j.fault.Load(); fault != nil {
		r.Fault = *fault
	}
	return r, err
}

func (j *job) fail(err error) {
	j.failed.Add(1)
	s := err.Error()
	j.fault.CompareAndSwap(nil, &s)
}

// open connects, through the proxy where there is one.
func (j *job) open() (*tls.Conn, error) {
	at := "localhost:" + j.port
	to := "127.0.0.1:" + j.port
	if j.proxy != "" {
		to = j.proxy
	}
	c, err := net.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	if j.proxy != "" {
		if err := connect(c, at); err != nil {
			c.Close()
			return nil, err
		}
	}
	t := tls.Client(c, &tls.Config{ServerName: "localhost", RootCAs: j.roots, NextProtos: []string{"http/1.1"}})
	if err := t.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

func connect(c net.Conn, at string) error {
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", at, at); err != nil {
		return err
	}
	var got []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(got), "\r\n\r\n"); {
		if _, err := c.Read(one); err != nil {
			return err
		}
		got = append(got, one[0])
	}
	if !strings.Contains(string(got[:min(len(got), 13)]), " 200") {
		return fmt.Errorf("the proxy says %q", got)
	}
	return nil
}

// post is a request with a body, made once.
func (j *job) post(size int64) []byte {
	body := jsonText
	if size != jsonSize {
		body = strings.Repeat("x", int(size))
	}
	return fmt.Appendf(nil, "POST /json HTTP/1.1\r\nHost: localhost:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", j.port, len(body), body)
}

// ask sends a request and reads its answer, which has a length. It says whether
// that was the last on its connection.
func ask(c net.Conn, request, buf []byte) (last bool, err error) {
	if _, err := c.Write(request); err != nil {
		return false, err
	}
	have, want := 0, -1
	for want < 0 || have < want {
		n, err := c.Read(buf[have:])
		if have += n; want < 0 {
			want, last, err = whole(buf[:have], err)
		}
		if err != nil {
			return false, err
		}
	}
	return last, nil
}

// whole returns the size of an answer once its head is there, and whether it is
// the last.
func whole(got []byte, err error) (size int, last bool, _ error) {
	head, _, ok := strings.Cut(string(got), "\r\n\r\n")
	if !ok || err != nil {
		return -1, false, err
	}
	if !strings.HasPrefix(head, "HTTP/1.1 200") {
		return -1, false, fmt.Errorf("the answer is %q", head)
	}
	low := strings.ToLower(head)
	_, rest, ok := strings.Cut(low, "content-length: ")
	if !ok {
		return -1, false, errors.New("the answer has no length")
	}
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(digits)
	return len(head) + 4 + n, strings.Contains(low, "\r\nconnection: close"), err
}

// requests asks on all connections as fast as it goes.
func (j *job) requests() (result, error) {
	request := j.post(j.size)
	var done atomic.Int64
	list := make([]*tls.Conn, j.conns)
	for i := range list {
		c, err := j.open()
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		list[i] = c
	}
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range list {
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for time.Since(start) < j.time || j.count > 0 {
				if n := done.Add(1); j.count > 0 && n > j.count {
					done.Add(-1)
					return
				}
				last, err := ask(c, request, buf)
				if err != nil {
					j.fail(err)
				} else if last {
					j.closed.Add(1)
				}
				if err != nil || last {
					c.Close()
					if c, err = j.open(); err != nil {
						j.fail(err)
						return
					}
				}
			}
			c.Close()
		})
	}
	wg.Wait()
	return result{Done: done.Load(), Rate: float64(done.Load()) / time.Since(start).Seconds()}, nil
}

// atRate asks every so often, whether the last answer is there or not.
func (j *job) atRate() (result, error) {
	request := j.post(j.size)
	work := make(chan time.Time, 1000)
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	for range j.conns {
		c, err := j.open()
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for range work {
				start := time.Now()
				if _, err := ask(c, request, buf); err != nil {
					j.fail(err)
					return
				}
				mu.Lock()
				took = append(took, micros(time.Since(start)))
				mu.Unlock()
			}
		})
	}
	tick := time.NewTicker(j.every)
	for end := time.Now().Add(j.time); time.Now().Before(end); {
		work <- <-tick.C
	}
	close(work)
	wg.Wait()
	return spread(took), nil
}

// connections asks once on each new connection.
func (j *job) connections() (result, error) {
	request := append([]byte("POST /json HTTP/1.1\r\nConnection: close\r\n"), j.post(j.size)[len("POST /json HTTP/1.1\r\n"):]...)
	var done atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range j.conns {
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for time.Since(start) < j.time {
				c, err := j.open()
				if err == nil {
					_, err = ask(c, request, buf)
					c.Close()
				}
				if err != nil {
					j.fail(err)
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return result{Done: done.Load(), Rate: float64(done.Load()) / time.Since(start).Seconds()}, nil
}

func (j *job) get(c *tls.Conn, path string) (*http.Response, error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost:%s\r\n\r\n", path, j.port); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 64<<10), nil)
	if err == nil && r.StatusCode != 200 {
		err = errors.New(r.Status)
	}
	return r, err
}

// stream reads streams of events, one after another, and compares the time in
// each event with the time of its arrival.
func (j *job) stream() (result, error) {
	c, err := j.open()
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	var each, first []float64
	for end := time.Now().Add(j.time); time.Now().Before(end); {
		start := time.Now()
		r, err := j.get(c, "/events?n=20&every="+j.every.String())
		if err != nil {
			return result{}, err
		}
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			sent, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			now := time.Now()
			at, err := strconv.ParseInt(sent, 10, 64)
			if err != nil {
				return result{}, err
			}
			if first == nil || len(each)%20 == 0 {
				first = append(first, micros(now.Sub(start)))
			}
			each = append(each, float64(now.UnixNano()-at)/1000)
		}
	}
	r := spread(each)
	r.First = spread(first).P50
	return r, nil
}

// download fetches one large body.
func (j *job) download() (result, error) {
	c, err := j.open()
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	start := time.Now()
	r, err := j.get(c, "/download?n="+strconv.FormatInt(j.size, 10))
	if err != nil {
		return result{}, err
	}
	n, err := io.Copy(io.Discard, r.Body)
	if n != j.size {
		j.fail(fmt.Errorf("%d of %d bytes: %w", n, j.size, err))
	}
	return result{Done: n, Rate: float64(n) / (1 << 20) / time.Since(start).Seconds()}, nil
}

// hold opens streams, says so once the first event of each is there, and holds
// them until its standard input ends.
func (j *job) hold() (result, error) {
	for range j.conns {
		c, err := j.open()
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		r, err := j.get(c, "/events?n=100000&every=5s")
		if err != nil {
			return result{}, err
		}
		if _, err := bufio.NewReaderSize(r.Body, 64).ReadString('\n'); err != nil {
			return result{}, err
		}
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	return result{Done: int64(j.conns)}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func spread(took []float64) result {
	if len(took) == 0 {
		return result{}
	}
	slices.Sort(took)
	return result{Done: int64(len(took)), P50: took[len(took)/2], P99: took[len(took)*99/100]}
}

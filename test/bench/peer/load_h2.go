package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// dialH2 makes a client whose requests are streams of one connection.
func (j *job) dialH2() (*http.Client, error) {
	t := &http.Transport{Protocols: &http.Protocols{}, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: j.roots}}
	t.Protocols.SetHTTP2(true)
	if j.proxy != "" {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: j.proxy})
	}
	c := &http.Client{Transport: t}
	return c, j.askH2(c) // the connection is there then
}

// askH2 sends a request of a small size and reads its answer.
func (j *job) askH2(c *http.Client) error {
	r, err := c.Post("https://localhost:"+j.port+"/json", "application/json", strings.NewReader(jsonText))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err == nil && (r.StatusCode != 200 || r.ProtoMajor != 2 || n != jsonSize) {
		err = fmt.Errorf("the answer is %s %s with %d bytes", r.Proto, r.Status, n)
	}
	return err
}

// requestsH2 is requests on as many streams at once.
func (j *job) requestsH2() (result, error) {
	c, err := j.dialH2()
	if err != nil {
		return result{}, err
	}
	var done atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range j.conns {
		wg.Go(func() {
			for time.Since(start) < j.time {
				if err := j.askH2(c); err != nil {
					j.fail(err)
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return result{Done: done.Load(), Rate: float64(done.Load()) / time.Since(start).Seconds()}, nil
}

// atRateH2 is atRate with a stream for each request.
func (j *job) atRateH2() (result, error) {
	c, err := j.dialH2()
	if err != nil {
		return result{}, err
	}
	var mu sync.Mutex
	var took []float64
	var wg sync.WaitGroup
	tick := time.NewTicker(j.every)
	for end := time.Now().Add(j.time); time.Now().Before(end); {
		<-tick.C
		wg.Go(func() {
			start := time.Now()
			if err := j.askH2(c); err != nil {
				j.fail(err)
				return
			}
			mu.Lock()
			took = append(took, micros(time.Since(start)))
			mu.Unlock()
		})
	}
	wg.Wait()
	return spread(took), nil
}

// downloadH2 is one large answer.
func (j *job) downloadH2() (result, error) {
	c, err := j.dialH2()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	r, err := c.Get(fmt.Sprintf("https://localhost:%s/download?n=%d", j.port, j.size))
	if err != nil {
		return result{}, err
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err == nil && n != j.size {
		err = fmt.Errorf("%d bytes came", n)
	}
	return result{Done: 1, Rate: float64(n) / (1 << 20) / time.Since(start).Seconds()}, err
}

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// contender is a proxy under test; the zero one is none: the direct way.
type contender struct {
	name  string
	proxy string // HOST:PORT
	roots string // PEM file that its clients trust
	pid   int
}

// outcome is what test/bench/peer prints.
type outcome struct {
	Done, Failed        int64
	Closed              int64 // connections that ended with an answer that said so
	Rate                float64
	P50, P99, First     float64
	Fault               string
	cpu                 time.Duration // of the proxy, for all of it
	memory, memoryAfter int64         // KiB, the most before and after
}

// ring is a server, the ways to it, and the program that asks.
type ring struct {
	t    *testing.T
	dir  string
	bin  string
	port string
	all  []*contender
}

// newRing builds the programs and starts them, each a process of its own.
func newRing(t *testing.T) *ring {
	t.Helper()
	r := &ring{t: t, dir: t.TempDir(), bin: t.TempDir()}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", r.bin+"/", "./peer", "./egress", "./goproxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v: %s", err, out)
	}
	r.port, _ = start(t, filepath.Join(r.bin, "peer"), "server", r.dir)
	r.all = []*contender{{name: "direct", roots: "upstream.pem"}}
	for _, c := range []*contender{{name: "egress", roots: "ca.crt"}, {name: "goproxy", roots: "goproxy.pem"}} {
		port, pid := start(t, filepath.Join(r.bin, c.name), r.dir, r.port)
		c.proxy, c.pid = "127.0.0.1:"+port, pid
		r.all = append(r.all, c)
	}
	r.mitmproxy()
	return r
}

// start runs a program until the test ends, and returns the port that it prints.
func start(t *testing.T, program string, args ...string) (port string, pid int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	said := &beginning{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("%s did not start: %v: %s", program, err, said.text)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

// beginning keeps the first of what a program says: why it does not start, and
// not the thousand lines about clients that left.
type beginning struct{ text []byte }

func (b *beginning) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), 4<<10-len(b.text))]...)
	return len(p), nil
}

// mitmproxy is a contender where it is installed.
func (r *ring) mitmproxy() {
	if _, err := exec.LookPath("mitmdump"); err != nil {
		fmt.Println("mitmproxy is not here (apt-get install mitmproxy): it is left out")
		return
	}
	cmd := exec.Command("mitmdump", "--listen-host", "127.0.0.1", "--listen-port", "0", "--set", "confdir="+r.dir, "--set", "flow_detail=0", "--set", "termlog_verbosity=info",
		"--set", "ssl_verify_upstream_trusted_ca="+filepath.Join(r.dir, "upstream.pem"), "--set", "connection_strategy=lazy", "--set", "http2=false", "-s", "allow.py")
	cmd.Env = append(os.Environ(), "ALLOWED_PORT="+r.port, "PYTHONUNBUFFERED=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	said := bufio.NewReader(out)
	for {
		line, err := said.ReadString('\n')
		if err != nil {
			r.t.Fatalf("mitmdump did not start: %v", err)
		}
		if _, port, ok := strings.Cut(strings.TrimSpace(line), "listening at"); ok {
			go io.Copy(io.Discard, said)
			port = strings.Trim(port[strings.LastIndexByte(port, ':'):], ":. ")
			r.all = append(r.all, &contender{name: "mitmproxy", proxy: "127.0.0.1:" + port, roots: "mitmproxy-ca-cert.pem", pid: cmd.Process.Pid})
			return
		}
	}
}

// ask prepares a load by way of a contender.
func (r *ring) ask(c *contender, mode string, flags ...string) *exec.Cmd {
	args := append([]string{"load", mode, "-port", r.port, "-roots", filepath.Join(r.dir, c.roots), "-proxy", c.proxy}, flags...)
	return exec.Command(filepath.Join(r.bin, "peer"), args...)
}

// load runs one to its end.
func (r *ring) load(c *contender, mode string, flags ...string) outcome {
	r.t.Helper()
	var o outcome
	before, memory := cpuOf(c.pid), memoryOf(c.pid)
	out, err := r.ask(c, mode, flags...).Output()
	if err == nil {
		err = json.Unmarshal(out, &o)
	}
	if err != nil || o.Failed > 0 {
		r.t.Errorf("%s by way of %s: %v, %d failed: %s", mode, c.name, err, o.Failed, o.Fault)
	}
	o.cpu, o.memory, o.memoryAfter = cpuOf(c.pid)-before, memory, memoryOf(c.pid)
	return o
}

// cpuOf is what a process has used; the kernel counts in hundredths of a second.
func cpuOf(pid int) time.Duration { return ticks(pid, 12) }

// cpuOfEnded is what its children had used when they ended.
func cpuOfEnded(pid int) time.Duration { return ticks(pid, 14) }

// ticks adds two fields of /proc/PID/stat, counted behind the program's name.
func ticks(pid, field int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')'):]))
	user, _ := strconv.ParseInt(fields[field], 10, 64)
	system, _ := strconv.ParseInt(fields[field+1], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memoryOf is the most memory that a process has had, in KiB.
func memoryOf(pid int) (kib int64) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, rest, ok := strings.Cut(string(data), "VmHWM:"); ok {
		fmt.Sscan(rest, &kib)
	}
	return kib
}

// forget lets a process' peak of memory begin anew.
func forget(pid int) {
	if pid != 0 {
		os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// figures are one measurement of all contenders, a list each.
type figures map[string][]float64

func (f figures) add(c *contender, v float64) { f[c.name] = append(f[c.name], v) }

func median(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }

// print shows medians, and how egress compares: the median over the rounds of its
// quotient (÷) or difference (−), each within one round, since the machine's
// speed drifts.
func (f figures) print(r *ring, what, unit, by string) {
	fmt.Printf("%-34s", what)
	for _, c := range r.all {
		if len(f[c.name]) == 0 {
			continue
		}
		fmt.Printf("  %s %.4g %s", c.name, median(f[c.name]), unit)
		if c.name == "egress" {
			continue
		}
		var compared []float64
		for i, theirs := range f[c.name] {
			if by == "÷" {
				compared = append(compared, f["egress"][i]/theirs)
			} else {
				compared = append(compared, f["egress"][i]-theirs)
			}
		}
		fmt.Printf(" (%s %.3g)", by, median(compared))
	}
	fmt.Println()
}

// scale is how much of each measurement is made.
type scale struct {
	rounds     int
	span, long string // of a load at full speed, and of one at a rate
	posts      int
	streams    []int
}

// TestEgressAgainstOthers is the table of egress' goals, a part for each kind of
// load, to be run alone where time is short. A part goes round all contenders in
// turn before it measures again.
func TestEgressAgainstOthers(t *testing.T) {
	s := scale{rounds: 9, span: "1s", long: "3s", posts: 100000, streams: []int{200, 1000}}
	if rounds, _ := size(); rounds == 1 {
		s = scale{rounds: 1, span: "100ms", long: "100ms", posts: 200, streams: []int{20}}
	}
	r := newRing(t)
	for _, part := range []struct {
		name string
		run  func(*ring, scale)
	}{{"requests", (*ring).requests}, {"latency", (*ring).latency}, {"connections", (*ring).connections}, {"events", (*ring).events},
		{"download", (*ring).download}, {"HTTP2", (*ring).secondVersion}, {"streams", (*ring).streams}, {"posts", (*ring).posts}, {"start", (*ring).starts}} {
		t.Run(part.name, func(t *testing.T) {
			whole := r.t
			r.t = t
			defer func() { r.t = whole }()
			part.run(r, s)
		})
	}
}

// requests are small ones at full speed.
func (r *ring) requests(s scale) {
	rate, cpu, memory := figures{}, figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all {
			forget(c.pid)
			o := r.load(c, "requests", "-time", s.span)
			rate.add(c, o.Rate)
			if c.pid != 0 {
				cpu.add(c, float64(o.cpu.Microseconds())/float64(o.Done))
				memory.add(c, float64(o.memoryAfter)/1024)
			}
		}
	}
	rate.print(r, "requests a second, 1 KB each way", "/s", "÷")
	cpu.print(r, "CPU a request, saturated", "µs", "÷")
	memory.print(r, "memory under load, most", "MiB", "÷")
}

func (r *ring) latency(s scale) {
	p50, p99 := figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all {
			o := r.load(c, "rate", "-time", s.long)
			p50.add(c, o.P50/1000)
			p99.add(c, o.P99/1000)
		}
	}
	p50.print(r, "latency at 200/s, p50", "ms", "−")
	p99.print(r, "latency at 200/s, p99", "ms", "−")
}

func (r *ring) connections(s scale) {
	rate := figures{}
	for range s.rounds {
		for _, c := range r.all {
			rate.add(c, r.load(c, "connections", "-time", s.span, "-conns", "4").Rate)
		}
	}
	rate.print(r, "new connections", "/s", "÷")
}

func (r *ring) events(s scale) {
	first, each := figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all {
			o := r.load(c, "stream", "-time", s.span)
			first.add(c, o.First/1000)
			each.add(c, o.P50/1000)
		}
	}
	first.print(r, "a stream's first event, p50", "ms", "−")
	each.print(r, "each event, p50", "ms", "−")
}

func (r *ring) download(s scale) {
	rate, added := figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all {
			forget(c.pid)
			o := r.load(c, "download", "-size", fmt.Sprint(64<<20))
			rate.add(c, o.Rate)
			if c.pid != 0 {
				added.add(c, float64(o.memoryAfter-o.memory)/1024)
			}
		}
	}
	rate.print(r, "a download of 64 MiB", "MiB/s", "÷")
	added.print(r, "memory that it adds", "MiB", "−")
}

// secondVersion is HTTP/2 on both hops, for those that speak it.
func (r *ring) secondVersion(s scale) {
	rate, cpu, p50, p99, large := figures{}, figures{}, figures{}, figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all[:2] {
			o := r.load(c, "h2requests", "-time", s.span)
			rate.add(c, o.Rate)
			if c.pid != 0 {
				cpu.add(c, float64(o.cpu.Microseconds())/float64(o.Done))
			}
			o = r.load(c, "h2rate", "-time", s.long)
			p50.add(c, o.P50/1000)
			p99.add(c, o.P99/1000)
			large.add(c, r.load(c, "h2download", "-size", fmt.Sprint(64<<20)).Rate)
		}
	}
	rate.print(r, "HTTP/2: requests a second, 1 KB", "/s", "÷")
	cpu.print(r, "HTTP/2: CPU a request, saturated", "µs", "÷")
	p50.print(r, "HTTP/2: latency at 200/s, p50", "ms", "−")
	p99.print(r, "HTTP/2: latency at 200/s, p99", "ms", "−")
	large.print(r, "HTTP/2: a download of 64 MiB", "MiB/s", "÷")
}

// streams are many that are open at once, and idle.
func (r *ring) streams(s scale) {
	for _, n := range s.streams {
		held := figures{}
		for _, c := range r.all {
			if c.pid != 0 {
				forget(c.pid)
				r.hold(c, n)
				held.add(c, float64(memoryOf(c.pid))/1024)
			}
		}
		held.print(r, fmt.Sprintf("memory with %d open streams", n), "MiB", "÷")
	}
}

// posts are large ones, none of which may fail.
func (r *ring) posts(s scale) {
	o := r.load(r.all[1], "requests", "-count", fmt.Sprint(s.posts), "-size", fmt.Sprint(64<<10))
	fmt.Printf("%-34s  egress %d failed of %d, %.0f/s, and %d ended their connection\n", "POSTs of 64 KiB", o.Failed, o.Done, o.Rate, o.Closed)
}

// hold opens streams and holds them while they are looked at.
func (r *ring) hold(c *contender, n int) {
	r.t.Helper()
	cmd := r.ask(c, "hold", "-conns", fmt.Sprint(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		r.t.Errorf("%s does not hold %d streams: %v", c.name, n, err)
	}
	in.Close()
	cmd.Process.Kill()
	cmd.Wait()
}

// starts times egress from its exec until it listens.
func (r *ring) starts(s scale) {
	took := &timing{name: "egress, from its start until it listens"}
	for range s.rounds * 3 {
		dir := r.t.TempDir()
		roots, err := os.ReadFile(filepath.Join(r.dir, "upstream.pem"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "upstream.pem"), roots, 0o600)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		took.run(r.t, func() { start(r.t, filepath.Join(r.bin, "egress"), dir, r.port) })
	}
	fmt.Println(took)
}

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a second scanner behind egress costs: requests by way of egress alone, and by
// way of egress and the tests' stand-in for pipelock, which opens TLS once more and
// scans for two patterns. What a real one scans for comes on top.
func TestSecondHop(t *testing.T) {
	s := scale{rounds: 9, span: "1s", long: "2s"}
	if rounds, _ := size(); rounds == 1 {
		s = scale{rounds: 1, span: "100ms", long: "100ms"}
	}
	r := &ring{t: t, dir: t.TempDir(), bin: t.TempDir()}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", r.bin+"/", "./peer", "./egress", "../pipelock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v: %s", err, out)
	}
	r.port, _ = start(t, filepath.Join(r.bin, "peer"), "server", r.dir)
	behind := filepath.Join(r.dir, "behind")
	roots, err := os.ReadFile(filepath.Join(r.dir, "upstream.pem"))
	if err == nil {
		err = os.Mkdir(behind, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(behind, "upstream.pem"), roots, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	alone := &contender{name: "egress", roots: "ca.crt"}
	both := &contender{name: "egress and pipelock's stand-in", roots: "behind/ca.crt"}
	r.all = []*contender{alone, both}
	port, pid := start(t, filepath.Join(r.bin, "egress"), r.dir, r.port)
	alone.proxy, alone.pid = "127.0.0.1:"+port, pid
	port, pid = start(t, filepath.Join(r.bin, "egress"), behind, r.port, filepath.Join(r.bin, "pipelock"))
	both.proxy, both.pid = "127.0.0.1:"+port, pid
	rate, p50 := figures{}, figures{}
	for range s.rounds {
		for _, c := range r.all {
			rate.add(c, r.load(c, "requests", "-time", s.span).Rate)
			p50.add(c, r.load(c, "rate", "-time", s.long).P50/1000)
		}
	}
	rate.print(r, "requests a second, 1 KB each way", "/s", "÷")
	p50.print(r, "latency at 200/s, p50", "ms", "÷")
	fmt.Println()
}

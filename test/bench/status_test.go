package bench

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// tmux asks for the status line again and again: with an engine that answers,
// and with one that stalls.
func statusLine(t *testing.T, r *rig.Rig, rounds, bottles int) {
	for _, b := range r.Bottles() {
		for n := range 20 {
			r.Write(fmt.Sprintf("state/%s/egress/out/proposals/egress-denied-%016d.json", b.Slug, n), "{}")
		}
	}
	want := fmt.Sprintf("%d running  0 working  0 waiting  %d pending\n", bottles, 20*bottles)
	line := func(name string) {
		t.Helper()
		took := &timing{name: fmt.Sprintf("bottle-ls --status-line, %d bottles, %s", bottles, name)}
		start := &timing{name: "bottle-ls --help: the start of such a program"}
		var cpu time.Duration
		for range rounds * 8 {
			took.run(t, func() {
				cmd := r.Command(t.Context(), "bottle-ls", "--status-line")
				if out, err := cmd.Output(); err != nil || string(out) != want {
					t.Fatalf("bottle-ls --status-line: %v: %s", err, out)
				}
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			})
			start.run(t, func() { r.Run("bottle-ls", "--help") })
		}
		report(took, start)
		fmt.Printf("%52s %.1f ms of CPU each\n\n", "", float64(cpu.Microseconds())/1000/float64(len(took.took)))
	}
	line("the engine answers")
	stalled, err := net.Listen("unix", filepath.Join(r.Dir, "stalled.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	defer func() { r.Env = nil }()
	r.Env = []string{"DOCKER_HOST=unix://" + stalled.Addr().String()}
	line("the engine stalls")
	r.Env = []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}
	if out, said, code := r.Run("bottle-ls", "--status-line"); code != 0 || !strings.HasSuffix(out, fmt.Sprintf("%d pending\n", 20*bottles)) {
		t.Errorf("without an engine it ended with %d: %s%s", code, out, said)
	}
}

package dash

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// TestBench prints what the dashboard costs, where BOTTLE_BENCH=1 asks for it.
func TestBench(t *testing.T) {
	if os.Getenv("BOTTLE_BENCH") == "" {
		t.Skip("BOTTLE_BENCH is not set")
	}
	t.Run("row", benchRow)
	t.Run("enter", benchEnter)
	t.Run("idle", benchIdle)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// benchRow: from a line of bottle-ls to its row.
func benchRow(t *testing.T) {
	s, r := board(t, 120, 40)
	var took []time.Duration
	for n := range 20 {
		host := fmt.Sprintf("host%d.example.com", n)
		began := time.Now()
		r.prints("bottle-ls proposals --watch", proposalLine(fmt.Sprintf("egress-block-%d", n), host, "pending"))
		for !strings.Contains(s.screen("t"), host) {
		}
		took = append(took, time.Since(began))
	}
	t.Logf("line to row: %v median of %d", median(took), len(took))
}

// benchEnter: from Enter to the agent's screen in the right pane.
func benchEnter(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(180, 40, "bottle-dash")
	counting(t, r, s, "one")
	counting(t, r, s, "two")
	s.sees("t:0.0", "two ")
	s.keys("t:0.0", "Enter")
	s.await("a right pane", func() bool { id, _ := s.right(); return id != "" })
	id, _ := s.right()
	var took []time.Duration
	for n := range 20 {
		key, slug := "j", "two"
		if n%2 == 1 {
			key, slug = "k", "one"
		}
		s.run("select-pane", "-t", "t:0.0")
		s.keys("t:0.0", key)
		began := time.Now()
		s.keys("t:0.0", "Enter")
		for !strings.Contains(s.screen(id), slug+"-is-at-") {
		}
		took = append(took, time.Since(began))
	}
	t.Logf("Enter to the agent's screen: %v median of %d, %v the longest", median(took), len(took), took[len(took)-1])
}

// benchIdle: processor time of a dashboard in which nothing happens.
func benchIdle(t *testing.T) {
	s, _ := board(t, 120, 40)
	shell := s.run("display-message", "-p", "-t", "t", "#{pane_pid}")
	out, err := exec.Command("pgrep", "-P", shell, "-x", "bottle-dash").Output()
	if err != nil {
		t.Fatal(err)
	}
	ticks := func() int {
		text, err := os.ReadFile("/proc/" + strings.TrimSpace(string(out)) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		return user + system
	}
	const span = 20 * time.Second
	before := ticks()
	<-time.After(span)
	t.Logf("idle: %.2f%% of a core over %v", float64(ticks()-before)/span.Seconds(), span) // 100 ticks a second
}

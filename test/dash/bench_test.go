package dash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// benchRow: from the time of a proposal's file, which egress writes, to its row.
func benchRow(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(120, 40, "bottle-dash")
	s.sees("t", slug)
	var took []time.Duration
	for n := range 8 { // egress tells of ten a minute
		host := fmt.Sprintf("host%d.example.com", n)
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			r.Inside(slug, "curl", "-sS", "https://"+host)
		}()
		for !strings.Contains(s.screen("t"), host) {
		}
		shown := time.Now()
		<-asked
		took = append(took, shown.Sub(written(t, r, slug, host)))
	}
	t.Logf("a proposal's file to its row: %v median of %d, %v the longest", median(took), len(took), took[len(took)-1])
}

// written is when the proposal about a host was written.
func written(t *testing.T, r *rig.Rig, slug, host string) time.Time {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(r.Home, "state", slug, "egress/out/proposals/*.json")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		info, ierr := os.Stat(file)
		if err == nil && ierr == nil && strings.Contains(string(text), host) {
			return info.ModTime()
		}
	}
	t.Fatalf("no proposal about %s in %v", host, files)
	return time.Time{}
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

// benchIdle: processor time of a dashboard, and of what it runs, while nothing
// happens.
func benchIdle(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(120, 40, "sh", "-c", "exec bottle-dash")
	s.sees("t", slug)
	pid := s.run("display-message", "-p", "-t", "t", "#{pane_pid}")
	out, err := exec.Command("pgrep", "-P", pid).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := append(strings.Fields(string(out)), pid)
	const span = 20 * time.Second
	before := ticks(t, all)
	<-time.After(span)
	t.Logf("idle: %.2f%% of a core over %v, by %d processes", float64(ticks(t, all)-before)/span.Seconds(), span, len(all)) // 100 ticks a second
}

// ticks is the processor time of processes.
func ticks(t *testing.T, pids []string) int {
	t.Helper()
	sum := 0
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		sum += user + system
	}
	return sum
}

package escape

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// Bounds of the agent's container, as the threat model has them.
const (
	maxProcesses = 512
	maxLog       = 21 << 20 // two files of ten million bytes, and what is under way
)

// exhaustion is A9: a bottle takes all that it can get, and its neighbour lives
// on. Each part first shows that a container without walls takes more.
func exhaustion(t *testing.T, s *stage) {
	s.r.Agent("greedy", allowed)
	slug := s.r.Start("greedy")
	s.u.Join(slug)
	t.Run("memory", func(t *testing.T) { memory(t, s, slug) })
	t.Run("logs", func(t *testing.T) { logFlood(t, s, slug) })
	t.Run("disk", func(t *testing.T) { diskIsShown(t, s, slug) })
	t.Run("processes", func(t *testing.T) { forkBomb(t, s, slug) })
}

// livesOn fails unless a bottle serves its agent.
func (s *stage) livesOn(t *testing.T, slug string) {
	t.Helper()
	out, said, code := s.r.Inside(slug, "curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://"+allowed+"/")
	if out != "200" {
		t.Errorf("%s gets %q (%d): %s", slug, out, code, said)
	}
}

// forkBomb leaves children until none can be made.
func forkBomb(t *testing.T, s *stage, slug string) {
	// dash ends at the first one that cannot be made; bash would try for 15 seconds.
	const bomb = `n=0; while [ $n -lt 900 ]; do sleep 120 & n=$((n+1)); done 2>/dev/null; echo all of them`
	if out := s.r.Docker("exec", s.weak, "dash", "-c", bomb); !strings.Contains(out, "all of them") {
		t.Errorf("a container without walls is bounded too: %s", out)
	}
	if out, _, _ := s.r.Inside(slug, "dash", "-c", bomb); strings.Contains(out, "all of them") {
		t.Error("the bottle made 900 processes")
	}
	if n := s.processes(agentOf(slug)); n > maxProcesses || n < maxProcesses/2 {
		t.Errorf("the bottle has %d processes", n)
	}
	s.livesOn(t, s.other)
	// It cannot be entered any more, and it can be stopped with its work.
	if out, said, code := s.r.Run("bottle-stop", slug); code != 0 {
		t.Errorf("its stop ended with %d: %s%s", code, out, said)
	}
	s.r.Docker("exec", s.weak, "pkill", "-x", "sleep")
}

// processes counts a container's, as the host sees them.
func (s *stage) processes(container string) int {
	return len(strings.Fields(s.r.Docker("top", container, "-eo", "pid"))) - 1
}

// memory takes memory until the kernel ends it.
func memory(t *testing.T, s *stage, slug string) {
	limit := func(container string) int {
		n, err := strconv.Atoi(strings.TrimSpace(s.r.Docker("inspect", "-f", "{{.HostConfig.MemorySwap}}", container)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := limit(s.weak); n != 0 {
		t.Errorf("a container without walls is bounded to %d bytes", n)
	}
	// tail keeps a line until it ends, and this one does not.
	if _, said, code := s.r.Inside(slug, "tail", "/dev/zero"); code != 137 {
		t.Errorf("it took what it wanted and ended with %d: %s", code, said)
	}
	s.livesOn(t, s.other)
	s.livesOn(t, slug)
	if out, said, _ := s.r.Inside(slug, "dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=1100"); !strings.Contains(said, "No space left") {
		t.Errorf("/tmp took more than its size: %s%s", out, said)
	}
}

// logFlood writes to the container's own output, which the engine keeps.
func logFlood(t *testing.T, s *stage, slug string) {
	const flood = `head -c 40000000 /dev/zero | tr '\0' x | fold -w 1000 >/proc/1/fd/1`
	s.r.Docker("exec", s.weak, "sh", "-c", flood)
	if n := s.logSize(t, s.weak); n < maxLog {
		t.Errorf("of a container without walls the engine kept %d bytes only", n)
	}
	if _, said, code := s.r.Inside(slug, "sh", "-c", flood); code != 0 {
		t.Errorf("the flood ended with %d: %s", code, said)
	}
	if n := s.logSize(t, agentOf(slug)); n > maxLog {
		t.Errorf("the engine kept %d bytes of log", n)
	}
	s.livesOn(t, s.other)
}

func (s *stage) logSize(t *testing.T, container string) (bytes int64) {
	t.Helper()
	path := strings.TrimSpace(s.r.Docker("inspect", "-f", "{{.LogPath}}", container))
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no log at %s: %v", path, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// diskIsShown: there is no quota, so what a bottle takes is shown.
func diskIsShown(t *testing.T, s *stage, slug string) {
	const size = 20 << 20
	if _, said, code := s.r.Inside(slug, "dd", "if=/dev/urandom", "of=/work/fill", "bs=1M", "count=20"); code != 0 {
		t.Fatalf("dd ended with %d: %s", code, said)
	}
	out, said, code := s.r.Run("bottle-ls", "--size")
	if code != 0 {
		t.Fatalf("bottle-ls --size ended with %d: %s", code, said)
	}
	for line := range strings.Lines(out) {
		b := rig.Decode[bottle.Bottle](t, line)
		if b.Disk == nil || b.Slug == slug && *b.Disk < size || b.Slug == s.other && *b.Disk >= size {
			t.Errorf("the disk's use is shown as %s", line)
		}
	}
}

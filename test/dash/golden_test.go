package dash

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden screens anew")

// golden waits until a pane shows what a file has.
func (s *server) golden(pane, name, mark string) {
	s.t.Helper()
	path := filepath.Join("testdata", name+".golden")
	s.sees(pane, mark)
	if *update {
		var last string
		s.await("a screen that stays", func() bool {
			now := s.screen(pane)
			stays := now == last
			last = now
			return stays
		})
		if err := os.WriteFile(path, []byte(last), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.await("screen as in "+path, func() bool { return s.screen(pane) == string(want) })
}

// What the program draws on a terminal, not only what it means to draw.
func TestScreensInATerminal(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {120, 40}, {40, 10}} {
		t.Run(fmt.Sprintf("%dx%d", size.w, size.h), func(t *testing.T) {
			t.Parallel()
			screens(t, size.w, size.h)
		})
	}
}

func screens(t *testing.T, w, h int) {
	s, r := board(t, w, h, "TZ=UTC")
	name := func(scene string) string { return fmt.Sprintf("%s-%dx%d", scene, w, h) }
	r.prints("bottle-ls agents", `{"agent":"alpha","running":1}`+"\n"+`{"agent":"beta","running":0}`+"\n")
	r.prints("bottle-start --dry-run beta", "  agent   beta (claude)\n  egress  api.example.com  ENTIRE HOST\n")
	s.golden("t", name("quiet"), "[nothing waits]")
	wide := strings.ReplaceAll(agentLine("wide-cccc", "running"), "/home/ada", "/home/ada/日本語/e\u0301te\u0301")
	r.prints("bottle-ls --watch", strings.ReplaceAll(wide, "12:00:00", "12:00:01"))
	s.sees("t", "wide-cccc")
	s.keys("t", "G")
	s.golden("t", name("wide"), "> ")
	s.keys("t", "n")
	s.golden("t", name("picker"), "start an agent")
	s.keys("t", "-l", "be")
	s.sees("t", "> be_")
	s.keys("t", "Enter")
	s.golden("t", name("preflight"), "start it?")
	s.keys("t", "n")
	s.await("no box", func() bool { return !strings.Contains(s.screen("t"), "┌") })
	r.prints("bottle-ls proposals --watch", proposalLine("egress-block-one", "one.example.com", "pending")+proposalLine("egress-block-two", "xn--exmple-cua.com", "pending"))
	s.sees("t", "2 proposals")
	s.sees("t", "(new!)")
	s.await("no news", func() bool { return !strings.Contains(s.screen("t"), "(new!)") })
	s.focuses("proposals")
	s.golden("t", name("proposals"), "> ")
	s.keys("t", "Enter")
	s.golden("t", name("whole"), "─ proposal")
	s.keys("t", "t")
	s.golden("t", name("capital"), "[capital Y]")
}

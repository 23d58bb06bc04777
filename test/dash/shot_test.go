package dash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// TestScreenshot writes what stands in the panes of a real run, for
// scripts/screenshot, where BOTTLE_SCREENSHOT names a directory for it.
func TestScreenshot(t *testing.T) {
	dir := os.Getenv("BOTTLE_SCREENSHOT")
	if dir == "" {
		t.Skip("BOTTLE_SCREENSHOT is not set")
	}
	r := rig.New(t)
	r.Agent("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(178, 16, "sh")
	for _, slug := range []string{"engine-k3zq", "web-77ab"} {
		r.Start("dev", "--name", slug)
	}
	s.run("respawn-pane", "-k", "-t", "t:0.0", "--", "sh", "-c", "exec bottle-dash")
	s.sees("t:0.0", "web-77ab")
	s.keys("t:0.0", "Enter")
	s.await("a right pane", func() bool { id, _ := s.right(); return id != "" })
	id, _ := s.right()
	s.await("a prompt", func() bool { return s.screen(id) != "" })
	s.sees(id, "$")
	s.keys(id, "clear", "Enter")
	s.await("a clear screen", func() bool { return !strings.Contains(s.screen(id), "clear") })
	s.keys(id, "-l", "curl https://docs.example.com/guide")
	s.keys(id, "Enter")
	s.sees(id, "allowlist")
	s.sees("t:0.0", "docs.example.com")
	s.sees("t:0.0", "* engine-k3zq")
	s.await("a prompt", func() bool { return strings.Count(s.screen(id), "/work$") == 2 })
	for name, pane := range map[string]string{"left": "t:0.0", "right": id} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s.screen(pane, "-e", "-N")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

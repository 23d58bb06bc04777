package dash

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bottle/test/rig"
)

// The keys of proposals, with the real programs and a real egress: what the
// agent is refused becomes a row, and what the operator presses is in force.
func TestWhatIsDecidedInTheDashboardIsInForce(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	_, slug := r.StartDocs("--name", "dev-aaaa")
	editor := filepath.Join(r.Dir, "editor") // as a person would: it wants a terminal and a key
	script := "#!/bin/sh\ntest -t 0 && test -t 1 || exit 9\nprintf 'an editor of %s ' \"${1##*/}\"\nread -r key\nsed -i \"$key\" \"$1\"\n"
	if err := os.WriteFile(editor, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"), "EDITOR="+editor)
	s.start(160, 30, "bottle-dash", "--no-jump") // or it meets our Tab on the way
	s.sees("t:0.0", slug)

	// presses waits for the only row, and for when keys count again.
	presses := func(key, path, text string) {
		t.Helper()
		s.sees("t:0.0", "docs.example  "+path)
		s.focuses("proposals")
		s.await("wakeful keys", func() bool { return !strings.Contains(lastLine(s.screen("t:0.0", "-e")), "\x1b[2m") })
		if line := s.cursor(); !strings.Contains(line, path) {
			t.Fatalf("the cursor is on %q", line)
		}
		s.keys("t:0.0", key)
		s.sees("t:0.0", text)
		s.keys("t:0.0", "Y")
	}
	decides := func(key, path, text string) {
		t.Helper()
		if got := get(r, slug, path); got != "403" {
			t.Fatalf("%s is answered with %s before anybody decided", path, got)
		}
		presses(key, path, text)
	}
	gone := func(path string) {
		t.Helper()
		s.await("end of the row", func() bool { return !strings.Contains(s.screen("t:0.0"), path) })
	}
	answered := func(path string, codes ...string) {
		t.Helper()
		for _, want := range codes {
			if got := get(r, slug, path); got != want {
				t.Errorf("%s is answered with %s, not %s", path, got, want)
			}
		}
	}

	decides("a", "/life", "approve docs.example for dev-aaaa, the bottle's life? [capital Y]")
	gone("/life")
	answered("/life", "200", "200")
	decides("o", "/single", "one request? [capital Y]")
	gone("/single")
	answered("/single", "200", "403")
	presses("a", "/single", "the bottle's life? [capital Y]") // a proposal once more
	gone("/single")
	decides("t", "/while", "10 minutes? [capital Y]")
	gone("/while")
	answered("/while", "200")
	if out, _, _ := r.Run("bottle-ls", "grants", "-o", "tsv"); !tenMinutes.MatchString(out) {
		t.Errorf("the grants are\n%s", out)
	}
	decides("r", "/never", "[capital Y]")
	s.sees("t:0.0", "because")
	s.keys("t:0.0", "-l", "it's #(not) ours")
	s.sees("t:0.0", "#(not) ours_")
	s.keys("t:0.0", "Enter")
	gone("/never")
	answered("/never", "403")
	if out, _, _ := r.Run("bottle-ls", "proposals", "--all"); !strings.Contains(out, "it's #(not) ours") {
		t.Errorf("the proposals are\n%s", out)
	}
	decides("m", "/wide", "edit and approve docs.example")
	s.sees("t:0.0", "an editor of ")
	s.keys("t:0.0", "-l", "s#/wide#/wide/narrowed#")
	s.keys("t:0.0", "Enter")
	s.sees("t:0.0", "approve?")
	s.keys("t:0.0", "y", "Enter")
	s.sees("t:0.0", "agents")
	s.await("grant", func() bool { return get(r, slug, "/wide/narrowed") == "200" })
	answered("/wide", "403")

	s.focuses("agents")
	s.keys("t:0.0", "e")
	s.sees("t:0.0", "an editor of ")
	s.keys("t:0.0", "-l", "s#/known#/edited#")
	s.keys("t:0.0", "Enter")
	s.sees("t:0.0", "put it in force?")
	s.keys("t:0.0", "y", "Enter")
	s.sees("t:0.0", "agents (focused)")
	answered("/edited", "200")
	answered("/known", "403")
	s.focuses("agents")
	s.keys("t:0.0", "x")
	s.sees("t:0.0", "stop dev-aaaa?")
	s.keys("t:0.0", "y")
	s.sees("t:0.0", "[no active agents]")
	if all := r.Bottles(); len(all) != 0 {
		t.Errorf("there are %v", all)
	}
}

// tenMinutes is what is left of them.
var tenMinutes = regexp.MustCompile(`\t(10m|\dm(\d+s)?)`)

// get is how a request of the agent's is answered.
func get(r *rig.Rig, slug, path string) string {
	out, _, _ := r.Inside(slug, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", "https://docs.example"+path)
	return out
}

// cursor is the row that the dashboard's cursor is on.
func (s *server) cursor() string {
	for line := range strings.Lines(s.screen("t:0.0")) {
		if strings.HasPrefix(line, "> ") {
			return line
		}
	}
	return ""
}

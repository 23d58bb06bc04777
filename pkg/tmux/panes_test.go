package tmux

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPanesAreMadeAndReusedByTheseCommandLines(t *testing.T) {
	p := Process{Dir: "/a b/#(id)", Env: []string{"X=a'b;"}, Argv: []string{"/opt/my prog", "it's", `"#{pid}"`, ";"}}
	for _, c := range []struct{ got, want []string }{
		{Respawn("%1", "", p), []string{"tmux", "set-option", "-w", "-t", "%1", "@bottle_pane", "%1", ";", "set-option", "-p", "-t", "%1", "@bottle_slug", "", ";",
			"wait-for", "-S", "bottle-moved", ";", "respawn-pane", "-k", "-t", "%1",
			"-c", "/a b/##(id)", "-e", `X=a'b\;`, "--", "/opt/my prog", "it's", `"#{pid}"`, `\;`}},
		{Respawn("%2", "web-aaaa", Process{Argv: []string{"cat", "x"}}), []string{"tmux", "set-option", "-w", "-t", "%2", "@bottle_pane", "%2", ";",
			"set-option", "-p", "-t", "%2", "@bottle_slug", "web-aaaa", ";", "wait-for", "-S", "bottle-moved", ";", "respawn-pane", "-k", "-t", "%2", "--", "cat", "x"}},
		{Then(Close("%1"), Refresh()), []string{"tmux", "kill-pane", "-t", "%1", ";", "refresh-client", "-S"}},
		{Focus("%2"), []string{"tmux", "select-window", "-t", "%2", ";", "select-pane", "-t", "%2"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("\ngot  %q\nwant %q", c.got, c.want)
		}
	}
}

func TestARightPaneThatIsGoneCountsAsNone(t *testing.T) {
	for out, want := range map[string]string{
		"%1,,,,1\n":                              "",
		"%1,%2,,on,1\n%2,%2,web-aaaa,,0\n":       "%2",
		"%1,%9,,,1\n%2,%9,web-aaaa,,0\n":         "", // closed, or in another window
		"%1,%1,web-aaaa,,1\n%2,%1,web-bbbb,,0\n": "%1",
	} {
		panes, err := ParsePanes(out)
		if got, _ := Right(panes); err != nil || got.ID != want {
			t.Errorf("%q: %q %v", out, got.ID, err)
		}
	}
	for _, bad := range []string{"no server\n", "%1\n", "1,,,,\n", "%x,,,,\n"} {
		if got, err := ParsePanes(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestWhatOpenPrintsIsReadOrRefused(t *testing.T) {
	for out, want := range map[string]struct {
		id   string
		made bool
	}{"%2\n": {"%2", false}, "%2\n%2\n": {"%2", true}} {
		if id, made, err := ParseOpen(out); id != want.id || made != want.made || err != nil {
			t.Errorf("%q: %q %v %v", out, id, made, err)
		}
	}
	for _, bad := range []string{"", "\n", "%\n", "%2\n%3\n", "x\n%2\n", "%2;kill-server\n"} {
		if id, _, err := ParseOpen(bad); err == nil {
			t.Errorf("%q is read as %q", bad, id)
		}
	}
}

func TestTheNewestKeyOfAllClientsCounts(t *testing.T) {
	if got := ParseClients("12\n99\nx\n13\n"); got != 99 {
		t.Error(got)
	}
	if got := ParseClients(""); got != 0 {
		t.Error(got)
	}
}

// inServer turns one of these command lines to a server of the test's own.
func inServer(s Server, argv []string) []string { return append(s.args(), argv[1:]...) }

func TestTheRealTmuxRunsInAPaneWhatWasAskedFor(t *testing.T) {
	s := server(t)
	if out, err := run(s.New(120, 24, "/", "sleep", "1000")); err != nil {
		t.Fatal(out, err)
	}
	dir := filepath.Join(t.TempDir(), "a b #(touch bad) #{pid}")
	if out, err := exec.Command("mkdir", dir).CombinedOutput(); err != nil {
		t.Fatal(string(out), err)
	}
	words := []string{"it's", "a b", `"$HOME"`, "#(id)", "#{pid}", "x;", ";"}
	said := func(channel string) Process {
		return Process{Dir: dir, Env: []string{"SAID=a 'b' #{pid};"},
			Argv: append([]string{"sh", "-c", `{ pwd; printf '%s\n' "$SAID" "$@"; } > "$0"; tmux wait-for -S "$0"; exec sleep 1000`, channel}, words...)}
	}
	check := func(channel string) {
		t.Helper()
		if out, err := run(append([]string{"timeout", "10"}, s.args("wait-for", channel)...)); err != nil {
			t.Fatal(out, err)
		}
		got, err := exec.Command("cat", filepath.Join(dir, channel)).Output()
		if want := dir + "\na 'b' #{pid};\n" + strings.Join(words, "\n") + "\n"; err != nil || string(got) != want {
			t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
		}
	}
	out, err := run(inServer(s, Open("%0")))
	id, made, perr := ParseOpen(out)
	if err != nil || perr != nil || !made {
		t.Fatal(out, made, err, perr)
	}
	for range 3 {
		out, err := run(inServer(s, Open("%0")))
		if again, made, perr := ParseOpen(out); again != id || made || err != nil || perr != nil {
			t.Fatal(out, made, err, perr)
		}
		if out, err := run(inServer(s, Respawn(id, "web-aaaa", said("shown")))); err != nil {
			t.Fatal(out, err)
		}
		check("shown")
	}
	out, err = run(inServer(s, Panes("%0")))
	panes, perr := ParsePanes(out)
	if err != nil || perr != nil || len(panes) != 2 {
		t.Fatalf("%q %v %v", out, err, perr)
	}
	if right, ok := Right(panes); !ok || right.ID != id || right.Shows != "web-aaaa" || panes[0].Shows != "" {
		t.Errorf("%+v", panes)
	}
}

package dash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"bottle/test/rig"
)

// counting starts a bottle whose session counts without end.
func counting(t *testing.T, r *rig.Rig, s *server, slug string) {
	t.Helper()
	r.Start("dev", "--name", slug)
	s.run("new-window", "-d", "-n", slug, "--", filepath.Join(r.Bin, "bottle-attach"), slug)
	window := "t:" + slug
	s.await("a prompt of "+slug, func() bool { return strings.TrimSpace(s.screen(window)) != "" })
	s.keys(window, "-l", "n=0; while sleep 0.2; do n=$((n+1)); echo "+slug+"-is-at-$n; done")
	s.keys(window, "Enter")
	s.sees(window, slug+"-is-at-2")
	s.run("kill-window", "-t", window)
}

// at is how far a bottle's counter is.
func at(t *testing.T, r *rig.Rig, slug string) int {
	t.Helper()
	out, said, code := r.Run("bottle-attach", "--peek", slug)
	all := regexp.MustCompile(slug+`-is-at-(\d+)`).FindAllStringSubmatch(out, -1)
	if code != 0 || len(all) == 0 {
		t.Fatalf("peek: %d %s%s", code, out, said)
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}

// viewers counts the clients of a bottle's session, and sessions the sessions.
func viewers(r *rig.Rig, slug string) int  { return running(r, slug, "bottle-inside view") }
func sessions(r *rig.Rig, slug string) int { return running(r, slug, " new-session ") }

func running(r *rig.Rig, slug, text string) int {
	return strings.Count(r.Docker("top", "bottle-"+slug+"-agent-1", "axww", "-o", "pid,args"), text)
}

// right is the right pane of the first window, and what it shows.
func (s *server) right() (id, slug string) {
	id = s.run("display-message", "-p", "-t", "t:0.0", "#{@bottle_pane}")
	out, _ := s.cmd("display-message", "-p", "-t", id, "#{@bottle_slug}").Output() // it may be closed
	return id, strings.TrimSpace(string(out))
}

// It alone of those with bottles one and two goes beside others: names are unique on
// an engine.
func TestTheRightPaneOnlyShowsAndAgentsWorkOn(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(160, 40, "sh")
	counting(t, r, s, "one")
	counting(t, r, s, "two")
	types := func(line string) {
		t.Helper()
		s.keys("t:0.0", "-l", "clear; "+line)
		s.keys("t:0.0", "Enter")
	}
	show := func(slug string) {
		t.Helper()
		types("bottle-attach --pane " + slug)
		s.await(slug+" in the right pane", func() bool { _, shown := s.right(); return shown == slug })
		id, _ := s.right()
		s.sees(id, slug+"-is-at-")
	}
	show("one")
	first, _ := s.right()
	one, two := at(t, r, "one"), at(t, r, "two")
	for n := range 10 {
		show([]string{"two", "one"}[n%2])
	}
	s.await("counts that go on", func() bool { return at(t, r, "one") > one && at(t, r, "two") > two })
	s.await("end of lost clients", func() bool { return viewers(r, "one") == 1 && viewers(r, "two") == 0 })
	if id, _ := s.right(); id != first || len(strings.Split(s.run("list-panes", "-t", "t:0"), "\n")) != 2 {
		t.Errorf("panes pile up: %s, and\n%s", id, s.run("list-panes", "-t", "t:0"))
	}

	s.run("kill-pane", "-t", first) // as its user closes it
	s.await("end of the viewer", func() bool { return viewers(r, "one") == 0 })
	show("two")
	id, _ := s.right()
	if id == first {
		t.Error("the closed pane is tracked on")
	}
	two = at(t, r, "two")
	s.run("respawn-pane", "-k", "-t", id, "--", "sleep", "1000") // the viewer is killed
	s.await("count of two", func() bool { return at(t, r, "two") > two && viewers(r, "two") == 0 })
	if one, two := sessions(r, "one"), sessions(r, "two"); one != 1 || two != 1 {
		t.Errorf("%d and %d sessions", one, two)
	}

	types("bottle-stop --discard --pane one")
	s.await("end of the teardown", func() bool { return strings.Contains(s.screen("t:0.0"), `"slug":"one"`) })
	s.await("log of it", func() bool { return strings.Contains(s.screen(id), "Z ") })
	types("bottle-start --yes --workspace none --pane --focus --name three dev")
	s.await("three in the right pane", func() bool { _, shown := s.right(); return shown == "three" && viewers(r, "three") == 1 })
	if now, _ := s.right(); now != id {
		t.Errorf("the session has a pane of its own: %s", now)
	}
	if active := s.run("display-message", "-p", "-t", "t:0", "#{pane_id}"); active != id {
		t.Errorf("the keyboard is at %s", active)
	}
}

// Each leaves the bottle, and no viewer of it, to the next; the last ends all viewers first.
func TestABottleInATmux(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	r.Start("dev", "--name", "one")
	t.Run("without a pane the foreground is used", func(t *testing.T) { withoutAPaneTheForegroundIsUsed(t, r) })
	t.Run("ten that show it at once share one pane", func(t *testing.T) { tenThatShowABottleShareOnePane(t, r) })
	t.Run("a resume is shown in the right pane", func(t *testing.T) { resumeIsShownInTheRightPane(t, r) })
}

// Who asks at the same time shares one pane, and one viewer.
func tenThatShowABottleShareOnePane(t *testing.T, r *rig.Rig) {
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(160, 40, "sh", "-c", `for n in 1 2 3 4 5 6 7 8 9 10; do bottle-attach --pane one & done; wait; echo all-$((40+2)); exec sleep 1000`)
	s.sees("t:0.0", "all-42")
	id, shown := s.right()
	if panes := s.run("list-panes", "-t", "t:0", "-F", "#{pane_id}"); shown != "one" || strings.Count(panes, "\n") != 1 || !strings.Contains(panes, id) {
		t.Errorf("%s is tracked, with %q, of the panes\n%s", id, shown, panes)
	}
	s.await("one viewer", func() bool { return viewers(r, "one") == 1 })
}

// Where no pane can be had, the terminal is used, and given back.
func withoutAPaneTheForegroundIsUsed(t *testing.T, r *rig.Rig) {
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"), "PS1=$ ")
	s.start(2, 10, "sh") // as narrow as a window can be: nothing fits beside it
	types := func(line string) {
		t.Helper()
		s.keys("t", "-l", line)
		s.keys("t", "Enter")
	}
	whole := func(mark string) {
		t.Helper()
		types("echo " + mark + "-$((40+2)) $(stty -a | tr ';' '\\n' | grep -wo -- '-*icanon')")
		s.sees("t", mark+"-42 icanon")
		if panes := s.run("list-panes", "-t", "t"); strings.Contains(panes, "\n") {
			t.Errorf("the panes are\n%s", panes)
		}
	}
	types("bottle-attach --pane --focus one")
	s.await("a viewer", func() bool { return viewers(r, "one") == 1 })
	s.run("resize-window", "-t", "t", "-x", "160", "-y", "40")
	// A shell that is told of a new size draws its prompt anew, and over what stands there:
	// tmux tells of a second one a quarter of a second after the first.
	s.await("a wide session", func() bool {
		size, _, _ := r.Inside("one", "stty", "-F", "/dev/pts/0", "size")
		return size == "40 160\n"
	})
	types("echo inside-$((40+2))")
	s.sees("t", "inside-42")
	s.keys("t", "C-q", "C-q")
	s.sees("t", "one goes on")
	whole("attached")
	s.await("no viewer", func() bool { return viewers(r, "one") == 0 })

	types("export TMUX_PANE=%99; clear")
	types("bottle-start --yes --workspace none --pane --name two dev")
	s.await("a viewer", func() bool {
		return strings.Contains(r.Docker("ps", "--format", "{{.Names}}"), "bottle-two-agent-1") && viewers(r, "two") == 1
	})
	s.keys("t", "C-q", "C-q")
	s.sees("t", "two goes on")
	s.sees("t", "bottle-start: no pane: ") // the shell's screen is back, with what was said on it
	whole("started")
	types("clear; bottle-stop --discard --pane two")
	s.sees("t", `"slug":"two"`)
	s.sees("t", "bottle-stop: no pane: ")
	if strings.Contains(s.screen("t"), "goroutine") {
		t.Error(s.screen("t"))
	}
	whole("stopped")
}

func resumeIsShownInTheRightPane(t *testing.T, r *rig.Rig) {
	if _, said, code := r.Run("bottle-stop", "--keep", "one"); code != 0 {
		t.Fatal(said)
	}
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(160, 40, "sh")
	for n := range 2 { // one that is stopped, and one that lives, of which nothing is told
		s.keys("t:0.0", "-l", fmt.Sprintf("clear; bottle-start --resume one --pane --focus; echo ended-%d-$?", n))
		s.keys("t:0.0", "Enter")
		ended := fmt.Sprintf("ended-%d-0", n)
		s.sees("t:0.0", ended)
		s.await("one in the right pane", func() bool { _, shown := s.right(); return shown == "one" && viewers(r, "one") == 1 })
		if id, _ := s.right(); s.run("display-message", "-p", "-t", "t:0", "#{pane_id}") != id {
			t.Error("the keyboard is elsewhere")
		}
		if screen := s.screen("t:0.0"); !strings.HasPrefix(screen, "one\n"+ended+"\n") {
			t.Errorf("the shell has\n%s", screen)
		}
	}
}

// The dashboard, against the real programs.
func TestTheDashboardShowsRealBottlesAndSurvivesThemAndTheyIt(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	s := newServer(t, "BOTTLE_HOME="+r.Home, "BOTTLE_LIBEXEC="+r.Libexec, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	s.start(180, 40, "sh", "-c", "while :; do bottle-dash; done")
	s.sees("t:0.0", "[no active agents]")
	counting(t, r, s, "one")
	counting(t, r, s, "two")
	s.sees("t:0.0", "two ")
	s.keys("t:0.0", "Enter")
	s.await("one in the right pane", func() bool { _, shown := s.right(); return shown == "one" })
	id, _ := s.right()
	s.sees(id, "one-is-at-")
	s.sees("t:0.0", "* one")
	one, two := at(t, r, "one"), at(t, r, "two")
	s.run("respawn-pane", "-k", "-t", "t:0.0") // the dashboard is killed
	s.sees("t:0.0", "* one")                   // and remembers, since tmux does
	s.await("counts that go on", func() bool { return at(t, r, "one") > one && at(t, r, "two") > two })
	if one, two := viewers(r, "one"), viewers(r, "two"); one != 1 || two != 0 {
		t.Errorf("%d and %d viewers", one, two)
	}
	s.keys("t:0.0", "x")
	s.sees("t:0.0", "stop one?")
	s.keys("t:0.0", "y")
	s.await("two in its place", func() bool { now, shown := s.right(); return now == id && shown == "two" && viewers(r, "two") == 1 })
	s.keys("t:0.0", "x")
	s.sees("t:0.0", "stop two?")
	s.keys("t:0.0", "y")
	s.sees("t:0.0", "[no active agents]")
	s.await("one pane", func() bool { return !strings.Contains(s.run("list-panes", "-t", "t:0"), "\n") })
}

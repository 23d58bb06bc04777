package dash

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

var update = flag.Bool("update", false, "write the golden screens anew")

// noon is when the tests' clock starts.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// board is a dashboard with a clock of its own and what it wanted done.
type board struct {
	*State
	t    *testing.T
	at   time.Time
	done []any
}

func start(t *testing.T, pane string) *board {
	t.Helper()
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	return &board{State: New(pane), t: t, at: noon}
}

// after lets time pass, and tells events.
func (b *board) after(d time.Duration, events ...any) *board {
	b.at = b.at.Add(d)
	for _, e := range events {
		b.done = append(b.done, b.Update(b.at, e)...)
	}
	return b
}

func (b *board) keys(keys ...string) *board {
	for _, k := range keys {
		b.after(10*time.Millisecond, Key(k))
	}
	return b
}

func (b *board) types(text string) *board { return b.keys(strings.Split(text, "")...) }

// ran are the command lines that were wanted since the last look, without
// those that only look.
func (b *board) ran() []string {
	var all []string
	for _, e := range b.done {
		if r, ok := e.(Run); ok && r.Job != Quiet && r.Job != Refresh && r.Job != Hands && r.Job != Right {
			all = append(all, strings.Join(r.Argv, " "))
		}
	}
	b.done = nil
	return all
}

func (b *board) bells() int {
	n := 0
	for _, e := range b.done {
		if e == (Bell{}) {
			n++
		}
	}
	return n
}

func (b *board) mustRun(want ...string) {
	b.t.Helper()
	if got := b.ran(); !slices.Equal(got, want) {
		b.t.Errorf("ran %q, not %q\n%s", got, want, b.View())
	}
}

// answer ends the last Run of a job.
func (b *board) answer(job Job, d Done) *board {
	b.t.Helper()
	for _, e := range slices.Backward(b.done) {
		if r, ok := e.(Run); ok && r.Job == job {
			d.Run = r
			return b.after(0, d)
		}
	}
	b.t.Fatalf("no job %d is under way", job)
	return b
}

func (b *board) shows(text string) {
	b.t.Helper()
	if !strings.Contains(b.View().String(), text) {
		b.t.Errorf("no %q in\n%s", text, b.View())
	}
}

func (b *board) hides(text string) {
	b.t.Helper()
	if strings.Contains(b.View().String(), text) {
		b.t.Errorf("there is %q in\n%s", text, b.View())
	}
}

func anAgent(n int, slug, activity string) Agent {
	return Agent{Bottle: bottle.Bottle{Slug: slug, Agent: strings.SplitN(slug, "-", 2)[0], Status: bottle.Running, Services: []string{"agent", "egress", "supervise"},
		StartedAt: noon.Add(time.Duration(n) * time.Minute), Folder: "/home/ada/engine"}, Activity: activity}
}

func aProposal(t testing.TB, n int, slug, host string) Proposal {
	t.Helper()
	line := fmt.Sprintf(`{"id":"egress-block-%016d","slug":%q,"agent":"dev","kind":"egress-block","summary":"GET https://%s/v1","justification":"the tests need it",
		"created_at":%q,"proposed":{"host":%q,"scheme":"https","port":443},"diff":"+ host: %s\n","status":"pending"}`,
		n, slug, host, noon.Add(time.Duration(n)*time.Second).Format(time.RFC3339), host, host)
	p, err := DecodeProposal([]byte(strings.ReplaceAll(line, "\n", "")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// held marks a proposal: so many requests wait for the answer, until a time after
// noon.
func held(p Proposal, n int, until time.Duration) Proposal {
	p.Pending = bottle.Pending{Held: n, HeldUntil: noon.Add(until)}
	return p
}

func busy(t *testing.T, pane string) *board {
	b := start(t, pane)
	b.after(0, anAgent(0, "dev-aaaa", "working"), anAgent(1, "web-bbbb", "waiting"), anAgent(2, "api-cccc", ""))
	return b.after(0, Known{[]Proposal{aProposal(t, 1, "dev-aaaa", "one.example.com"), aProposal(t, 2, "web-bbbb", "two.example.com"),
		aProposal(t, 3, "web-bbbb", "three.example.com")}})
}

func golden(t *testing.T, name string, s Screen) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got := s.String() + "──── styles: b bold, r reverse, d dim, g green, x red\n" + s.Styles()
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s: %v\ngot\n%s\nwant\n%s", name, err, got, want)
	}
}

func TestScreens(t *testing.T) {
	scenes := map[string]func(t *testing.T) *board{
		"empty": func(t *testing.T) *board { return start(t, "").after(0, Known{}) },
		"busy": func(t *testing.T) *board {
			b := busy(t, "%0")
			starting := anAgent(3, "slow-dddd", "")
			starting.Services = []string{"agent"}
			wide := anAgent(4, "wide-eeee", "idle")
			wide.Folder = "/home/ada/日本語/e\u0301te\u0301"
			b.after(0, starting, wide, Moved{}).answer(Right, Done{Out: "%0,%1,,on,1\n%1,%1,web-bbbb,,0\n"})
			return b.keys("G")
		},
		"new": func(t *testing.T) *board {
			return busy(t, "").after(10*time.Second, aProposal(t, 4, "api-cccc", "xn--exmple-cua.com"))
		},
		"held": func(t *testing.T) *board {
			return busy(t, "").after(10*time.Second, held(aProposal(t, 4, "api-cccc", "four.example.com"), 2, 34*time.Second)).
				after(6500*time.Millisecond, Tick{})
		},
		"whole":  func(t *testing.T) *board { return busy(t, "").keys("tab", "enter") },
		"help":   func(t *testing.T) *board { return busy(t, "").keys("?") },
		"stop":   func(t *testing.T) *board { return busy(t, "").keys("x") },
		"filter": func(t *testing.T) *board { return busy(t, "").keys("/", "w", "e") },
		"picker": func(t *testing.T) *board {
			return busy(t, "").keys("n").answer(Agents, Done{Out: `{"agent":"dev","running":2}` + "\n" + `{"agent":"web","running":0}` + "\n"}).keys("down")
		},
		"capital": func(t *testing.T) *board {
			return busy(t, "").after(10*time.Second, aProposal(t, 4, "api-cccc", "four.example.com")).after(2*time.Second, Key("t"))
		},
	}
	for name, scene := range scenes {
		for _, size := range []Resize{{80, 24}, {120, 40}, {40, 10}} {
			b := scene(t).after(0, size)
			golden(t, fmt.Sprintf("%s-%dx%d", name, size.W, size.H), b.View())
		}
	}
}

// What an agent does, and that it waits for a decision, is not what a narrow
// screen cuts.
func TestANarrowScreenLeavesOutTheLeastOfAnAgent(t *testing.T) {
	b := busy(t, "")
	behind := anAgent(5, "review-eeee", "waiting")
	behind.Services = []string{"agent", "egress", "git-gate", "pipelock", "supervise"}
	hurt := anAgent(6, "hurt-ffff", "working")
	hurt.Status, hurt.Services = bottle.Degraded, []string{"agent", "egress"}
	b.after(0, behind, hurt, Known{[]Proposal{aProposal(t, 1, "review-eeee", "one.example.com"), aProposal(t, 2, "hurt-ffff", "two.example.com")}})
	for w := 120; w >= 50; w-- {
		b.after(0, Resize{w, 16})
		shown := b.View().String()
		for _, row := range []string{`review-eeee .*waiting .* 1 pending\n`, `hurt-ffff .*degraded .* 1 pending\n`, `api-cccc .*running`} {
			if !regexp.MustCompile(row).MatchString(shown) {
				t.Fatalf("%d columns: no %s in\n%s", w, row, shown)
			}
		}
	}
	for _, w := range []int{90, 80, 70, 50} {
		golden(t, fmt.Sprintf("narrow-%dx16", w), b.after(0, Resize{w, 16}).View())
	}
	long := strings.Repeat("a-long-name-", 4) + "k3zq"
	b.after(0, anAgent(7, long, "idle"), aProposal(t, 3, long, "three.example.com"), Resize{50, 16}).shows("…  idle      1 pending")
}

func TestWhatIsHeldStandsFirstWithTheSecondsThatAreLeft(t *testing.T) {
	b := busy(t, "").keys("tab", "j")
	chosen := b.lists[proposals].selected
	first := func() string { return b.proposals[0].host }
	p := held(aProposal(t, 4, "api-cccc", "four.example.com"), 1, 40*time.Second)
	b.after(10*time.Second, p)
	b.shows("[held 30s] GET https://four.example.com")
	if first() != "four.example.com" || !b.Wake().After(b.at) || b.Wake().After(b.at.Add(time.Second)) {
		t.Errorf("%s is first, wake %v", first(), b.Wake())
	}
	b.after(1500*time.Millisecond, Tick{}).shows("[held 29s]")
	// Its client left: no mark, but it stays where it is until its time is over.
	b.after(0, held(p, 0, 40*time.Second)).hides("[held")
	if first() != "four.example.com" {
		t.Errorf("%s is first", first())
	}
	b.after(time.Minute, Tick{})
	if first() != "one.example.com" || !b.Wake().Before(b.at.Add(2*time.Second)) {
		t.Errorf("%s is first", first())
	}
	if got := b.lists[proposals].selected; got != chosen && !strings.HasSuffix(got, "4") { // a new one takes the focus
		t.Errorf("%s is chosen", got)
	}
}

// A row that comes between two others while somebody types must not be decided by
// keys that were meant for what stood there.
func TestKeysRestWhenRowsMoveByThemselves(t *testing.T) {
	b := busy(t, "").keys("tab", "a").answer(Decide, Done{}) // hands are at the keyboard
	b.ran()
	b.keys("k")
	b.after(10*time.Millisecond, held(aProposal(t, 4, "api-cccc", "four.example.com"), 1, 40*time.Second))
	b.keys("k", "a")
	b.mustRun()
}

func TestEveryPaneKeepsItsOwnSelectionByIdentity(t *testing.T) {
	b := busy(t, "")
	b.shows("agents (focused)")
	b.keys("j").after(0, anAgent(-1, "old-zzzz", "idle")) // a row above
	b.shows(">   web-bbbb")
	b.keys("tab", "G")
	b.hides(">   web-bbbb")
	b.shows("three.example.com")
	gone := aProposal(t, 1, "dev-aaaa", "one.example.com")
	gone.Status = "rejected"
	b.after(0, gone)
	if key := b.lists[proposals].selected; !strings.HasSuffix(key, "3") {
		t.Errorf("%s is selected", key)
	}
	b.keys("tab")
	b.shows(">   web-bbbb")
}

func TestWhatHasNoSelectionIsSaid(t *testing.T) {
	b := start(t, "").after(0, Known{})
	b.shows("[no active agents]")
	b.keys("enter", "x")
	b.mustRun()
	b.after(0, anAgent(0, "dev-aaaa", "")).keys("/").types("zzz").keys("enter")
	b.shows("[no agent selected]")
	b.keys("enter")
	b.mustRun()
	b.keys("esc")
	b.shows("/home/ada/engine")
}

func TestKeysOfAgentsRunThePrograms(t *testing.T) {
	b := busy(t, "%0")
	b.keys("enter").mustRun("bottle-attach --pane dev-aaaa --focus")
	b.keys("e").mustRun("bottle-edit dev-aaaa routes")
	b.keys("p").mustRun()
	b.shows("runs no pipelock")
	b.Env = []string{"PATH=/opt/bottle/bin"}
	b.keys("l").mustRun("tmux display-popup -t %0 -w 90% -h 80% -E -- env PATH=/opt/bottle/bin bottle-log -f -o text dev-aaaa")
	b.keys("tab", "e").mustRun()
	b.shows(hint)
	outside := busy(t, "")
	outside.keys("enter").mustRun("bottle-attach dev-aaaa")
	outside.keys("q")
	if !slices.Contains(outside.done, any(Quit{})) {
		t.Error("q does not quit")
	}
}

func TestAStartIsPickedShownAndConfirmed(t *testing.T) {
	choices := Done{Out: `{"agent":"alpha","running":0}` + "\n" + `{"agent":"beta","running":3}` + "\n"}
	b := busy(t, "%0").keys("n").answer(Agents, choices)
	b.shows("beta (3 running)")
	b.types("ET")
	b.hides("alpha")
	b.keys("esc")
	b.shows("alpha")
	b.types("bet").keys("enter").answer(Preflight, Done{Out: "  agent  beta\n  egress  \x1b]52;c;x\a\n"})
	b.shows(`\x1b]52`)
	b.shows("start it? [y/N]")
	b.done = nil
	b.keys("n")
	b.hides("start it?")
	b.mustRun()
	b.keys("n").answer(Agents, choices).types("bet").keys("enter").answer(Preflight, Done{Out: "x\n"})
	b.done = nil
	b.keys("y").mustRun("bottle-start --yes --pane --focus beta")
	b.hides("start it?")
	b.keys("n").answer(Agents, choices).keys("esc")
	b.hides("alpha (")
	b.keys("n").answer(Agents, choices).keys("enter").answer(Preflight, Done{Err: "bottle-start: no such file", Code: 1})
	b.shows("bottle-start: no such file")
}

func TestAStopSlidesTheSelectionAndShowsTheNext(t *testing.T) {
	b := busy(t, "%0")
	b.after(0, Done{Run: Run{Job: Right}, Out: "%0,%1,,on,1\n%1,%1,dev-aaaa,,0\n"})
	b.keys("j", "x", "n").mustRun()
	b.keys("x", "y")
	b.answer(Stop, Done{Out: `{"slug":"web-bbbb","bundle":"/home/ada/.bottle/history/web-bbbb/work.bundle"}` + "\n"})
	b.shows("web-bbbb is stopped: its work is in /home/ada/.bottle/history/web-bbbb")
	b.mustRun("bottle-stop --pane web-bbbb", "bottle-attach --pane api-cccc")
	b.keys("x", "y").answer(Stop, Done{}) // the last row
	b.mustRun("bottle-stop --pane api-cccc", "bottle-attach --pane dev-aaaa")
	b.keys("x", "y").answer(Stop, Done{Err: "bottle-stop: locked", Code: 6})
	b.shows("bottle-stop: locked")
	b.ran()
	b.keys("x", "y").answer(Stop, Done{})
	b.mustRun("bottle-stop --pane dev-aaaa", "tmux kill-pane -t %1")
	b.shows("[no active agents]")
	outside := busy(t, "")
	outside.keys("x", "y").answer(Stop, Done{}).mustRun("bottle-stop --pane dev-aaaa")
	if outside.lists[agents].selected != "web-bbbb" {
		t.Error(outside.lists[agents].selected)
	}
}

func TestWithoutAgentsAStartOffersToWriteThem(t *testing.T) {
	start(t, "%0").after(0, Known{}).keys("n").answer(Agents, Done{}).mustRun("bottle-ls agents", "tmux display-popup -t %0 -w 90% -h 80% -E -- env bottle-start --pane --focus")
	outside := start(t, "").after(0, Known{}).keys("n").answer(Agents, Done{})
	if r, ok := outside.done[len(outside.done)-1].(Run); !ok || !r.Foreground || r.Argv[0] != "bottle-start" {
		t.Errorf("%+v", outside.done)
	}
	start(t, "").after(0, Known{}).keys("n").answer(Agents, Done{Err: "bottle-ls: broken", Code: 1}).shows("bottle-ls: broken")
}

func TestALongPreflightScrollsUnderItsQuestion(t *testing.T) {
	b := busy(t, "").keys("n").answer(Agents, Done{Out: `{"agent":"alpha"}` + "\n"}).keys("enter")
	var out strings.Builder
	for n := range 60 {
		fmt.Fprintf(&out, "  egress  host%d.example.com\n", n)
	}
	b.answer(Preflight, Done{Out: out.String()})
	b.shows("(1-19 of 60)")
	b.keys("end").shows("host59.example.com")
	b.keys("up", "pgup").hides("host59.example.com")
	b.shows("start it? [y/N]")
	b.done = nil
	b.keys("y").mustRun("bottle-start --yes alpha")
}

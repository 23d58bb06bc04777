package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// screen reads what is drawn, until a text appears.
type screen struct {
	t    *testing.T
	tty  *os.File
	seen bytes.Buffer
}

func (s *screen) until(text string) {
	s.t.Helper()
	s.tty.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 4096)
	for !strings.Contains(s.seen.String(), text) {
		n, err := s.tty.Read(b)
		if err != nil {
			s.t.Fatalf("%v; drawn was %q", err, s.seen.String())
		}
		s.seen.Write(b[:n])
	}
	_, rest, _ := strings.Cut(s.seen.String(), text)
	s.seen.Reset()
	s.seen.WriteString(rest)
}

// atHome makes a home with one bottle, and returns its state's directory and what
// writes into that.
func atHome(t *testing.T) (dir string, write func(name, text string)) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("BOTTLE_HOME", home)
	t.Setenv("BOTTLE_LIBEXEC", home)
	dir = filepath.Join(home, "state/dev-aaaa")
	write = func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("metadata.json", `{"slug":"dev-aaaa","agent":"dev"}`)
	write("egress/in/routes.yaml", "routes: []\n")
	return dir, write
}

// terminal returns both ends of a terminal.
func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tty.Close()
		master.Close()
	})
	return master, tty
}

// S15: no key that was typed before an item was seen decides it.
func TestKeysBeforeAnItemWasSeenCountForNothing(t *testing.T) {
	dir, write := atHome(t)
	write("supervise/in/.keep", "")
	var ids []string
	for i, host := range []string{"a.example", "b.example"} {
		p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "x\x1b[2J", Egress: &bottle.EgressAsk{Host: host}}, proposal.Rules{}, time.Unix(int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		write("supervise/out/proposals/"+p.ID+".json", string(proposal.Encode(p)))
		ids = append(ids, p.ID)
	}
	master, tty := terminal(t)
	io.WriteString(master, "nnyyo") // meant for something else
	ended := make(chan int, 1)
	go func() { ended <- run([]string{name}, tty, io.Discard, tty) }()
	s := &screen{t: t, tty: master}
	s.until("q quit: ")
	io.WriteString(master, "n") // in the moment in which it was drawn
	select {
	case code := <-ended:
		t.Fatalf("it ended with %d", code)
	case <-time.After(2 * deadTime):
	}
	io.WriteString(master, "n") // seen
	s.until("may be empty): ")
	io.WriteString(master, "use the mirror\n")
	s.until("q quit: ")
	if _, err := os.Stat(filepath.Join(dir, "supervise/in/decisions", ids[1]+".json")); err == nil {
		t.Error("a key that was not meant for it decided the second")
	}
	<-time.After(2 * deadTime)
	io.WriteString(master, "q")
	if code := <-ended; code != 0 {
		t.Errorf("it ended with %d", code)
	}
	text, err := os.ReadFile(filepath.Join(dir, "supervise/in/decisions", ids[0]+".json"))
	if err != nil || !strings.Contains(string(text), `"rejected"`) || !strings.Contains(string(text), "use the mirror") {
		t.Errorf("%s, %v", text, err)
	}
}

// What y does is what the flags make of what was asked, and nothing else is shown.
func TestTheQueueShowsWhatItsFlagsGive(t *testing.T) {
	dir, write := atHome(t)
	write("supervise/in/.keep", "")
	p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: "x", Egress: &bottle.EgressAsk{Host: "a.example", Seconds: 7200}}, proposal.Rules{}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	write("supervise/out/proposals/"+p.ID+".json", string(proposal.Encode(p)))
	write("supervise/out/pending.json", `{"`+p.ID+`":{"count":1,"last":"2026-01-02T03:04:05Z"}}`)
	for flags, shown := range map[string][]string{
		"":                    {"for 2h", "asked for once", "expires: "},
		"--uses 3 --for life": {"asked for once", "uses: 3"},
	} {
		master, tty := terminal(t)
		ended := make(chan int, 1)
		go func() { ended <- run(append([]string{name}, strings.Fields(flags)...), tty, io.Discard, tty) }()
		s := &screen{t: t, tty: master}
		for _, text := range shown {
			s.until(text)
		}
		s.until("q quit: ")
		<-time.After(2 * deadTime) // no key counts before
		io.WriteString(master, "q")
		if code := <-ended; code != 4 {
			t.Errorf("%q: it ended with %d", flags, code)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "supervise/in/decisions")); len(entries) > 0 {
		t.Error("looking decided it")
	}
}

// A flag that goes by the proposal would else be forgotten where keys decide.
func TestWhatIsOnlyForNamedProposalsIsNoneOfTheQueue(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("BOTTLE_HOME", home)
	t.Setenv("BOTTLE_LIBEXEC", home)
	_, tty := terminal(t)
	for _, flags := range [][]string{{"--path", "/narrow"}, {"--methods", "GET"}, {"--reject"}, {"--reason", "x"}, {"--save"}, {"--edit"}} {
		if code := run(append([]string{name}, flags...), tty, io.Discard, tty); code != 2 {
			t.Errorf("%q ended with %d", flags, code)
		}
	}
}

// What is held is asked first, with the time that is left for it.
func TestWhatIsHeldIsAskedFirst(t *testing.T) {
	dir, write := atHome(t)
	in, out := filepath.Join(dir, "egress/in"), filepath.Join(dir, "egress/out")
	write("egress/in/decisions/.keep", "")
	write("egress/out/.keep", "")
	q, err := sidecar.OpenQueue(in, out, sidecar.Limits{Pending: 5, PerMinute: 5})
	if err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"a.example", "held.example"} {
		p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressDenied, Egress: &bottle.EgressAsk{Host: host}}, proposal.Rules{}, time.Unix(int64(i), 0))
		if err == nil {
			_, err = q.Ask(p)
		}
		if err != nil {
			t.Fatal(err)
		}
		if host == "held.example" {
			q.Note(p.ID, func(w *bottle.Pending) { w.HeldUntil = time.Now().Add(time.Minute) })
			q.Hold(p.ID)
		}
	}
	q.Close() // which tells what there is
	master, tty := terminal(t)
	ended := make(chan int, 1)
	go func() { ended <- run([]string{name}, tty, io.Discard, tty) }()
	s := &screen{t: t, tty: master}
	s.until("[1/2] dev-aaaa  egress-denied")
	s.until("held.example")
	s.until("a request waits for the answer, until ")
	s.until("s are left")
	s.until("q quit: ")
	<-time.After(2 * deadTime)
	io.WriteString(master, "q")
	if code := <-ended; code != 4 {
		t.Errorf("it ended with %d", code)
	}
}

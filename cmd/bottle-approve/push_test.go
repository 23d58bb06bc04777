package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
)

// heldPush makes a home in which a push waits, and returns its ID.
func heldPush(t *testing.T) string {
	t.Helper()
	_, write := atHome(t)
	p, err := proposal.Make(bottle.Proposal{Kind: bottle.GitPush, Push: &bottle.PushAsk{Remote: "origin", Commits: []string{"aaaaaaa Ada: the\x1b[2J first"},
		Diffstat: " README.md | 1 +\n 1 file changed, 1 insertion(+)\n",
		Updates:  []bottle.PushUpdate{{Ref: "refs/heads/w", Old: strings.Repeat("0", 40), New: strings.Repeat("a", 40)}}}}, proposal.Rules{}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	write("git-gate/in/.keep", "")
	write("git-gate/out/proposals/"+p.ID+".json", string(proposal.Encode(p)))
	return p.ID
}

// What a push cannot be approved with is said of that, and leaves it waiting.
func TestWhatIsNotForAPush(t *testing.T) {
	id := heldPush(t)
	for _, c := range []struct {
		flags, says string
		code        int
	}{
		{"--once", "approved as it is", 1},
		{"--for 10m", "approved as it is", 1},
		{"--save", "only a grant of a host can be saved", 1},
		{"--path /x", "only what asks for a host can be narrowed", 2},
		{"--edit", "a push cannot be edited", 2},
	} {
		var said bytes.Buffer
		args := append(append([]string{name}, strings.Fields(c.flags)...), id)
		if code := run(args, new(bytes.Buffer), new(bytes.Buffer), &said); code != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("%s: %d: %s", c.flags, code, said.String())
		}
	}
	var said bytes.Buffer
	if code := run([]string{name, "--reject", id}, new(bytes.Buffer), new(bytes.Buffer), &said); code != 0 {
		t.Errorf("%d: %s", code, said.String())
	}
}

// Who decides a push by a key sees what it brings: its commits and what they change.
func TestAPushIsShownWithItsCommits(t *testing.T) {
	heldPush(t)
	master, tty := terminal(t)
	ended := make(chan int, 1)
	go func() { ended <- run([]string{name}, tty, io.Discard, tty) }()
	s := &screen{t: t, tty: master}
	for _, text := range []string{"push to origin: refs/heads/w", "+refs/heads/w ", `aaaaaaa Ada: the\x1b[2J first`, " README.md | 1 +", "1 insertion(+)", "q quit: "} {
		s.until(text)
	}
	<-time.After(2 * deadTime) // no key counts before
	io.WriteString(master, "q")
	if code := <-ended; code != 4 {
		t.Errorf("it ended with %d", code)
	}
}

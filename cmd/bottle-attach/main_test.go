package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/session"
	"bottle/pkg/state"
)

// home makes a home with one bottle whose engine cannot be reached.
func home(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	t.Setenv("BOTTLE_HOME", dir)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "none.sock"))
	h, err := state.Open("")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := h.Create(bottle.Bottle{Slug: "web-aaaa", Status: bottle.Running})
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
}

func TestWhatCannotBeShownIsSaidInOneLineWithItsExitCode(t *testing.T) {
	home(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"nonsuch", cli.NotFound, `no bottle named "nonsuch"`},
		{"web", cli.NotFound, `no bottle named "web"`}, // no prefixes
		{"../web", cli.NotFound, "no bottle named"},
		{"web-aaaa", cli.Usage, "on a terminal only"},
		{"web-aaaa other", cli.Usage, "one bottle at a time"},
		{"web-aaaa --", cli.Usage, "no command"},
		{"--peek web-aaaa -- ls", cli.Usage, "--peek runs no command"},
		{"web-aaaa --detach-keys ctrl-1", cli.Usage, "cannot understand the key"},
		{"web-aaaa --history", cli.Usage, "--history goes with --peek"},
		{"web-aaaa --forward 80 --peek", cli.Usage, "--forward forwards, and does nothing else"},
		{"web-aaaa --forward 80 -- ls", cli.Usage, "--forward forwards, and does nothing else"},
		{"web-aaaa --forward 1.2.3.4:80", cli.Usage, "neither PORT nor LOCAL:PORT"},
		{"web-aaaa --forward 0:80 --forward 70000", cli.Usage, "neither PORT nor LOCAL:PORT"},
		{"web-aaaa --forward 0:80", cli.NoEngine, "engine cannot be reached"},
		{"web-aaaa --peek", cli.NoEngine, "engine cannot be reached"},
		{"web-aaaa -- ls", cli.NoEngine, "engine cannot be reached"},
		{"", cli.NoEngine, "engine cannot be reached"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"bottle-attach"}, strings.Fields(c.args)...), strings.NewReader(""), &out, &errOut)
		line, rest, _ := strings.Cut(errOut.String(), "\n")
		if code != c.code || !strings.HasPrefix(line, "bottle-attach: ") || !strings.Contains(line, c.says) || out.Len() > 0 {
			t.Errorf("%q: %d %q", c.args, code, errOut.String())
		}
		if rest != "" && (!strings.HasPrefix(rest, "hint: ") || strings.Count(rest, "\n") != 1) {
			t.Errorf("%q: more than a hint: %q", c.args, rest)
		}
	}
}

func TestEndsThatAreNoFaultOfTheOperatorHaveTheirOwnCodes(t *testing.T) {
	for err, want := range map[error]int{
		session.ErrNoSession: cli.Conflict, session.ErrViewer: cli.Failed, engine.ErrNotFound: cli.Conflict,
		engine.ErrConflict: cli.Conflict, engine.ErrUnreachable: cli.NoEngine,
	} {
		var e cli.Error
		if !errors.As(explain("web-aaaa", fmt.Errorf("cannot: %w", err)), &e) || e.Code != want || e.Hint == "" {
			t.Errorf("%v: %+v", err, e)
		}
	}
	var status cli.Status
	if !errors.As(explain("web-aaaa", session.Signalled{Signal: 15}), &status) || int(status) != 143 {
		t.Errorf("SIGTERM: %v", status)
	}
}

func TestOneRunningBottleNeedsNoName(t *testing.T) {
	c := &cli.Call{Streams: cli.Streams{In: strings.NewReader(""), Err: &bytes.Buffer{}}}
	all := []bottle.Bottle{{Slug: "a", Status: bottle.Stopped}, {Slug: "b", Status: bottle.Running}, {Slug: "c", Status: bottle.Lost}}
	if slug, err := pick(c, living(all)); slug != "b" || err != nil {
		t.Errorf("%q %v", slug, err)
	}
	for _, some := range [][]bottle.Bottle{nil, {{Slug: "a"}, {Slug: "b"}}} {
		if slug, err := pick(c, some); err == nil {
			t.Errorf("of %d bottles, %q is taken", len(some), slug)
		}
	}
}

// Ports below 1024 are root's.
func TestAPortThatMayNotBeListenedOnHasARemedy(t *testing.T) {
	denied := fmt.Errorf("cannot listen on port 80: %w", &net.OpError{Op: "listen", Net: "tcp4", Err: os.NewSyscallError("bind", syscall.EACCES)})
	var said cli.Error
	if err := cannotListen(denied); !errors.As(err, &said) || said.Code != cli.Failed || !strings.Contains(said.Hint, "LOCAL:PORT") || !strings.Contains(said.Msg, "permission denied") {
		t.Errorf("%v", err)
	}
}

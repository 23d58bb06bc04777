package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/pipelock"
	"bottle/pkg/plan"
)

func (s *second) mirror(t *testing.T, d pipelock.Delta) error {
	t.Helper()
	has, err := s.MirrorPipelock(t.Context(), s.slug, d)
	if !has {
		t.Error("the bottle has no pipelock")
	}
	return err
}

// edited is the file with one host for another.
func (s *second) edited(t *testing.T, host, by string) (old, text []byte) {
	t.Helper()
	old, err := s.PipelockFile(s.slug)
	if err != nil {
		t.Fatal(err)
	}
	return old, []byte(strings.ReplaceAll(string(old), "- "+host+"\n", "- "+by+"\n"))
}

// had fails where something else was done to pipelock, in this order.
func (s *second) had(t *testing.T, said string, want ...string) {
	t.Helper()
	if !slices.Equal(s.did, want) {
		t.Errorf("%s: it was %q, not %q", said, s.did, want)
	}
	s.did = nil
}

// A list changes by a reload, and by a restart where that is not taken; always behind
// a check, and with the file before kept until the change is seen to be in force.
func TestPipelocksListIsChanged(t *testing.T) {
	s := behind(t)
	two := pipelock.Delta{Open: []string{"two.test", "*.three.test"}}
	for range 2 { // the second time there is nothing to do
		if err := s.mirror(t, two); err != nil {
			t.Fatal(err)
		}
		s.is(t, "opened", "api.example.com", "two.test")
	}
	s.had(t, "opened", "check", "reload unsettled")
	s.goes = []byte("api_allowlist: [api.example.com]\n") // it was started before, and nobody told it
	if err := s.mirror(t, two); err != nil {
		t.Fatal(err)
	}
	s.is(t, "not in force", "api.example.com", "two.test")
	s.had(t, "not in force", "check", "reload unsettled")
	s.deaf = true
	if err := s.mirror(t, pipelock.Delta{Open: []string{"four.test"}, Close: []string{"two.test"}}); err != nil {
		t.Fatal(err)
	}
	s.is(t, "deaf", "api.example.com", "four.test")
	s.had(t, "deaf", "check", "reload unsettled", "start unsettled")
	s.deaf = false
	if err := s.mirror(t, pipelock.Delta{Except: []pipelock.Exception{{ID: "e1", Pattern: "AWS Access ID", Host: "api.example.com", Path: "/a"}}}); err != nil {
		t.Fatal(err)
	}
	s.is(t, "an exception", "api.example.com", "four.test")
	s.had(t, "an exception", "check", "start unsettled") // nobody can see whether it took it
	if err := s.mirror(t, pipelock.Delta{}); err != nil {
		t.Fatal(err)
	}
	s.had(t, "nothing")
	if has, err := s.MirrorPipelock(t.Context(), "dev-none", two); has || err != nil {
		t.Errorf("a bottle without: %t, %v", has, err)
	}
}

// A file that pipelock's check refuses is not given to it.
func TestAFileThatPipelockRefusesChangesNothing(t *testing.T) {
	s := behind(t)
	s.refused = "bad.test"
	if err := s.mirror(t, pipelock.Delta{Open: []string{"bad.test"}}); !errors.Is(err, ErrPipelockFile) || !strings.Contains(err.Error(), "it says bad.test") {
		t.Error(err)
	}
	old, text := s.edited(t, "api.example.com", "bad.test")
	if err := s.SetPipelock(t.Context(), s.slug, old, text); !errors.Is(err, ErrPipelockFile) {
		t.Error(err)
	}
	s.is(t, "refused", "api.example.com")
	s.had(t, "refused", "check", "check")
	if err := s.SetPipelock(t.Context(), s.slug, old, []byte("mode: strict\n")); err == nil {
		t.Error("a file without a list is taken")
	}
	if err := s.SetPipelock(t.Context(), s.slug, text, old); !errors.Is(err, ErrPipelockChanged) {
		t.Errorf("of a file that was changed: %v", err)
	}
	s.is(t, "of another", "api.example.com")
	s.had(t, "of another")
}

// One that does not come up with its new file goes by the old one, and so does one
// whose engine fails at any call.
func TestAFailedChangeOfPipelocksFileIsPutBack(t *testing.T) {
	s := behind(t)
	s.ends = "bad.test"
	old, text := s.edited(t, "api.example.com", "bad.test")
	if err := s.SetPipelock(t.Context(), s.slug, old, text); err == nil {
		t.Error("it goes on with a pipelock that has ended")
	}
	s.is(t, "ended", "api.example.com")
	old, text = s.edited(t, "api.example.com", "two.test")
	text = append(text, "# a remark, which has it restarted\n"...)
	for n, failed := 1, true; failed; n++ {
		count := 0
		s.fake.Fail = failNth(&count, n, errors.New("no"))
		err := s.SetPipelock(t.Context(), s.slug, old, text)
		s.fake.Fail = nil
		if failed = count >= n; !failed {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if now := s.file(pipelock.File); err == nil || string(now) != string(old) { // one that could not be cleared up is no failure
			if err != nil || string(now) != string(text) {
				t.Fatalf("call %d: %v", n, err)
			}
			if err := s.SetPipelock(t.Context(), s.slug, text, old); err != nil {
				t.Fatal(err)
			}
		}
		s.is(t, "put back", "api.example.com")
	}
	s.is(t, "changed", "two.test")
}

// What pipelock is not seen to have taken is not in force.
func TestAListThatPipelockDoesNotTakeIsPutBack(t *testing.T) {
	s := behind(t)
	if err := s.mirror(t, pipelock.Delta{Open: []string{"two.test"}}); err != nil {
		t.Fatal(err)
	}
	s.blind, s.fond = "four.test", "two.test"
	if err := s.mirror(t, pipelock.Delta{Open: []string{"four.test"}}); !errors.Is(err, errNotTaken) {
		t.Errorf("opened: %v", err)
	}
	s.is(t, "opened", "api.example.com", "two.test")
	if err := s.mirror(t, pipelock.Delta{Close: []string{"two.test"}}); !errors.Is(err, errNotTaken) {
		t.Errorf("closed: %v", err)
	}
	s.is(t, "closed", "api.example.com", "two.test")
	old, text := s.edited(t, "two.test", `"*.two.test"`) // which cannot be asked for
	s.fond = ""
	if err := s.SetPipelock(t.Context(), s.slug, old, text); err != nil {
		t.Error(err)
	}
	s.is(t, "a wildcard", "api.example.com", "*.two.test")
}

// Where the old file cannot be put back either, the next program does that.
func TestAChangeThatCannotBePutBackIsMendedLater(t *testing.T) {
	s := behind(t)
	s.ends = "bad.test"
	s.fake.Fail = func(call, name string) error {
		if call == "Start" && len(s.did) > 1 && name == plan.ContainerName(s.slug, plan.PipelockService) {
			return errors.New("no")
		}
		return nil
	}
	old, text := s.edited(t, "api.example.com", "bad.test")
	if err := s.SetPipelock(t.Context(), s.slug, old, text); err == nil {
		t.Error("it is taken")
	}
	s.had(t, "not put back", "check", "reload unsettled")
	if !exists(filepath.Join(s.dir(), pipelock.Previous)) {
		t.Error("nobody will know")
	}
	s.fake.Fail = nil
	if err := s.mirror(t, pipelock.Delta{}); err != nil {
		t.Fatal(err)
	}
	s.is(t, "mended", "api.example.com")
}

// unsure is an engine that does not say how a check ended.
type unsure struct{ *enginetest.Fake }

func (u unsure) StartAttached(ctx context.Context, name string, s engine.Streams) (<-chan engine.End, error) {
	ended, err := u.Fake.StartAttached(ctx, name, s)
	if err != nil {
		return nil, err
	}
	<-ended
	lost := make(chan engine.End, 1)
	lost <- engine.End{Err: engine.ErrUnreachable}
	return lost, nil
}

// A check of which nobody knows how it ended is none that passed.
func TestACheckThatIsLostIsNoPass(t *testing.T) {
	s := behind(t)
	s.Manager.Engine = unsure{s.fake}
	if err := s.mirror(t, pipelock.Delta{Open: []string{"two.test"}}); !errors.Is(err, engine.ErrUnreachable) {
		t.Error(err)
	}
	s.is(t, "lost", "api.example.com")
	s.had(t, "lost", "check")
}

// Who is interrupted in the middle puts the old file back all the same.
func TestAnInterruptedChangeOfPipelocksFileIsPutBack(t *testing.T) {
	s := behind(t)
	old, text := s.edited(t, "api.example.com", "two.test")
	ctx, cancel := context.WithCancel(t.Context())
	s.deaf = true
	reloaded := s.fake.OnSignal
	s.fake.OnSignal = func(name, signal string) error {
		cancel()
		return reloaded(name, signal)
	}
	if err := s.SetPipelock(ctx, s.slug, old, text); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.is(t, "interrupted", "api.example.com")
}

// One that does not run is told what it is to let through no more, and nothing else;
// an edit may be what mends it, and starts it.
func TestAPipelockThatDoesNotRun(t *testing.T) {
	s := behind(t)
	if err := s.mirror(t, pipelock.Delta{Open: []string{"two.test"}}); err != nil {
		t.Fatal(err)
	}
	stop := func() { s.fake.Stop(t.Context(), plan.ContainerName(s.slug, plan.PipelockService)) }
	stop()
	s.did = nil
	if err := s.mirror(t, pipelock.Delta{Open: []string{"four.test"}}); !errors.Is(err, ErrNotUp) {
		t.Error(err)
	}
	s.had(t, "not up")
	s.is(t, "not up", "api.example.com", "two.test")
	if err := s.mirror(t, pipelock.Delta{Close: []string{"two.test"}}); err != nil {
		t.Error(err)
	}
	s.had(t, "closed", "check")
	s.goes = s.file(pipelock.File)
	s.is(t, "closed", "api.example.com")
	old, text := s.edited(t, "api.example.com", "four.test")
	if err := s.SetPipelock(t.Context(), s.slug, old, text); err != nil {
		t.Error(err)
	}
	s.had(t, "edited", "check", "start unsettled")
	s.is(t, "edited", "four.test")
	s.fake.OnSignal = func(_, signal string) error { // it ends before it is told
		if signal == "HUP" {
			stop()
			return engine.ErrConflict
		}
		return nil
	}
	if err := s.mirror(t, pipelock.Delta{Open: []string{"two.test"}}); !errors.Is(err, ErrNotUp) {
		t.Error(err)
	}
	s.had(t, "ended", "check")
	s.is(t, "ended", "four.test")
}

// A program that was killed in the middle of a change leaves the file before. The
// next one has pipelock go by the one that is there, or where it does not come up
// with it by the one before, or tries again later.
func TestAKilledChangeOfPipelocksFileIsMended(t *testing.T) {
	for name, c := range map[string]struct {
		ends string
		want string
	}{"taken": {"", "two.test"}, "put back": {"two.test", "api.example.com"}} {
		t.Run(name, func(t *testing.T) {
			s := behind(t)
			s.ends = c.ends
			old, text := s.edited(t, "api.example.com", "two.test")
			if err := errors.Join(s.unsettle(s.slug, old), s.writePipelock(s.slug, text)); err != nil {
				t.Fatal(err)
			}
			s.fake.Fail = func(string, string) error { return engine.ErrUnreachable }
			if err := s.mirror(t, pipelock.Delta{}); !errors.Is(err, engine.ErrUnreachable) {
				t.Error(err)
			}
			if now := s.file(pipelock.File); string(now) != string(text) || !exists(filepath.Join(s.dir(), pipelock.Previous)) {
				t.Fatalf("of an engine that is away: %s", now)
			}
			s.fake.Fail = nil
			if err := s.mirror(t, pipelock.Delta{}); err != nil {
				t.Fatal(err)
			}
			s.is(t, "mended", c.want)
		})
	}
	t.Run("stopped", func(t *testing.T) { // it is no time to start one
		s := behind(t)
		old, text := s.edited(t, "api.example.com", "two.test")
		if err := errors.Join(s.unsettle(s.slug, old), s.writePipelock(s.slug, text)); err != nil {
			t.Fatal(err)
		}
		for _, service := range []string{plan.AgentService, plan.EgressService, plan.PipelockService} {
			s.fake.Stop(t.Context(), plan.ContainerName(s.slug, service))
		}
		if err := s.mirror(t, pipelock.Delta{}); !errors.Is(err, ErrNotUp) {
			t.Error(err)
		}
		s.had(t, "stopped")
		if _, err := s.again(s.slug); err != nil {
			t.Fatal(err)
		}
		s.is(t, "resumed", "two.test")
	})
	t.Run("nobody knows", func(t *testing.T) {
		s := behind(t)
		if err := os.Symlink("/etc/passwd", filepath.Join(s.dir(), pipelock.Previous)); err != nil {
			t.Fatal(err)
		}
		if err := s.mirror(t, pipelock.Delta{Open: []string{"two.test"}}); err == nil {
			t.Error("it goes on")
		}
		s.had(t, "nobody knows")
	})
}

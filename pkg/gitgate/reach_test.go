package gitgate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hears is what upstream is asked while do runs.
func (u *upstream) hears(do func()) []string {
	u.mu.Lock()
	before := len(u.asked)
	u.mu.Unlock()
	do()
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked[before:])
}

// Of a push that is refused upstream hears nothing but that one may come, not even
// of the objects that are clean.
func TestARefusedPushTellsUpstreamNothing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "https")
	c := newClient(t, g.url+"/origin.git")
	c.git("fetch", "-q", "origin")
	c.git("checkout", "-q", "trunk")
	const offered = "GET info/refs?service=git-receive-pack"
	c.commit("clean.txt", strings.Repeat("line\n", 100))
	clean := c.git("rev-parse", "HEAD")
	c.commit("a.txt", "k="+formatSecret+"\n")
	if asked := u.hears(func() {
		out, err := c.try("push", "origin", "trunk")
		wantRefused(t, out, err, "a.txt:1")
	}); !slices.Equal(asked, []string{offered}) {
		t.Errorf("of a refused push upstream hears %q", asked)
	}
	if asked := u.hears(func() {
		out, err := c.try("push", "origin", "HEAD~1:refs/notes/x")
		wantRefused(t, out, err, "ref not allowed")
	}); !slices.Equal(asked, []string{offered}) {
		t.Errorf("of a ref that is refused upstream hears %q", asked)
	}
	if asked := u.hears(func() { c.git("push", "-q", "origin", clean+":refs/heads/trunk") }); !slices.Equal(asked, []string{offered, "POST git-receive-pack"}) {
		t.Errorf("of a push upstream hears %q", asked)
	}
	if got := u.bare.git("rev-parse", "trunk"); got != clean {
		t.Errorf("upstream has %s, want %s", got, clean)
	}
}

// What upstream said counts until another push was sent on, and not for long.
func TestAnUpstreamIsAskedAgainWhereWhatItSaidIsOld(t *testing.T) {
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			g := gateTo(t, u, scheme)
			st := g.s.state.Load()
			for name, row := range map[string]struct {
				change func(*push, *reached)
				again  bool
			}{
				"now":          {func(*push, *reached) {}, false},
				"long ago":     {func(_ *push, up *reached) { up.begun = up.begun.Add(-patience) }, true},
				"another push": {func(p *push, _ *reached) { p.repo.turns.Add(1) }, true},
			} {
				p := &push{state: st, repo: st.repos["origin"]}
				p.reach(t.Context())
				first := <-p.upstream
				row.change(p, first)
				back := make(chan *reached, 1)
				back <- first
				p.upstream = back
				up := p.reached(t.Context())
				if up.err != nil || up.has.refs["refs/heads/trunk"] != u.bare.git("rev-parse", "trunk") {
					t.Errorf("%s: it has %v, %v", name, up.has.refs, up.err)
				}
				if again := up != first; again != row.again {
					t.Errorf("%s: asked again: %v", name, again)
				}
				if err := up.close(); err != nil {
					t.Errorf("%s: it ends with %v", name, err)
				}
				p.hangUp()
			}
		})
	}
}

// An upstream that was asked for a client waits for one push, under the values that
// it was asked with, and for no push if none comes.
func TestAnUpstreamWaitsForThePushThatWasAnnounced(t *testing.T) {
	for _, scheme := range []string{"https", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			g := gateTo(t, newUpstream(t), scheme)
			st := g.s.state.Load()
			r := st.repos["origin"]
			announce := func() *reached {
				if _, err := g.s.refresh(t.Context(), st, r, receivePack); err != nil {
					t.Fatal(err)
				}
				return r.waiting.Load()
			}
			begin := func(st *state) *reached {
				p := &push{state: st, repo: r}
				p.reach(t.Context())
				defer p.hangUp()
				up := <-p.upstream
				p.upstream = nil
				if err := up.close(); up.err != nil || err != nil {
					t.Errorf("%v, %v", up.err, err)
				}
				return up
			}
			waiting := announce()
			if begin(st) != waiting || begin(st) == waiting {
				t.Error("it does not wait for the push, or for more than one")
			}
			waiting = announce()
			g.s.renew()
			if begin(g.s.state.Load()) == waiting {
				t.Error("it was asked with values that are old")
			}
			waiting = announce()
			gone := make(chan struct{})
			defer context.AfterFunc(waiting.own, func() { close(gone) })()
			announce()
			<-gone
			g.s.Drain(t.Context())
			if r.waiting.Load() != nil {
				t.Error("it waits for a gate that has ended")
			}
		})
	}
}

// Of pushes at once to one branch one is taken, and who pushed the same hears so.
func TestPushesOfOneBranchAtOnce(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	g := gateTo(t, u, "https")
	var all sync.WaitGroup
	var mu sync.Mutex
	taken, ids := map[string]int{}, map[string]bool{}
	for i := range 4 {
		c := newClient(t, g.url+"/origin.git")
		c.git("fetch", "-q", "origin")
		c.git("checkout", "-q", "-b", "one", "origin/trunk")
		c.write("f", fmt.Sprintf("%d\n", i/2)) // two of each
		c.git("add", "f")
		cmd := clientCommand(c.dir, "git", "commit", "-q", "-m", "x")
		cmd.Env = append(cmd.Env, "GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		id := c.git("rev-parse", "HEAD")
		ids[id] = true
		all.Go(func() {
			out, err := c.try("push", "origin", "one")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken[id]++
			} else if !strings.Contains(out, "rejected") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	got := u.bare.git("rev-parse", "one")
	if len(ids) != 2 || taken[got] != 2 || len(taken) != 1 {
		t.Errorf("upstream has %s, and taken were %v", got, taken)
	}
	if ours := g.inRepo("rev-parse", "one"); ours != got {
		t.Errorf("the gate has %s, upstream %s", ours, got)
	}
	g.noQuarantine()
}

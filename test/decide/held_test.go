package decide

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// ward is a bottle whose egress holds what is refused.
type ward struct {
	*rig.Rig
	t     *testing.T
	u     *rig.Upstream
	slug  string
	lines *json.Decoder // bottle-ls proposals --watch
}

func newWard(t *testing.T, timeout string) *ward {
	t.Helper()
	w := &ward{Rig: rig.New(t), t: t}
	w.u = w.Upstream("docs.example")
	w.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	w.Write("bottles/dev.md", "---\negress:\n  on_deny: ask\n  ask_timeout: "+timeout+"\n  routes:\n  - {host: docs.example, path_allowlist: [/known], private: true}\n"+
		"  - {host: docs.example, scheme: http, path_allowlist: [/known], private: true}\n---\n")
	w.slug = w.Start("dev")
	w.u.Join(w.slug)
	ctx, cancel := context.WithCancel(t.Context())
	var end func()
	w.lines, end = w.Watch(ctx, "proposals")
	t.Cleanup(func() { cancel(); end() })
	return w
}

// held waits until a request is held under a proposal that has text in its
// summary, and returns its ID.
func (w *ward) held(text string) string {
	w.t.Helper()
	return w.told(text, true)
}

func (w *ward) told(text string, held bool) string {
	w.t.Helper()
	for {
		var l struct {
			ID, Summary, Status string
			HeldLeft            *int64 `json:"held_left"`
		}
		if err := w.lines.Decode(&l); err != nil {
			w.t.Fatalf("nothing about %s: %v", text, err)
		}
		if strings.Contains(l.Summary, text) && l.Status == "pending" && (l.HeldLeft != nil) == held {
			return l.ID
		}
	}
}

// curl begins a request of the agent's, and delivers what it said: the answer,
// and the status.
func (w *ward) curl(args ...string) <-chan string {
	said := make(chan string, 1)
	go func() {
		out, errs, _ := w.Inside(w.slug, append([]string{"curl", "-sS", "-w", " %{http_code}", "--max-time", "240"}, args...)...)
		said <- out + errs
	}()
	return said
}

func (w *ward) approve(args ...string) {
	w.t.Helper()
	if out, said, code := w.Run("bottle-approve", args...); code != 0 {
		w.t.Fatalf("bottle-approve %q ended with %d: %s%s", args, code, out, said)
	}
}

// arrived are the bodies that came for a path.
func (w *ward) arrived(path string) (bodies []string) {
	for _, e := range w.u.Heard(path) {
		if e.Path == path {
			bodies = append(bodies, e.Detail)
		}
	}
	return bodies
}

// notHeld fails where the request for a path, which was answered, waited for the
// operator.
func (w *ward) notHeld(path string) {
	w.t.Helper()
	told := w.AwaitEvents(w.slug, "tell of "+path, 1, func(e bottle.Event) bool { return e.Path == path })
	if told[0].Held > 0 {
		w.t.Errorf("%s was held for %v ms", path, told[0].Held)
	}
}

func TestAHeldRequestGoesOnWhenItsOperatorSaysYes(t *testing.T) {
	t.Parallel()
	w := newWard(t, "5m")
	for i, how := range [][]string{
		{"https://docs.example/tunnel"}, {"http://docs.example/absolute"},
		{"--noproxy", "*", "https://docs.example/sni"}, {"--noproxy", "*", "http://docs.example/host"},
	} {
		path := how[len(how)-1][strings.LastIndexByte(how[len(how)-1], '/'):]
		body := fmt.Sprintf("the body of %d", i)
		said := w.curl(append([]string{"-d", body}, how...)...)
		id := w.held(path)
		if all := w.arrived(path); len(all) > 0 {
			t.Errorf("%s arrived before anybody said yes: %q", path, all)
		}
		w.approve("--for", "10m", id)
		if got := <-said; !strings.HasSuffix(got, " 200") {
			t.Errorf("%s: curl said %q", path, got)
		}
		if all := w.arrived(path); len(all) != 1 || all[0] != body {
			t.Errorf("%s: %q arrived", path, all)
		}
	}
	// Of several, one: there is one use.
	var all []<-chan string
	for range 3 {
		all = append(all, w.curl("-d", "x", "https://docs.example/once"))
	}
	id := w.held("/once")
	for n := 0; n < len(all); { // who comes after the answer asks anew
		out, _, _ := w.Run("bottle-ls", "proposals")
		for line := range strings.Lines(out) {
			if l := rig.Decode[struct {
				ID      string
				Pending struct{ Held int }
			}](t, line); l.ID == id {
				n = l.Pending.Held
			}
		}
	}
	w.approve("--once", id)
	through := 0
	for _, said := range all {
		if strings.HasSuffix(<-said, " 200") {
			through++
		}
	}
	if n := len(w.arrived("/once")); through != 1 || n != 1 {
		t.Errorf("%d of those that were held went on, and %d arrived", through, n)
	}
}

func TestAHeldRequestIsToldWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	w := newWard(t, "40s")
	said := w.curl("-d", "x", "https://docs.example/no")
	w.approve("--reject", "--reason", "use the mirror", w.held("/no"))
	if got := <-said; !strings.HasSuffix(got, " 403") || !strings.Contains(got, "the operator rejected it: use the mirror") {
		t.Errorf("rejected: %q", got)
	}
	if got := <-w.curl("https://docs.example/no/more"); !strings.HasSuffix(got, " 403") || !strings.Contains(got, "rejected it before: use the mirror") {
		t.Errorf("after that: %q", got)
	}
	w.notHeld("/no/more")
	said = w.curl("-d", "x", "https://docs.example/late")
	id := w.held("/late")
	if got := <-said; !strings.HasSuffix(got, " 403") || !strings.Contains(got, "did not answer within 40s") {
		t.Errorf("nobody answered: %q", got)
	}
	w.told("/late", false)
	if got := <-w.curl("https://docs.example/late/again"); !strings.HasSuffix(got, " 403") {
		t.Errorf("after that: %q", got)
	}
	w.notHeld("/late/again")
	w.approve(id)
	if got := <-w.curl("-d", "x", "https://docs.example/late"); !strings.HasSuffix(got, " 200") {
		t.Errorf("approved late: %q", got)
	}
	// Who goes is not waited for.
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	gone := w.Command(ctx, "bottle-attach", w.slug, "--", "curl", "-s", "https://docs.example/gone")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	w.held("/gone")
	leave()
	gone.Wait()
	w.told("/gone", false)
	if n := len(w.arrived("/no")) + len(w.arrived("/gone")); n > 0 {
		t.Errorf("%d of what nobody allowed arrived", n)
	}
}

// Whoever decides is killed in the middle of it, while 200 other requests are
// refused or held: a request that was held arrives once where it was approved, and
// else never.
func TestKilledDecidersOfHeldRequests(t *testing.T) {
	t.Parallel()
	w := newWard(t, "5m")
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	a := &arena{Rig: w.Rig, t: t, dice: rand.New(rand.NewPCG(s, 0)), slug: w.slug, acked: map[string]bool{}, most: 300 * time.Millisecond}
	const count = 6 // with the others no more than egress asks in a minute
	said, ids := map[int]<-chan string{}, map[int]string{}
	for i := range count {
		said[i] = w.curl("-d", fmt.Sprintf("body %d", i), fmt.Sprintf("https://docs.example/h%d", i))
		ids[i] = w.held(fmt.Sprintf("/h%d", i))
	}
	flood := make(chan string, 1)
	go func() {
		out, errs, _ := w.Inside(w.slug, "curl", "-sS", "-Z", "--parallel-immediate", "--parallel-max", "200", "--max-time", "240", "-w", "%{http_code}\n",
			"-o", "/dev/null", "http://same.example/x/[1-100]", "-o", "/dev/null", "http://other[1-100].example/")
		flood <- out + errs
	}()
	w.held("same.example")
	for i := range count {
		for range 4 {
			args := []string{"bottle-approve", ids[i]}
			if a.dice.IntN(3) == 0 {
				args = append(args, "--reject")
			}
			a.kill(args[0], args[1:]...)
		}
		a.kill("bottle-ls", "proposals") // it may have to finish what is left
	}
	for i := range count {
		id := ids[i]
		if _, why, code := w.Run("bottle-approve", id); code != 0 && code != 6 {
			t.Errorf("bottle-approve ended with %d: %s", code, why)
		}
		text, err := os.ReadFile(filepath.Join(w.Home, "state", w.slug, "egress/in/decisions", id+".json"))
		if err != nil {
			t.Fatal(err)
		}
		yes := rig.Decode[bottle.Decision](t, string(text)).Verdict == bottle.Approved
		got, path := <-said[i], fmt.Sprintf("/h%d", i)
		all := w.arrived(path)
		if ok := strings.HasSuffix(got, " 200"); ok != yes || yes != (len(all) == 1) || yes && all[0] != fmt.Sprintf("body %d", i) {
			t.Errorf("approved: %v; curl said %q; %q arrived", yes, got, all)
		}
	}
	if l := a.records(); len(l.decided) < count {
		t.Errorf("decisions: %v", l.decided)
	} else {
		for id, n := range l.decided {
			if n != 1 {
				t.Errorf("%s has %d records", id, n)
			}
		}
	}
	if out, why, code := w.Shell("bottle-ls proposals | bottle-approve --reject -"); code != 0 {
		t.Errorf("bottle-approve ended with %d: %s%s", code, out, why)
	}
	if got := <-flood; strings.Count(got, "403\n") != 200 {
		t.Errorf("the others: %q", got)
	}
	if out, _, code := w.Run("bottle-log", "--verify"); code != 0 {
		t.Errorf("the chain: %s", out)
	}
	t.Logf("%d deciders were killed while they ran", a.hit)
	if a.hit == 0 {
		t.Error("none was killed while it ran: the test shows nothing")
	}
}

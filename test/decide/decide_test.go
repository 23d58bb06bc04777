// Package decide tries what the operator decides on real bottles: proposals are
// written as a sidecar writes them, and decided by the programs.
package decide

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// file files a proposal now, and returns its ID.
func file(r *rig.Rig, slug string, p bottle.Proposal) string {
	id, _ := r.File(slug, p, time.Now())
	return id
}

func host(name string, paths ...string) bottle.Proposal {
	return bottle.Proposal{Kind: bottle.EgressBlock, Justification: "to read its pages", Egress: &bottle.EgressAsk{Host: name, Paths: paths}}
}

// docs is a rig with a bottle that may reach /known of docs.example, and no more.
func docs(t *testing.T) (*rig.Rig, *rig.Upstream, string) {
	t.Helper()
	r := rig.New(t)
	u, slug := r.StartDocs()
	return r, u, slug
}

// status is what a request of the agent's is answered with.
func status(t testing.TB, r *rig.Rig, slug, url string) string {
	t.Helper()
	out, said, _ := r.Inside(slug, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", url)
	if out == "000" || out == "" {
		return said
	}
	return out
}

func TestAGrantIsInForceUntilItEnds(t *testing.T) {
	t.Parallel()
	r, _, slug := docs(t)
	if got := status(t, r, slug, "https://docs.example/a"); got != "403" {
		t.Fatalf("before: %s", got)
	}
	p := host("docs.example", "/a", "/slow", "/chat")
	id := file(r, slug, p)
	listed, said, _ := r.Run("bottle-ls", "proposals")
	if !strings.Contains(listed, id) || !strings.Contains(listed, `"diff":"+  - id:`) {
		t.Fatalf("bottle-ls: %s%s", listed, said)
	}
	out, said, code := r.Shell("bottle-ls proposals | jq -r 'select(.kind==\"egress-block\").id' | bottle-approve --for 30s -")
	if code != 0 || !strings.Contains(out, `"verdict":"approved"`) {
		t.Fatalf("bottle-approve ended with %d: %s%s", code, out, said)
	}
	closed := chat(t, r, slug, "https://docs.example/chat")
	cut := stream(t, r, slug, "https://docs.example/slow")
	if got := status(t, r, slug, "https://docs.example/a"); got != "200" {
		t.Errorf("granted: %s", got)
	}
	if got := status(t, r, slug, "https://docs.example/b"); got != "403" {
		t.Errorf("another path: %s", got)
	}
	if left, _, _ := r.Run("bottle-ls", "grants"); !strings.Contains(left, `"left":`) {
		t.Errorf("bottle-ls grants: %s", left)
	}
	cut()
	closed()
	if got := status(t, r, slug, "https://docs.example/a"); got != "403" {
		t.Errorf("after its end: %s", got)
	}
	if left, _, _ := r.Run("bottle-ls", "grants"); left != "" {
		t.Errorf("grants that are over: %s", left)
	}
	if said, _, code := r.Run("bottle-log", "--verify"); code != 0 {
		t.Errorf("the chain: %s", said)
	}
	audit, err := os.ReadFile(filepath.Join(r.Home, "audit.jsonl"))
	if err != nil || strings.Count(string(audit), "\n") != 2 || !strings.Contains(string(audit), `"kind":"expire"`) {
		t.Errorf("audit: %s%v", audit, err)
	}
	if _, said, code := r.Run("bottle-approve", id); code != 6 {
		t.Errorf("decided twice: %d, %s", code, said)
	}
}

// chat opens a WebSocket on which nobody says anything; what it returns waits until
// egress cut it because its grant was over, and its program saw that.
func chat(t *testing.T, r *rig.Rig, slug, url string) (closed func()) {
	t.Helper()
	cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "curl", "-sS", "-N", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
		"-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", url)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.AwaitEvents(slug, "open a WebSocket", 1, func(e bottle.Event) bool { return e.Kind == "request" && e.Status == 101 })
	return func() {
		t.Helper()
		r.AwaitEvents(slug, "tell of a WebSocket's cut", 1, func(e bottle.Event) bool {
			return e.Kind == "websocket" && e.Reason == "the route or grant that it rested on is gone"
		})
		cmd.Wait() // the test's own end would have it killed
	}
}

// stream begins to send a body that does not end by itself; what it returns waits
// until egress cut it because its grant was over. Whether curl notices, while it waits
// for more of the body, is curl's business.
func stream(t *testing.T, r *rig.Rig, slug, url string) (cut func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	cmd := r.Command(ctx, "bottle-attach", slug, "--", "sh", "-c",
		`mkfifo /tmp/f && { (echo; exec sleep 600) >/tmp/f & } && exec curl -sS -T . "$0" </tmp/f`, url)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		r.AwaitEvents(slug, "tell of a cut", 1, func(e bottle.Event) bool {
			return e.Kind == "request" && e.Reason == "the route or grant that it rested on is gone"
		})
		cancel()
		cmd.Wait()
	}
}

func TestUsesRevocationAndEditAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	r, _, slug := docs(t)
	want := func(what, path, code string) {
		t.Helper()
		if got := status(t, r, slug, "https://docs.example"+path); got != code {
			t.Errorf("%s: %s", what, got)
		}
	}
	approve := func(code int, args ...string) {
		t.Helper()
		if out, said, got := r.Run("bottle-approve", args...); got != code {
			t.Errorf("bottle-approve %q ended with %d: %s%s", args, got, out, said)
		}
	}
	approve(0, "--once", file(r, slug, host("docs.example", "/once")))
	want("the first use", "/once", "200")
	want("the second use", "/once", "403")
	r.Restart(slug, "egress")
	want("after a restart", "/once", "403")
	id := file(r, slug, host("docs.example", "/wide"))
	approve(0, "--path", "/wide/only", id)
	want("narrowed", "/wide/only/x", "200")
	want("beside it", "/wide/x", "403")
	approve(0, "--revoke", id)
	want("revoked", "/wide/only/x", "403")
	approve(3, "--revoke", id)
	approve(3, "egress-block-aaaaaaaaaaaaaaaa")
	approve(2, "--once", "--uses", "3", id)
	r.Env = append(r.Env, `EDITOR=sed -i 's/^routes:.*/routes:\n  - host: docs.example\n    private: true/'`)
	if out, said, code := r.Run("bottle-edit", "--yes", slug, "routes"); code != 0 || !strings.Contains(out, "docs.example") {
		t.Errorf("bottle-edit ended with %d: %s%s", code, out, said)
	}
	want("edited", "/anything", "200")
	r.Env[len(r.Env)-1] = "EDITOR=true"
	if out, said, code := r.Run("bottle-edit", "--yes", slug); code != 0 || out != "" || said != "nothing was changed\n" {
		t.Errorf("an edit without a change ended with %d: %s%s", code, out, said)
	}
	r.Env[len(r.Env)-1] = "EDITOR=sed -i s/routes:/rutes:/"
	if out, said, code := r.Run("bottle-edit", "--yes", slug); code != 1 || !strings.Contains(said, "rutes") || !strings.Contains(said, "is kept in ") {
		t.Errorf("a mistake ended with %d: %s%s", code, out, said)
	}
	r.Docker("kill", "bottle-"+slug+"-egress-1")
	pending := file(r, slug, host("late.example"))
	approve(1, pending)
	if _, said, code := r.Run("bottle-edit", "--yes", slug); code != 1 || !strings.Contains(said, "does not run") {
		t.Errorf("an edit without egress ended with %d: %s", code, said)
	}
	if out, _, _ := r.Run("bottle-ls", "proposals"); !strings.Contains(out, pending) {
		t.Errorf("it does not wait any more: %s", out)
	}
}

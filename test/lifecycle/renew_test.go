package lifecycle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// A token that its upstream refuses is told of, and the operator renews it while
// the agent goes on; a command that fails leaves the old one.
func TestACredentialThatUpstreamRefusesIsRenewed(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	u := r.Upstream("keyed.test")
	file := filepath.Join(r.Dir, "token")
	say := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("the-token-of-yesterday")
	r.Write("bottles/dev.md", "---\negress:\n  routes:\n    - {host: keyed.test, auth: {scheme: Bearer, token_ref: 'cmd:cat "+file+"', refresh: 45m}, private: true}\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	slug := r.Start("dev", "--workspace", "none")
	u.Join(slug)
	ask := func(path, want string) {
		t.Helper()
		if out, said, _ := r.Inside(slug, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://keyed.test"+path); out != want {
			t.Errorf("%s: %s%s, want %s", path, out, said, want)
		}
	}
	listed := func() bottle.Bottle {
		t.Helper()
		return r.Bottles()[0]
	}
	ask("/v1/fine", "200")
	if b := listed(); b.Status != bottle.Running || b.Stale != nil {
		t.Errorf("before: %+v", b)
	}
	ask("/v1/401", "401")
	b := listed()
	if b.Status != bottle.Running || len(b.Stale) != 1 || !strings.HasPrefix(b.Stale[0], "cmd:") {
		t.Errorf("after a 401: %+v", b)
	}
	if out, _, _ := r.Run("bottle-ls", "-o", "table"); !strings.Contains(out, "upstream refuses "+b.Stale[0]+" (401): run bottle-start --renew "+slug) {
		t.Errorf("the table says %s", out)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, said, code := r.Run("bottle-start", "--renew", slug); code != 1 || !strings.Contains(said, "could not be renewed, the old one goes on") ||
		!strings.Contains(said, "cat "+file) || !strings.Contains(said, "hint: ") {
		t.Errorf("a command that fails: %d: %s", code, said)
	}
	ask("/v1/goes-on", "200")
	say("the-token-of-today")
	if _, said, code := r.Run("bottle-start", "--renew", slug, "nothing"); code != 3 || !strings.Contains(said, `no bottle named "nothing"`) {
		t.Errorf("with one that is not there: %d: %s", code, said)
	}
	if _, said, code := r.Run("bottle-start", "--renew", slug); code != 0 || !strings.Contains(said, slug+": 1 values handed over") {
		t.Errorf("%d: %s", code, said)
	}
	if b := listed(); b.Stale != nil {
		t.Errorf("after the renewal: %+v", b)
	}
	ask("/v1/renewed", "200")
	if heard := u.Heard("/v1/renewed"); len(heard) != 1 || !slices.Contains(heard[0].Header, "Authorization: Bearer the-token-of-today") {
		t.Errorf("%+v", heard)
	}
	r.Docker("stop", "bottle-"+slug+"-egress-1")
	if _, said, code := r.Run("bottle-start", "--renew", slug); code != 6 || !strings.Contains(said, "bottle-start --resume "+slug) {
		t.Errorf("with egress down: %d: %s", code, said)
	}
}

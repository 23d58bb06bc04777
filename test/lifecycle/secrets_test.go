package lifecycle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

const credentialBottle = `---
egress:
  routes:
    - {host: keyed.test, path_allowlist: [/v1], auth: {scheme: Bearer, token_ref: OPERATORS_TOKEN}, private: true}
    - {host: keyed.test, path_allowlist: [/open], private: true}
---
`

// A sidecar that was restarted has lost its values: it says so, answers 503
// where it needs them, and gets them again.
func TestARestartedEgressIsDegradedUntilItIsResumed(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	u := r.Upstream("keyed.test")
	r.Write("bottles/dev.md", credentialBottle)
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	if _, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev"); code != 1 || !strings.Contains(said, "bottles/dev.md:4: the route to keyed.test: your environment has no OPERATORS_TOKEN") {
		t.Errorf("a reference that cannot be resolved: %d: %s", code, said)
	}
	r.Env = []string{"OPERATORS_TOKEN=the-first-token-of-all"}
	slug := r.Start("dev")
	u.Join(slug)
	r.Env = nil
	ask := func(path string) string {
		t.Helper()
		out, said, _ := r.Inside(slug, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://keyed.test"+path)
		return out + said
	}
	arrived := func(path, token string) bool {
		t.Helper()
		heard := u.Heard(path)
		return len(heard) > 0 && strings.Contains(strings.Join(heard[len(heard)-1].Header, "\n"), token)
	}
	status := func() (string, string) {
		t.Helper()
		b := r.Bottles()[0]
		return string(b.Status), b.Reason
	}
	if got := ask("/v1/first"); got != "200" || !arrived("/v1/first", "the-first-token-of-all") {
		t.Fatalf("before the restart: %s", got)
	}
	if s, reason := status(); s != "running" {
		t.Errorf("before the restart it is %s: %s", s, reason)
	}
	r.Restart(slug, "egress")
	if s, reason := status(); s != "degraded" || !strings.Contains(reason, "lacks env:OPERATORS_TOKEN: run bottle-start --resume "+slug) {
		t.Errorf("after the restart it is %s: %s", s, reason)
	}
	if got := ask("/v1/second"); got != "503" || len(u.Heard("/v1/second")) > 0 {
		t.Errorf("without its value: %s", got)
	}
	if got := ask("/open/second"); got != "200" || arrived("/open/second", "token") {
		t.Errorf("where it needs none: %s", got)
	}
	if _, said, code := r.Run("bottle-start", "--resume", slug); code != 1 || !strings.Contains(said, "OPERATORS_TOKEN") {
		t.Errorf("a resume that cannot resolve: %d: %s", code, said)
	}
	r.Env = []string{"OPERATORS_TOKEN=the-second-token-of-all"}
	if out, said, code := r.Run("bottle-start", "--resume", slug); code != 0 || out != slug+"\n" || strings.Contains(said, "the-second") {
		t.Fatalf("the resume ended with %d: %s%s", code, out, said)
	}
	if got := ask("/v1/third"); got != "200" || !arrived("/v1/third", "the-second-token-of-all") {
		t.Errorf("after the resume: %s", got)
	}
	if s, reason := status(); s != "running" {
		t.Errorf("after the resume it is %s: %s", s, reason)
	}
	if _, said, code := r.Run("bottle-start", "--resume", "none"); code != 3 {
		t.Errorf("a bottle that does not exist: %d: %s", code, said)
	}
}

func TestASecretOfTheEnvironmentReachesTheSessionAlone(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\nenv:\n  STAGE_KEY: ${STAGE_KEY}\negress:\n  routes:\n    - {host: one.test, private: true}\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	if _, said, code := r.Run("bottle-start", "--yes", "--detach", "dev"); code == 0 || !strings.Contains(said, "STAGE_KEY") {
		t.Errorf("a missing variable: %d: %s", code, said)
	}
	r.Env = []string{"STAGE_KEY=value-of-the-key"}
	slug := r.Start("dev")
	if out, said, _ := r.Inside(slug, "printenv", "STAGE_KEY"); out != "value-of-the-key\n" {
		t.Errorf("inside it is %q: %s", out, said)
	}
	if out := r.Docker("inspect", "bottle-"+slug+"-agent-1"); strings.Contains(out, "value-of-the-key") {
		t.Error("docker inspect shows it")
	}
	t.Run("a changed policy is in force when egress says so", func(t *testing.T) { changedPolicy(t, r, slug) })
}

// The policy of a living bottle is changed by whoever writes its file, and egress
// says what became of it. At first it has one.test alone.
func changedPolicy(t *testing.T, r *rig.Rig, slug string) {
	in, out := filepath.Join(r.Home, "state", slug, "egress/in"), filepath.Join(r.Home, "state", slug, "egress/out")
	change := func(text string) (a struct {
		Generation int
		Error      string
		SHA256     string
	}) {
		t.Helper()
		awaitChange(t, out, "applied.json", func() {
			temp := filepath.Join(in, ".tmp-routes")
			if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(temp, filepath.Join(in, "routes.yaml")); err != nil {
				t.Fatal(err)
			}
		})
		data, err := os.ReadFile(filepath.Join(out, "applied.json"))
		if err == nil {
			err = json.Unmarshal(data, &a)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	allowlist := func() string {
		got, said, _ := r.Inside(slug, "curl", "-sS", "http://_egress.local/allowlist")
		return got + said
	}
	if got := allowlist(); !strings.Contains(got, `"host": "one.test"`) {
		t.Errorf("at first: %s", got)
	}
	if a := change("routes:\n- {host: two.test, path_allowlist: [/x]}\n"); a.Generation != 2 || a.Error != "" {
		t.Errorf("%+v", a)
	}
	if got := allowlist(); !strings.Contains(got, `"host": "two.test"`) || strings.Contains(got, "one.test") {
		t.Errorf("changed: %s", got)
	}
	if a := change("routes:\n- hots: three.test\n"); a.Generation != 2 || !strings.Contains(a.Error, `line 2: unknown key "hots"`) {
		t.Errorf("%+v", a)
	}
	if got := allowlist(); !strings.Contains(got, `"host": "two.test"`) {
		t.Errorf("refused: %s", got)
	}
}

package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// counted is an agent that notes in its home each time a session starts, and lives.
const counted = "---\nbottle: dev\nprogram: {command: [sh, -c, 'echo started >>~/sessions; exec cat']}\n---\n"

// resumable is a rig with a bottle that has something to lose: files in home and
// workspace, and a credential that egress alone has.
type resumable struct {
	*rig.Rig
	t        *testing.T
	u        *rig.Upstream
	slug     string
	sessions int // that were started so far
}

func newResumable(t *testing.T) *resumable {
	t.Helper()
	r := &resumable{Rig: rig.New(t), t: t, sessions: 1}
	r.u = r.Upstream("keyed.test")
	r.Write("bottles/dev.md", credentialBottle)
	r.Write("agents/dev.md", counted)
	r.Env = []string{"OPERATORS_TOKEN=the-first-token-of-all"}
	r.slug = r.Rig.Start("dev")
	r.u.Join(r.slug)
	if _, said, code := r.Inside(r.slug, "sh", "-c", "echo at home >~/kept; echo at work >/work/kept"); code != 0 {
		t.Fatal(said)
	}
	return r
}

// listed is the bottle as bottle-ls --all has it.
func (r *resumable) listed() bottle.Bottle {
	r.t.Helper()
	out, said, code := r.Run("bottle-ls", "--all")
	if code != 0 || strings.Count(out, "\n") != 1 {
		r.t.Fatalf("bottle-ls --all ended with %d: %s%s", code, out, said)
	}
	return rig.Decode[bottle.Bottle](r.t, out)
}

// wantListed fails unless the bottle is listed so, for a reason that says this.
func (r *resumable) wantListed(status bottle.Status, reason string) {
	r.t.Helper()
	b := r.listed()
	if b.Status != status || !strings.Contains(b.Reason, reason) || b.Resumable != (status != bottle.Running) || status == bottle.Running && b.Reason != "" {
		r.t.Errorf("listed as %s (%s), resumable %v; want %s (%s)", b.Status, b.Reason, b.Resumable, status, reason)
	}
}

// resume resumes it with another token, and sees that all of it came back. Its
// session went on, or is a new one.
func (r *resumable) resume(lives bool) {
	r.t.Helper()
	if !lives {
		r.sessions++
	}
	r.Env = []string{"OPERATORS_TOKEN=the-second-token-of-all"}
	out, said, code := r.Run("bottle-start", "--resume", r.slug)
	if code != 0 || strings.TrimSpace(out) != r.slug || strings.Contains(said, "the-second") {
		r.t.Fatalf("the resume ended with %d: %s%s", code, out, said)
	}
	r.wantListed(bottle.Running, "")
	r.TryDocker("network", "connect", r.u.Network, egressName(r.slug)) // one that was made anew is not in there
	if out, said, _ := r.Inside(r.slug, "cat", "/home/agent/kept", "/work/kept"); out != "at home\nat work\n" {
		r.t.Errorf("home and workspace hold %q: %s", out, said)
	}
	// The session's program may have come no further than its start.
	const sessions = `until [ "$(grep -c started ~/sessions)" -ge "$0" ]; do sleep 0.1; done; cat ~/sessions`
	if out, _, _ := r.Inside(r.slug, "timeout", "300", "sh", "-c", sessions, fmt.Sprint(r.sessions)); strings.Count(out, "started") != r.sessions {
		r.t.Errorf("%d sessions were started, want %d", strings.Count(out, "started"), r.sessions)
	}
	path := "/v1/" + r.t.Name()
	if got := r.ask(path); got != "200" {
		r.t.Errorf("an allowed request is answered %s", got)
	}
	heard := r.u.Heard(path)
	if len(heard) == 0 || !strings.Contains(strings.Join(heard[len(heard)-1].Header, "\n"), "the-second-token-of-all") {
		r.t.Errorf("upstream heard %+v", heard)
	}
	if got := r.ask("/elsewhere"); got != "403" {
		r.t.Errorf("what the policy does not allow is answered %s", got)
	}
}

// ask asks upstream for a path, and returns the status, or what curl says.
func (r *resumable) ask(path string, flags ...string) string {
	r.t.Helper()
	out, said, _ := r.Inside(r.slug, append([]string{"curl"}, append(flags, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://keyed.test"+path)...)...)
	return out + said
}

func egressName(slug string) string { return "bottle-" + slug + "-egress-1" }
func agentName(slug string) string  { return "bottle-" + slug + "-agent-1" }

func (r *resumable) id(container string) string {
	r.t.Helper()
	return r.Docker("inspect", "-f", "{{.Id}}", container)
}

// One bottle that has a hard life, and after each blow is what it was before. How
// it can be hurt while its agent lives is in trouble_test.go.
func TestABottleComesBackWhateverHappenedToIt(t *testing.T) {
	t.Parallel()
	r := newResumable(t)
	for _, c := range troubles {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			c.harm(r)
			r.wantListed(bottle.Degraded, c.reason(r)+"; run bottle-start --resume "+r.slug)
			if got := r.ask("/v1/meanwhile", "-m", "1"); got == "200" || len(r.u.Heard("/v1/meanwhile")) > 0 {
				t.Errorf("meanwhile a request is answered %s", got)
			}
			r.resume(c.lives)
		})
	}
	for _, c := range []struct {
		name string
		try  func(*resumable)
	}{
		{"a resume was killed", resumeKilled}, {"a stop was killed", stopKilled}, {"its containers were removed", lost},
		{"somebody else made its network", foreignNetwork}, {"it was kept", kept}, {"its volumes were removed", workGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			c.try(r)
		})
	}
}

func lost(r *resumable) {
	r.DropContainers(r.slug)
	r.Docker("network", "rm", "bottle-"+r.slug+"_inner")
	r.wantListed(bottle.Lost, "its containers are gone; bottle-start --resume "+r.slug+" makes them anew")
	r.resume(false)
}

func kept(r *resumable) {
	before := r.id(agentName(r.slug)) + r.id(egressName(r.slug))
	if _, said, code := r.Run("bottle-stop", "--keep", r.slug); code != 0 {
		r.t.Fatal(said)
	}
	r.wantListed(bottle.Stopped, "it was stopped and kept; bottle-start --resume "+r.slug)
	if out, _, code := r.Run("bottle-stop", "--orphans", "--dry-run"); code != 0 || out != "" {
		r.t.Errorf("the reaper would take %s", out)
	}
	r.resume(false)
	if r.id(agentName(r.slug))+r.id(egressName(r.slug)) != before {
		r.t.Error("its containers were made anew")
	}
	if _, err := os.Stat(filepath.Join(r.Home, "state", r.slug, ".preserve")); err == nil {
		r.t.Error("it runs, and is still marked as kept")
	}
}

// stopKilled leaves it as a stop does that was killed in its capture.
func stopKilled(r *resumable) {
	r.Docker("stop", "-t", "5", agentName(r.slug))
	label := []string{"--label", "bottle.home=" + homeID(r.t, r.Rig), "--label", "bottle.slug=" + r.slug}
	r.Docker(append(append([]string{"create", "--name", "bottle-" + r.slug + "-capture-1", "--label", "com.docker.compose.service=capture"}, label...), "bottle-base:bookworm", "true")...)
	r.Docker(append(append([]string{"volume", "create"}, label...), "bottle-"+r.slug+"_scratch")...)
	r.resume(false)
	if out := r.Docker("ps", "-aq", "--filter", "name=bottle-"+r.slug+"-capture-1") + r.Docker("volume", "ls", "-q", "--filter", "name=bottle-"+r.slug+"_scratch"); out != "" {
		r.t.Errorf("of the capture there is left %s", out)
	}
}

// resumeKilled leaves it as a resume does that was killed before the end.
func resumeKilled(r *resumable) {
	path := filepath.Join(r.Home, "state", r.slug, "metadata.json")
	text := readFile(r.t, path)
	if err := os.WriteFile(path, []byte(strings.Replace(text, `"status": "running"`, `"status": "starting"`, 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.wantListed(bottle.Degraded, "its bottle-start died before it handed it over; run bottle-start --resume "+r.slug)
	r.resume(true)
}

// A network by the bottle's name that somebody made for himself leads who knows
// where: nothing of the bottle is put into it.
func foreignNetwork(r *resumable) {
	if _, said, code := r.Run("bottle-stop", "--keep", r.slug); code != 0 {
		r.t.Fatal(said)
	}
	inner := "bottle-" + r.slug + "_inner"
	subnet := strings.TrimSpace(r.Docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", inner))
	r.Docker("network", "rm", inner)
	r.Docker("network", "create", "--subnet", subnet, "--label", "bottle.home="+homeID(r.t, r.Rig), "--label", "bottle.slug="+r.slug, inner) // with a way out
	_, said, code := r.Run("bottle-start", "--resume", r.slug)
	if code != 6 || !strings.Contains(said, inner+" that is not as the bottle's was") || !strings.Contains(said, "hint: docker network rm it") {
		r.t.Errorf("the resume ended with %d: %s", code, said)
	}
	r.wantListed(bottle.Stopped, "could not be resumed")
	r.Docker("network", "rm", inner)
	r.resume(false)
}

func workGone(r *resumable) {
	r.DropContainers(r.slug)
	r.Docker("volume", "rm", "bottle-"+r.slug+"_home", "bottle-"+r.slug+"_work")
	if b := r.listed(); b.Status != bottle.Lost || b.Resumable || !strings.Contains(b.Reason, "its work with them") {
		r.t.Errorf("listed as %+v", b)
	}
	_, said, code := r.Run("bottle-start", "--resume", r.slug)
	if code != 1 || !strings.Contains(said, "its volumes are gone, and its work with them: bottle-"+r.slug+"_home, bottle-"+r.slug+"_work") || !strings.Contains(said, "hint: bottle-stop "+r.slug) {
		r.t.Errorf("the resume ended with %d: %s", code, said)
	}
	if _, said, code := r.Run("bottle-stop", r.slug); code != 0 {
		r.t.Errorf("the stop ended with %d: %s", code, said)
	}
}

func homeID(t *testing.T, r *rig.Rig) string {
	t.Helper()
	return strings.TrimSpace(readFile(t, filepath.Join(r.Home, "id")))
}

// The manifest may be gone, and what it said changed: a bottle comes back as it
// was made.
func TestABottleWhosePolicyNeedsNoValueComesBackWithoutItsManifest(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	slug := r.Start("dev")
	if _, said, code := r.Run("bottle-stop", "--keep", slug); code != 0 {
		t.Fatal(said)
	}
	for _, name := range []string{"agents/dev.md", "bottles/dev.md"} {
		if err := os.Remove(filepath.Join(r.Home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, said, code := r.Run("bottle-start", "--resume", slug); code != 0 {
		t.Errorf("the resume ended with %d: %s", code, said)
	}
	if out, said, _ := r.Inside(slug, "curl", "-sS", "http://_egress.local/allowlist"); !strings.Contains(out, "allowed.test") {
		t.Errorf("its policy: %s%s", out, said)
	}
	if out, said, code := r.Run("bottle-stop", slug); code != 0 {
		t.Errorf("its stop ended with %d: %s%s", code, out, said)
	}
	out, _, _ := r.Run("bottle-ls", "--all")
	if b := rig.Decode[bottle.Bottle](t, out); b.Status != bottle.Gone || b.Slug != slug || b.StoppedAt.IsZero() || b.ExitCode == nil || *b.ExitCode != 129 || b.Resumable {
		t.Errorf("in the history it is %+v", b)
	}
	if out, _, _ := r.Run("bottle-ls", "--all", "-o", "table"); !strings.Contains(out, "RESUME") || !strings.Contains(out, slug) {
		t.Errorf("as a table: %s", out)
	}
}

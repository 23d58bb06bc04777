package behind

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// token is what both scanners know; the route lets it pass egress'.
const token = "ghp_" + "r7Zq2mXc81LdKpT0vYwB5sJfHgNe34RaUo9i"

// lab is a bottle with pipelock, whose agent, a shell, may reach one.test.
type lab struct {
	*rig.Rig
	t    *testing.T
	u    *rig.Upstream
	slug string
}

func start(t *testing.T, names ...string) *lab {
	t.Helper()
	l := &lab{Rig: rig.New(t), t: t}
	image, _ := l.PipelockImage()
	l.u = l.Upstream(append(names, "one.test")...)
	l.Write("bottles/dev.md", "---\npipelock: {image: "+image+"}\negress:\n  routes:\n"+
		"    - {host: one.test, private: true, scan: {allow: [{rule: github-pat}]}}\n---\n")
	l.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	l.slug = l.Start("dev")
	l.u.JoinPipelock(l.slug)
	return l
}

func (l *lab) container(service string) string { return "bottle-" + l.slug + "-" + service + "-1" }

// ask has the agent ask for a URL, and returns status and body.
func (l *lab) ask(url string, more ...string) string {
	l.t.Helper()
	out, said, _ := l.Inside(l.slug, append([]string{"curl", "-sS", "-w", " %{http_code}", url}, more...)...)
	return out + said
}

func (l *lab) wants(answer string, words ...string) {
	l.t.Helper()
	for _, w := range words {
		if !strings.Contains(answer, w) {
			l.t.Errorf("it answers %q, want %q", answer, w)
		}
	}
}

// inspect is what the engine says of a container.
func (l *lab) inspect(service, format string) string {
	l.t.Helper()
	return strings.TrimSpace(l.Docker("inspect", "-f", format, l.container(service)))
}

const networksOf = `{{range $n, $e := .NetworkSettings.Networks}}{{$n}}={{$e.IPAddress}} {{end}}`

// Egress has no way out but pipelock, whom the agent cannot dial (A12); pipelock
// finds what egress was told to let pass.
func TestEverythingLeavesByPipelock(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.wants(l.ask("https://one.test/first"), "200", `"/first"`)
	behind := ""
	var names []string
	for _, f := range strings.Fields(l.inspect("egress", networksOf)) {
		name, _, _ := strings.Cut(f, "=")
		names = append(names, name)
	}
	if want := []string{"bottle-" + l.slug + "_behind", "bottle-" + l.slug + "_inner"}; !slices.Equal(names, want) {
		t.Errorf("egress is in %q, want %q", names, want)
	}
	for _, f := range strings.Fields(l.inspect("pipelock", networksOf)) {
		name, address, _ := strings.Cut(f, "=")
		if strings.HasSuffix(name, "_behind") {
			behind = address
		}
		if strings.HasSuffix(name, "_inner") {
			t.Error("pipelock is in the agent's network")
		}
	}
	heard := l.u.Heard("/first")
	if len(heard) != 1 || !strings.Contains(l.inspect("pipelock", networksOf), strings.Split(heard[0].From, ":")[0]) {
		t.Errorf("upstream heard %+v", heard)
	}
	for _, argv := range [][]string{
		{"curl", "-sS", "-m", "5", "--noproxy", "*", fmt.Sprintf("http://%s:8888/health", behind)},
		{"curl", "-sS", "-m", "5", "-f", fmt.Sprintf("http://%s:8888/health", behind)},
		{"curl", "-sS", "-m", "5", "--noproxy", "*", "-f", "http://pipelock:8888/health"},
	} {
		if out, said, code := l.Inside(l.slug, argv...); code == 0 {
			t.Errorf("the agent dials pipelock: %s%s", out, said)
		}
	}
	if out, said, code := l.Inside(l.slug, "cat", "/etc/hosts"); code != 0 || strings.Contains(out, "pipelock") {
		t.Errorf("%d: %s%s", code, out, said)
	}
	l.wants(l.ask("https://one.test/leak", "-d", "x="+token), "403", "blocked: request body contains secret")
	l.wants(l.ask("https://one.test/leak", "-H", "X-Note: "+token), "403", "blocked: request header contains secret")
	if heard := l.u.Heard("/leak"); len(heard) > 0 {
		t.Errorf("upstream heard %+v", heard)
	}
}

// A pipelock that is down is seen, what is asked meanwhile is refused with its
// reason, and a resume mends it.
func TestAPipelockThatEndedIsSeenAndMended(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.Docker("kill", l.container("pipelock"))
	b := l.Bottles()[0]
	if b.Status != "degraded" || !strings.Contains(b.Reason, "pipelock") {
		t.Errorf("%s: %s", b.Status, b.Reason)
	}
	l.wants(l.ask("https://one.test/"), "502", "pipelock, behind egress, cannot be reached")
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	l.wants(l.ask("https://one.test/again"), "200")
	l.Docker("kill", l.container("egress"))
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	l.wants(l.ask("https://one.test/with-another-egress"), "200")
	if b := l.Bottles()[0]; b.Status != "running" || !slices.Contains(b.Services, "pipelock") {
		t.Errorf("%s: %s, %q", b.Status, b.Reason, b.Services)
	}
	if _, said, code := l.Run("bottle-stop", "--keep", l.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("the resume ended with %d: %s", code, said)
	}
	l.wants(l.ask("https://one.test/once-more"), "200")
	if _, said, code := l.Run("bottle-stop", l.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if left := l.Docker("ps", "-aq", "--filter", "label=bottle.slug="+l.slug) + l.Docker("network", "ls", "-q", "--filter", "label=bottle.slug="+l.slug); left != "" {
		t.Errorf("left: %s", left)
	}
}

// What cannot be is refused before an agent runs, with a remedy, and leaves nothing.
func TestABottleWhosePipelockCannotBeIsNotStarted(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	try := func(image string, more string, words ...string) {
		t.Helper()
		r.Write("bottles/dev.md", "---\npipelock: {image: "+image+"}\n"+more+"---\n")
		_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
		for _, w := range words {
			if code != 1 || !strings.Contains(said, w) {
				t.Errorf("%d: %s, want %q", code, said, w)
			}
		}
		if list := r.Bottles(); len(list) > 0 {
			t.Errorf("left: %+v", list)
		}
	}
	try("bottle-test-nothing:1", "", "run docker pull bottle-test-nothing:1")
	image, real := r.PipelockImage()
	if !real {
		try(image, "egress: {routes: [{host: fail-check.test}]}\n", "pipelock does not take its file", "told to fail")
		try(image, "egress: {routes: [{host: fail-run.test}]}\n", "did not get ready")
	}
	r.Env = []string{"HTTPS_PROXY=http://proxy.example.test:3128"}
	try(image, "", "pipelock cannot go through a proxy")
}

package behind

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// token and jwt are what both scanners know; the route lets them pass egress'.
const (
	token = "ghp_" + "r7Zq2mXc81LdKpT0vYwB5sJfHgNe34RaUo9i"
	jwt   = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ" + ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
)

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
	image, real := l.PipelockImage()
	l.u = l.Upstream(append(names, "one.test")...)
	l.Write("bottles/dev.md", "---\npipelock: {image: "+image+"}\negress:\n  routes:\n"+
		"    - {host: one.test, private: true, scan: {allow: [{rule: github-pat}, {rule: jwt}]}}\n---\n")
	l.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\n")
	l.slug = l.Start("dev")
	l.u.JoinPipelock(l.slug)
	if real { // the tests' internet has private addresses, which this machine's resolver does not know
		l.mustEdit("'s,^media_policy:,ssrf:\\n  ip_allowlist: [" + l.u.Subnet.String() + "]\\n&,'")
	}
	return l
}

func (l *lab) container(service string) string { return "bottle-" + l.slug + "-" + service + "-1" }

// ask has the agent ask for a URL, and returns status and body.
func (l *lab) ask(url string, more ...string) string {
	l.t.Helper()
	out, said, _ := l.Inside(l.slug, append([]string{"curl", "-sS", "-w", " %{http_code}", url}, more...)...)
	return out + said
}

// denied waits until the log tells of two refusals at a path, each for a reason that
// has this text.
func (l *lab) denied(path, reason string) {
	l.t.Helper()
	for _, e := range l.AwaitEvents(l.slug, "deny "+path, 2, func(e bottle.Event) bool { return e.Path == path && e.Verdict == "deny" }) {
		l.wants(e.Reason, reason)
	}
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

// What leaves a bottle as it was, one after another in the same one. First is what
// asks the operator: later ones leave proposals behind.
func TestWhatGoesThroughPipelock(t *testing.T) {
	t.Parallel()
	l := start(t, "two.test")
	for _, c := range []struct {
		name string
		try  func(*lab)
	}{
		{"what it has no exception for is not asked", whatHasNoExceptionIsNotAsked},
		{"an exception ends in it too", exceptionEndsInPipelockToo},
		{"a false positive is excepted in its file", falsePositiveIsExcepted},
		{"everything leaves by it", everythingLeavesByPipelock},
		{"it stops what egress lets through", pipelockStopsWhatEgressLetsThrough},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			c.try(l)
		})
	}
}

// Egress has no way out but pipelock, whom the agent cannot dial (A12); pipelock
// finds what egress was told to let pass.
func everythingLeavesByPipelock(l *lab) {
	t := l.t
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
	l.denied("/leak", "pipelock, behind egress, says: blocked: request")
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
	l.saysSilent() // it ended before pipelock, which is up again, had answered it
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

// saysSilent has the last word of an egress that has ended be that pipelock is silent.
func (l *lab) saysSilent() {
	l.t.Helper()
	path := l.Home + "/state/" + l.slug + "/egress/out/applied.json"
	text, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	a := rig.Decode[bottle.Applied](l.t, string(text))
	a.Silent = true
	if text, err = json.Marshal(a); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
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

// proposed is the proposal by which egress tells that it refused a host.
func (l *lab) proposed(host string) string {
	l.t.Helper()
	l.wants(l.ask("https://"+host+"/"), "403")
	return l.AwaitProposal("egress-denied", host)
}

// edit changes pipelock's file by a line of sed.
func (l *lab) edit(sed string) (stdout, stderr string, code int) {
	l.t.Helper()
	l.Env = []string{"EDITOR=sed -i " + sed}
	return l.Run("bottle-edit", "--yes", l.slug, "pipelock")
}

func (l *lab) mustEdit(sed string) {
	l.t.Helper()
	if out, said, code := l.edit(sed); code != 0 {
		l.t.Fatalf("bottle-edit ended with %d: %s%s", code, out, said)
	}
}

func (l *lab) file() string {
	l.t.Helper()
	text, err := os.ReadFile(l.Home + "/state/" + l.slug + "/pipelock/in/pipelock.yaml")
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// started is when pipelock's container was started last.
func (l *lab) started() string { return l.inspect("pipelock", "{{.State.StartedAt}}") }

// An approved host is on pipelock's list, beside what the operator wrote there, and
// reached at once, without a restart; a revoked one is not.
func TestAnApprovedHostIsOpenInBoth(t *testing.T) {
	t.Parallel()
	l := start(t, "two.test")
	l.mustEdit("'s/one.test/& # mine/'")
	since := l.started()
	id := l.proposed("two.test")
	if _, said, code := l.Run("bottle-approve", id); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	l.wants(l.ask("https://two.test/"), "200")
	l.wants(l.file(), "- one.test # mine", "- two.test")
	if _, said, code := l.Run("bottle-approve", "--revoke", id); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	l.wants(l.ask("https://two.test/"), "403")
	if strings.Contains(l.file(), "two.test") {
		t.Errorf("it is still listed:\n%s", l.file())
	}
	if l.started() != since {
		t.Error("pipelock was restarted")
	}
	l.Env = []string{"EDITOR=sed -i 's/    private: true/&\\n  - host: two.test\\n    private: true/'"}
	if _, said, code := l.Run("bottle-edit", "--yes", l.slug, "routes"); code != 0 || !strings.Contains(said, "ssrf.ip_allowlist has it: add those of two.test") {
		t.Errorf("%d: %s", code, said)
	}
	l.wants(l.file(), "- two.test")
}

// Where pipelock does not take a host, or is not there, nothing changes, and the
// operator hears what to mend.
func TestWherePipelockFailsNothingIsApproved(t *testing.T) {
	t.Parallel()
	l := start(t, "two.test")
	id := l.proposed("two.test")
	l.Docker("kill", l.container("pipelock"))
	_, said, code := l.Run("bottle-approve", id)
	if code != 1 || !strings.Contains(said, "pipelock failed, so the routes are NOT changed") || !strings.Contains(said, "bottle-edit "+l.slug+" pipelock") {
		t.Errorf("%d: %s", code, said)
	}
	if out, _, _ := l.Run("bottle-ls", "grants"); out != "" {
		t.Errorf("granted: %s", out)
	}
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if _, said, code := l.Run("bottle-approve", id); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	l.wants(l.file(), "- two.test")
}

// Pipelock's own check stands before its file; a reload that it refuses is made by a
// restart, during which egress holds what is asked; a file with which it does not
// come up is put back.
func TestTheOperatorEditsPipelocksFile(t *testing.T) {
	t.Parallel()
	l := start(t)
	if _, said, code := l.edit("'s/^mode: strict/mode: audit/'"); code == 0 {
		t.Errorf("another mode is taken: %s", said)
	}
	if _, said, code := l.edit("'s/^version: 1/version: 1\\nno_such_key: 1/'"); code != 1 || !strings.Contains(said, "pipelock does not take its file") {
		t.Errorf("%d: %s", code, said)
	}
	since := l.started()
	l.mustEdit("'s/  - one.test/&\\n  - listed.test/'")
	if l.started() != since {
		t.Error("pipelock was restarted for a host")
	}
	l.mustEdit("'s/idle_timeout_seconds: 300/idle_timeout_seconds: 200/'")
	if l.started() == since {
		t.Error("what nobody can see to be in force was not restarted")
	}
	if _, real := l.PipelockImage(); real {
		return
	}
	since = l.started()
	asked := make(chan string, 1)
	go func() { asked <- l.ask("https://one.test/meanwhile") }()
	l.mustEdit("'s/  - one.test/&\\n  - fail-reload.test/'")
	l.wants(<-asked, "200")
	if l.started() == since {
		t.Error("a reload that was refused was not made by a restart")
	}
	before := l.file()
	if _, said, code := l.edit("'s/  - one.test/&\\n  - fail-run.test/'"); code != 1 {
		t.Errorf("%d: %s", code, said)
	}
	if l.file() != before {
		t.Errorf("the file is\n%s", l.file())
	}
	l.wants(l.ask("https://one.test/after"), "200")
	out, said, code := l.Shell(`jq -r 'select(.sidecar=="pipelock").kind' "$BOTTLE_HOME/audit.jsonl"`)
	if code != 0 || strings.Count(out, "edit") != 3 {
		t.Errorf("%d: recorded is %q %s", code, out, said)
	}
}

// A host that the routes have, and pipelock's list has not, is refused in pipelock's
// words, and told of in the log; the agent can ask for it.
func TestAHostThatPipelockAloneRefuses(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.mustEdit("'s/  - one.test/  - other.test/'")
	l.wants(l.ask("https://one.test/"), "502", "pipelock, behind egress, refuses: CONNECT blocked: domain not in allowlist: one.test")
	out, said, code := l.Shell("bottle-log " + l.slug + ` | jq -r 'select(.host=="one.test").reason'`)
	if code != 0 || !strings.Contains(out, "pipelock, behind egress, refuses: CONNECT blocked") {
		t.Errorf("%d: %s%s", code, out, said)
	}
	walls, _, _ := l.Inside(l.slug, "cat", "/etc/bottle/walls.md")
	l.wants(walls, "pipelock-block: one host on pipelock's list. Prefer egress-block")
	l.Equip(l.slug)
	call := l.Ask(l.slug, "pipelock-block", `{"host": "one.test", "justification": "it was open"}`)
	id := call.Waits()
	if out, said, code := l.Run("bottle-approve", id); code != 0 {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	l.wants(l.file(), "- other.test", "- one.test")
	l.wants(l.ask("https://one.test/"), "200")
}

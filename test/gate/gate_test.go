// Package gate tests what a bottle's git can do, on a real engine: from inside,
// through the gate, to real servers, and to the operator's own repository.
package gate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// token is what looks like a secret, put together so that it stands nowhere.
var token = "ghp_" + "x7Gh2kLm9Qr4Tz8WvB3nYc6dPf1sJa5eRu0T"

// stage is a bottle, and its git seen from inside.
type stage struct {
	*rig.Rig
	t    *testing.T
	slug string
}

// start starts a bottle on the rig's folder, whose manifest has this front
// matter, and returns what was said to the operator.
func start(t *testing.T, r *rig.Rig, front string) (*stage, string) {
	t.Helper()
	return begin(t, r, "shell", front)
}

// begin is start for any program.
func begin(t *testing.T, r *rig.Rig, program, front string, flags ...string) (*stage, string) {
	t.Helper()
	r.Write("bottles/dev.md", "---\n"+front+"---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: "+program+"\n---\n")
	out, said, code := r.Run("bottle-start", append(flags, "--yes", "--detach", "dev")...)
	if code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	return &stage{r, t, strings.TrimSpace(out)}, said
}

// try runs a script in the workspace; its two streams are one.
func (s *stage) try(script string) (said string, ok bool) {
	s.t.Helper()
	out, _, code := s.Inside(s.slug, "sh", "-c", "exec 2>&1; cd /work; "+script)
	return out, code == 0
}

func (s *stage) must(script string) string {
	s.t.Helper()
	said, ok := s.try(script)
	if !ok {
		s.t.Fatalf("%s: %s", script, said)
	}
	return strings.TrimSpace(said)
}

// refused fails unless a script fails with all of these words.
func (s *stage) refused(script string, words ...string) string {
	s.t.Helper()
	said, ok := s.try(script)
	if ok {
		s.t.Errorf("it went through: %s: %s", script, said)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			s.t.Errorf("%s does not say %q: %s", script, w, said)
		}
	}
	if strings.Contains(said, token) {
		s.t.Errorf("the secret is in what is said: %s", said)
	}
	return said
}

// commit commits a file of this text, whose path is its name.
func (s *stage) commit(name, text string) string {
	s.t.Helper()
	return s.must("printf '%s\\n' '" + text + "' > " + name + " && git add " + name + " && git commit -qm " + name + " && git rev-parse HEAD")
}

// waiting is a push as it is listed.
type waiting struct {
	ID       string
	Proposed bottle.PushAsk
}

// proposals are the pushes that wait.
func (s *stage) proposals() []waiting {
	s.t.Helper()
	out, said, code := s.Run("bottle-ls", "proposals")
	if code != 0 {
		s.t.Fatalf("bottle-ls ended with %d: %s", code, said)
	}
	var list []waiting
	for line := range strings.Lines(out) {
		list = append(list, rig.Decode[waiting](s.t, line))
	}
	return list
}

// decide decides all that waits by a pipe.
func (s *stage) decide(flags ...string) {
	s.t.Helper()
	var ids strings.Builder
	for _, p := range s.proposals() {
		ids.WriteString(p.ID + "\n")
	}
	cmd := s.Command(s.t.Context(), "bottle-approve", append(flags, "-")...)
	cmd.Stdin = strings.NewReader(ids.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("bottle-approve: %v: %s", err, out)
	}
}

// status is the bottle's, as it is listed.
func (s *stage) status() (bottle.Status, string) {
	s.t.Helper()
	for _, b := range s.Bottles() {
		if b.Slug == s.slug {
			return b.Status, b.Reason
		}
	}
	return "", ""
}

func (s *stage) resume() {
	s.t.Helper()
	if _, said, code := s.Run("bottle-start", "--detach", "--resume", s.slug); code != 0 {
		s.t.Fatalf("the resume ended with %d: %s", code, said)
	}
}

// container is the name of the gate's.
func (s *stage) container() string { return "bottle-" + s.slug + "-git-gate-1" }

// clone is a clean one of the folder, which is the folder from now on.
func (s *stage) clone() {
	s.t.Helper()
	clone := filepath.Join(s.t.TempDir(), "clone")
	s.Git("clone", "-q", s.Dir, clone)
	s.Dir = clone
}

// fetched runs a line that the operator was given in the folder, and returns what
// trunk is that it brings.
func (s *stage) fetched(line string) string {
	s.t.Helper()
	s.Git("-c", "alias.x=!cd "+s.Dir+" && "+line, "x")
	return s.Git("rev-parse", "bottle/"+s.slug+"/trunk")
}

// fetchLine is a line that the operator is given.
var fetchLine = regexp.MustCompile(`(?m)^  (git .*fetch .*/(?:[a-z]+\.|pushed-)?[a-z]+\.bundle .*)$`)

func TestWhatIsPushedIsKeptForItsOperator(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.GitFolder()
	r.Env = []string{"OWN=quiet-otter-9472-harbour"}
	s, said := start(t, r, "env:\n  OWN: ${OWN}\n")
	line := fetchLine.FindStringSubmatch(said)
	if line == nil {
		t.Fatalf("no way to the work is told: %s", said)
	}
	if got := s.must("git remote get-url origin"); got != "http://git-gate/origin.git" {
		t.Errorf("the remote is %s", got)
	}
	if got, want := s.must("git pull -q origin trunk && git rev-parse origin/trunk"), r.Git("rev-parse", "trunk"); got != want {
		t.Errorf("before anything is pushed the gate has %s, not the folder's %s", got, want)
	}
	id := s.commit("work.txt", "done")
	s.must("git fetch -q origin && git tag v1 && git push -q origin trunk v1 && git pull -q origin trunk")
	if got := s.must("git ls-remote origin refs/heads/trunk refs/tags/v1"); got != id+"\trefs/heads/trunk\n"+id+"\trefs/tags/v1" {
		t.Errorf("the gate has %s", got)
	}
	if got := s.must("git clone -q --depth 1 http://git-gate/origin.git /tmp/c && git -C /tmp/c log --format=%s"); got != "work.txt" {
		t.Errorf("a shallow clone has %q", got)
	}

	// What the operator has is fetched into a clean clone, by the very line.
	s.clone()
	fetch := func(line string) {
		t.Helper()
		if got := s.fetched(line); got != id {
			t.Errorf("trunk is %s, want %s", got, id)
		}
	}
	fetch(line[1])

	held := s.commit("s.txt", "token = "+token)
	out := s.refused("git push origin trunk", "remote: git-gate: s.txt:1 in ", ": github-pat", "! [remote rejected] trunk -> trunk (held by git-gate)", "held for the operator as git-push-")
	s.must("git reset -q --hard " + id)
	s.refused("git push http://git-gate/other.git HEAD:x", "403")
	s.commit("own.txt", "is quiet-otter-9472-harbour")
	s.refused("git push origin HEAD:own", "own.txt:1 in ", ": known-secret")
	s.must("git reset -q --hard " + id)

	waiting := s.proposals()
	if len(waiting) != 2 || !strings.Contains(out, waiting[0].ID) {
		t.Fatalf("%d wait, none or another is told: %s", len(waiting), out)
	}
	s.decide()
	audit, err := os.ReadFile(filepath.Join(r.Home, "audit.jsonl"))
	if err != nil || strings.Count(string(audit), `"asked":"git-push"`) != 2 || !strings.Contains(string(audit), `+finding github-pat s.txt:1`) {
		t.Errorf("recorded: %s, %v", audit, err)
	}
	// Exactly these commits pass, and no others with the same in them.
	s.refused("git reset -q --hard "+held+" && git commit -q --amend -m another && git push origin trunk", "held by git-gate")
	if out := s.must("git push origin " + held + ":refs/heads/trunk"); !strings.Contains(out, "approved as "+waiting[0].ID) {
		t.Errorf("it passed, but: %s", out)
	}
	id = held
	fetch(line[1])

	log, said, code := s.Run("bottle-log", s.slug)
	if code != 0 || !strings.Contains(log, `"source":"git-gate","kind":"push","verdict":"held"`) || !strings.Contains(log, `"kind":"fetch"`) || strings.Contains(log, token) {
		t.Errorf("the log has %s: %s", log, said)
	}
	out, said, code = s.Run("bottle-stop", s.slug)
	if code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s", code, said)
	}
	var stopped struct{ Pushed map[string]string }
	if err := json.Unmarshal([]byte(out), &stopped); err != nil || stopped.Pushed["origin"] == "" {
		t.Errorf("%s: %v", out, err)
	}
	if listed, _, _ := s.Run("bottle-ls", "--all"); rig.Decode[bottle.Bottle](t, listed).Pushed["origin"] != stopped.Pushed["origin"] {
		t.Errorf("its past is listed as %s", listed)
	}
	lines := fetchLine.FindAllStringSubmatch(said, -1)
	if len(lines) != 2 || !strings.Contains(lines[1][1], stopped.Pushed["origin"]) {
		t.Fatalf("the ways to the work: %s", said)
	}
	r.Git("update-ref", "-d", "refs/heads/bottle/"+s.slug+"/trunk")
	fetch(lines[1][1])
	if left := s.Docker("volume", "ls", "-q", "--filter", "label=bottle.slug="+s.slug); left != "" {
		t.Errorf("volumes are left: %s", left)
	}
	if log, _, _ := s.Run("bottle-log", s.slug); !strings.Contains(log, `"source":"git-gate"`) {
		t.Errorf("its past does not know the gate: %s", log)
	}
}

func TestEveryPushCanNeedApproval(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.GitFolder()
	s, _ := start(t, r, "git:\n  remotes: {here: {}, there: {}}\n  push: {require_approval: true, refs: ['refs/heads/agent/*']}\n")
	s.commit("a.txt", "clean")
	s.refused("git push here trunk", "ref not allowed: refs/heads/agent/*")
	s.refused("git push here trunk:agent/a", "held for the operator")
	waiting := s.proposals()
	if len(waiting) != 1 || len(waiting[0].Proposed.Findings) != 0 || len(waiting[0].Proposed.Commits) == 0 || !strings.Contains(waiting[0].Proposed.Diffstat, "a.txt") {
		t.Fatalf("it is shown as %+v", waiting)
	}
	s.refused("git push there trunk:agent/a", "held for the operator")
	s.decide("--reject", "--reason", "not on a Tuesday")
	s.refused("git push here trunk:agent/a", "the operator rejected this push", "not on a Tuesday")
	s.commit("b.txt", "clean")
	s.refused("git push there trunk:agent/b", "held for the operator")
	s.decide()
	s.must("git push -q there trunk:agent/b")
	s.refused("git push here trunk:agent/b", "held for the operator") // another remote is another question
}

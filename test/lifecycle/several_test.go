package lifecycle

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// slugsOf fails unless the lines are slugs of these agents, in this order.
func slugsOf(t *testing.T, out string, agents ...string) []string {
	t.Helper()
	slugs := strings.Fields(out)
	if len(slugs) != len(agents) {
		t.Fatalf("slugs of %v: %q", agents, out)
	}
	for i, agent := range agents {
		if !strings.HasPrefix(slugs[i], agent+"-") {
			t.Errorf("slugs of %v: %q", agents, out)
		}
	}
	return slugs
}

func TestSeveralAgentsAreStartedAtOnceSecretsResolvedOnceAndStoppedFromAPipe(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	asked := filepath.Join(r.Dir, "asked")
	env := "env:\n  STAGE_KEY: {from: \"cmd:sh -c 'echo asked >> " + asked + "; echo value-of-the-key'\"}\n"
	for _, name := range []string{"dev", "web"} {
		r.Write("bottles/"+name+".md", "---\n"+env+"---\n")
		r.Write("agents/"+name+".md", "---\nbottle: "+name+"\nprogram: shell\n---\n")
	}
	out, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev", "web", "dev")
	if code != 0 || said != "" {
		t.Fatalf("ended with %d: %s", code, said)
	}
	slugs := slugsOf(t, out, "dev", "web", "dev")
	for _, slug := range slugs {
		if key, said, _ := r.Inside(slug, "printenv", "STAGE_KEY"); key != "value-of-the-key\n" {
			t.Errorf("%s has %q: %s", slug, key, said)
		}
	}
	if times := readFile(t, asked); times != "asked\n" {
		t.Errorf("the command ran: %q", times)
	}
	stopTakesSlugsFromAPipe(t, r, slugs[0], slugs[1])
}

// stopTakesSlugsFromAPipe is of a home with one bottle more than these two.
func stopTakesSlugsFromAPipe(t *testing.T, r *rig.Rig, one, two string) {
	t.Helper()
	cmd := r.Command(t.Context(), "bottle-stop", "-", one)
	cmd.Stdin = strings.NewReader(two + "\trunning\n\n{\"slug\":\"" + one + "\"}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if all := r.Bottles(); len(all) != 1 {
		t.Errorf("left are %+v", all)
	}
	if _, said, code := r.Run("bottle-stop", r.Bottles()[0].Slug, "nobody-aaaa"); code != 3 {
		t.Errorf("one that does not exist: %d: %s", code, said)
	}
	if all := r.Bottles(); len(all) != 1 {
		t.Error("a stop that named a bottle that does not exist stopped another")
	}
	if out, said, code := r.Run("bottle-stop", "--all"); code != 0 {
		t.Errorf("--all ended with %d: %s%s", code, out, said)
	}
	wantNothing(t, r)
}

func TestTasksComeFromAPipeAndOneThatFailsIsThatOnesError(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	r.Agent("bad")
	r.Write("agents/bad.Dockerfile", "FROM bottle\nRUN echo it is broken; false\n")
	cmd := r.Command(t.Context(), "bottle-start", "--yes", "--detach", "--workspace", "none", "-")
	cmd.Stdin = strings.NewReader("dev\techo first > /work/task\nbad\n{\"agent\":\"dev\",\"task\":\"echo second > /work/task\"}\n")
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 7 || !strings.Contains(said.String(), "bottle-start: 1 of 3 were not started\n") ||
		!strings.Contains(said.String(), "bottle-start: bad (2 of 3): ") || !strings.Contains(said.String(), "it is broken") {
		t.Errorf("ended with %d: %s", code, said.String())
	}
	for i, slug := range slugsOf(t, out.String(), "dev", "dev") {
		want := []string{"first\n", "second\n"}[i]
		got, said, _ := r.Inside(slug, "sh", "-c", "until [ -s /work/task ]; do sleep 0.1; done; cat /work/task")
		if got != want {
			t.Errorf("%s did %q: %s", slug, got, said)
		}
	}
	if all := r.Bottles(); len(all) != 2 {
		t.Errorf("listed as %+v", all)
	}
}

// What another bottle's credentials have aged meanwhile comes last: a command may
// take a minute, or ask.
func TestSeveralAreStartedBeforeWhatIsDueIsRenewed(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	token := filepath.Join(r.Dir, "token")
	if err := os.WriteFile(token, []byte("value-of-the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Write("bottles/old.md", "---\negress:\n  routes:\n    - {host: keyed.test, auth: {scheme: Bearer, token_ref: 'cmd:cat "+token+"', refresh: 45m}}\n---\n")
	r.Write("agents/old.md", "---\nbottle: old\nprogram: shell\n---\n")
	old := r.Start("old", "--workspace", "none")
	applied := filepath.Join(r.Home, "state", old, "egress", "out", "applied.json")
	var said map[string]any
	if err := json.Unmarshal([]byte(readFile(t, applied)), &said); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	due := said["due"].(map[string]any)
	for name := range due {
		due[name] = past
	}
	said["renew_at"] = past
	data, err := json.Marshal(said)
	if err == nil {
		err = os.WriteFile(applied, data, 0o600)
	}
	if err == nil {
		err = os.Remove(token)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := r.Command(t.Context(), "bottle-start", "--yes", "--detach", "--workspace", "none", "dev", "dev")
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "dev-") || !strings.HasPrefix(lines[1], "dev-") || !strings.Contains(lines[2], "a credential of "+old+" could not be renewed") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOneUnknownAgentAmongSeveralStartsNone(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	asked := filepath.Join(r.Dir, "asked")
	r.Write("bottles/dev.md", "---\nenv:\n  KEY: {from: \"cmd:sh -c 'echo asked > "+asked+"; echo value-of-the-key'\"}\n---\n")
	out, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev", "nonsuch")
	if code != 3 || out != "" || !strings.Contains(said, "nonsuch") {
		t.Errorf("ended with %d: %s%s", code, out, said)
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("the operator was asked for a secret of the others")
	}
	wantNothing(t, r)
}

func TestAnInterruptLeavesWhatIsUpAndNothingElse(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	cmd := r.Command(t.Context(), "bottle-start", append([]string{"--yes", "--detach", "--workspace", "none"}, slices.Repeat([]string{"dev"}, 12)...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var up []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if up = append(up, lines.Text()); len(up) == 1 {
			cmd.Process.Signal(syscall.SIGINT)
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || len(up) == 12 {
		t.Errorf("ended with %d, %d are up", code, len(up))
	}
	var listed []string
	for _, b := range r.Bottles() {
		listed = append(listed, b.Slug)
		if b.Status != bottle.Running {
			t.Errorf("%s is %s", b.Slug, b.Status)
		}
	}
	slices.Sort(up)
	slices.Sort(listed)
	if !slices.Equal(up, listed) {
		t.Errorf("printed are %v, listed %v", up, listed)
	}
	if _, said, code := r.Run("bottle-stop", "--all"); code != 0 {
		t.Errorf("bottle-stop --all ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

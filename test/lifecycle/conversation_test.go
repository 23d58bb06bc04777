package lifecycle

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// conversation is a bottle with the real Claude Code, whose model follows a
// script.
type conversation struct {
	t    *testing.T
	r    *rig.Rig
	u    *rig.Upstream
	slug string
}

func converse(t *testing.T, script []rig.Line, flags ...string) *conversation {
	t.Helper()
	return converseAs(t, "", script, flags...)
}

// converseAs is converse with more settings of the agent.
func converseAs(t *testing.T, settings string, script []rig.Line, flags ...string) *conversation {
	t.Helper()
	rig.NeedClaude(t)
	c := &conversation{t: t, r: rig.New(t)}
	c.u = c.r.Upstream(rig.ClaudeHost)
	c.u.Script(script...)
	c.r.Write("bottles/dev.md", "---\nenv:\n  CLAUDE_CODE_MAX_RETRIES: 8\negress:\n  routes:\n"+rig.ClaudeRoute+"---\n")
	c.r.Write("agents/dev.md", "---\nbottle: dev\nprogram: claude\n"+settings+"---\nBe brief, 'quote' \"this\".\n")
	c.r.Env = []string{rig.ClaudeEnv}
	c.slug = c.r.Start("dev", flags...)
	c.u.Join(c.slug)
	return c
}

func (c *conversation) shows(texts ...string) string {
	c.t.Helper()
	return c.r.AwaitScreen(c.slug, texts...)
}

func (c *conversation) send(text string) {
	c.t.Helper()
	if _, said, code := c.r.Run("bottle-attach", "--send", c.slug, text); code != 0 {
		c.t.Fatalf("--send ended with %d: %s", code, said)
	}
}

func (c *conversation) activity() string { return string(c.r.Bottles()[0].Activity) }

// workedAt is what a model's answer waits for that a turn is watched for.
const workedAt = "worked-at"

// turn sends a text, and waits until bottle-ls --watch has told that it is worked at,
// and then that the agent waits again. The answer is held until then: a busy machine
// may tell of the last of two changes alone.
func (c *conversation) turn(text string) {
	c.t.Helper()
	ctx, cancel := rig.Patient(c.t)
	defer cancel()
	lines, end := c.r.Watch(ctx)
	defer end()
	var told []string
	next := func(wanted string) {
		for {
			var b struct{ Activity string }
			if err := lines.Decode(&b); err != nil {
				screen, _, _ := c.r.Run("bottle-attach", "--peek", c.slug)
				log, _, _ := c.r.Run("bottle-log", "-o", "text", c.slug)
				c.t.Fatalf("after %v, not %s: %v\nthe screen:\n%s\nthe end of the log:\n%s", told, wanted, err, screen, log[max(0, len(log)-3000):])
			}
			if told = append(told, b.Activity); b.Activity == wanted || wanted == "" {
				return
			}
		}
	}
	next("") // as it is before
	c.send(text)
	next("working")
	c.u.Release(workedAt)
	next("waiting")
}

// The real Claude Code does a task, and goes on with it after its end.
func TestClaudeCodeWorksIsRefusedAndContinues(t *testing.T) {
	t.Parallel()
	c := converse(t, []rig.Line{
		{Last: "the third task", History: "second answer", Say: "third answer, knowing the second"},
		{Last: "the second task", History: "the first task", Say: "second answer, knowing the first", After: workedAt},
		{Last: "the second task", Say: "second answer, knowing nothing"},
		{Last: "refused-with", Say: "all done, and one host was refused"},
		rig.Bash("committed-it", "curl -sS https://refused.example/ 2>&1; echo refused-with $?"),
		rig.Bash("the first task", "git init -q . && git config user.email a@b.c && git config user.name a && git commit -q --allow-empty -m 'by the agent' && echo committed-it"),
		{Say: "what else"},
	}, "--task", "do the first task, \"quoted\" and 'so'")
	screen := c.shows("all done, and one host was refused", "bypass permissions on")
	noDialog(t, screen)
	if out, _, _ := c.r.Inside(c.slug, "git", "-C", "/work", "log", "--format=%s"); strings.TrimSpace(out) != "by the agent" {
		t.Errorf("the work: %q", out)
	}
	if denied, _, _ := c.r.Run("bottle-log", "--denied", "-o", "text", c.slug); !strings.Contains(denied, "refused.example") {
		t.Errorf("what was refused: %s", denied)
	}
	transcript, _, _ := c.r.Inside(c.slug, "sh", "-c", "cat ~/.claude/projects/*/*.jsonl")
	if !strings.Contains(transcript, "refused.example is not on this bottle's allowlist") || !strings.Contains(transcript, `do the first task, \"quoted\" and 'so'`) {
		t.Errorf("it did not read why, or was not given its task: %.3000s", transcript)
	}
	c.neverHadTheKey()

	// It ends, and the next one goes on.
	c.send("/exit")
	c.r.AwaitActivity("exited")
	c.reopen()
	c.shows("all done, and one host was refused", "bypass permissions on")
	c.turn("the second task")
	c.shows("second answer, knowing the first")

	// It is stopped and brought back, and goes on again.
	if _, said, code := c.r.Run("bottle-stop", "--keep", c.slug); code != 0 {
		t.Fatalf("bottle-stop --keep ended with %d: %s", code, said)
	}
	if a := c.activity(); a != "" {
		t.Errorf("an agent that was stopped is %s", a)
	}
	if _, said, code := c.r.Run("bottle-start", "--resume", c.slug, "--detach"); code != 0 {
		t.Fatalf("bottle-start --resume ended with %d: %s", code, said)
	}
	c.shows("second answer, knowing the first", "bypass permissions on")
	c.send("the third task")
	c.shows("third answer, knowing the second")

	// What was said is in the history.
	if _, said, code := c.r.Run("bottle-stop", c.slug); code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s", code, said)
	}
	for name, texts := range map[string][]string{
		"transcript.md":      {`do the first task, "quoted" and 'so'`, "all done, and one host was refused", "third answer, knowing the second", "git commit -q"},
		"conversation.jsonl": {`do the first task, \"quoted\" and 'so'`, `"sessionId"`},
	} {
		content, err := os.ReadFile(filepath.Join(c.r.Home, "history", c.slug, name))
		if err != nil {
			t.Error(err)
		}
		for _, text := range texts {
			if !strings.Contains(string(content), text) {
				t.Errorf("no %q in %s:\n%.3000s", text, name, content)
			}
		}
	}
	for _, e := range c.u.Heard("/v1/messages") {
		if all := strings.Join(e.Header, "\n"); strings.Count(all, rig.OperatorsKey) != 1 {
			t.Errorf("the model's host got %s", all)
		}
	}
}

// Under remote control Claude Code may talk to more than its model. Without a login
// that it could be driven by, which no test has, it goes on all the same.
func TestClaudeCodeUnderRemoteControlWorks(t *testing.T) {
	t.Parallel()
	c := converse(t, []rig.Line{{Last: "the remote task", Say: "answered under remote control"}, {Say: "what else"}},
		"--remote-control", "--task", "do the remote task")
	screen := c.shows("answered under remote control", "bypass permissions on")
	noDialog(t, screen)
	if len(c.u.Heard("/api/claude_code/settings")) == 0 {
		t.Error("it talks to its model alone: the test shows nothing of remote control")
	}
}

// Its other traffic is on then, so it asks for hosts that are no route: these are
// refused, and it goes on without.
func TestWhatClaudeCodeAsksForUnderRemoteControlIsJudged(t *testing.T) {
	t.Parallel()
	c := converseAs(t, "remote_control: true\n", []rig.Line{{Last: "the remote task", Say: "answered under remote control"}, {Say: "what else"}},
		"--task", "do the remote task")
	noDialog(t, c.shows("answered under remote control", "bypass permissions on"))
	if said, _, _ := c.r.Inside(c.slug, "env"); strings.Contains(said, "NONESSENTIAL_TRAFFIC") || !strings.Contains(said, "DISABLE_TELEMETRY=1\n") {
		t.Errorf("its environment: %s", said)
	}
	ctx, cancel := rig.Patient(t)
	defer cancel()
	cmd := c.r.Command(ctx, "bottle-log", "-f", c.slug)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	events := json.NewDecoder(out)
	for own, others := 0, 0; own == 0 || others == 0; {
		var e bottle.Event
		if err := events.Decode(&e); err != nil {
			t.Fatalf("it asked its own host for %d things besides the model, and other hosts for %d: %v", own, others, err)
		}
		want := "deny"
		switch {
		case e.Kind != "request":
			continue
		case e.Host != rig.ClaudeHost:
			others++
		case e.Path != "/v1/messages":
			own++
			fallthrough
		default:
			want = "allow"
		}
		if e.Verdict != want {
			t.Errorf("%s https://%s%s: %s, not %s: %s", e.Method, e.Host, e.Path, e.Verdict, want, e.Reason)
		}
	}
}

// neverHadTheKey searches environment and files of the agent.
func (c *conversation) neverHadTheKey() {
	c.t.Helper()
	// The pattern comes on standard input: in a command line it would find itself.
	cmd := c.r.Command(c.t.Context(), "bottle-attach", c.slug, "--", "sh", "-c",
		"cat >/tmp/pattern; for at in /proc/[0-9]*/environ /proc/[0-9]*/cmdline /home /work /etc /var /tmp/[!p]*; do grep -l -a -r -s -F -f /tmp/pattern $at; done; echo searched; rm /tmp/pattern")
	cmd.Stdin = strings.NewReader(rig.OperatorsKey)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "searched\n" {
		c.t.Errorf("the key is in %s, %v", out, err)
	}
	cmd = c.r.Command(c.t.Context(), "bottle-attach", c.slug, "--", "sh", "-c", "cat >/tmp/pattern; grep -l -a -r -s -F -f /tmp/pattern /home; rm /tmp/pattern")
	cmd.Stdin = strings.NewReader("do the first task")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ".jsonl") {
		c.t.Errorf("the search finds nothing: %s, %v", out, err)
	}
}

// reopen has a viewer in a tmux of the operator's start the session that goes on,
// and leaves it.
func (c *conversation) reopen() {
	c.t.Helper()
	ctx, cancel := rig.Patient(c.t)
	defer cancel()
	socket := filepath.Join(c.t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		out, _ := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).Output()
		return string(out)
	}
	view := c.r.Command(c.t.Context(), "tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "-s", "view", "-x", "120", "-y", "40",
		filepath.Join(c.r.Bin, "bottle-attach"), c.slug)
	view.Path, _ = exec.LookPath("tmux")
	if out, err := view.CombinedOutput(); err != nil {
		c.t.Fatalf("tmux: %v: %s", err, out)
	}
	c.t.Cleanup(func() { tmux("kill-server") })
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	await := func(what string, there func() bool) {
		for !there() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				c.t.Fatalf("in tmux, %s:\n%s", what, tmux("capture-pane", "-p", "-t", "view"))
			}
		}
	}
	await("it does not come to its prompt", func() bool {
		return strings.Contains(tmux("capture-pane", "-p", "-t", "view"), "bypass permissions on")
	})
	noDialog(c.t, tmux("capture-pane", "-p", "-t", "view"))
	tmux("send-keys", "-t", "view", "C-q", "C-q")
	await("the view does not end", func() bool { return tmux("list-sessions") == "" })
}

func noDialog(t *testing.T, screen string) {
	t.Helper()
	for _, dialog := range []string{"Do you trust", "Yes, I accept", "Choose the text style", "Detected a custom API key", "Remote managed settings"} {
		if strings.Contains(screen, dialog) {
			t.Errorf("a dialog, or a complaint, is on its screen:\n%s", screen)
		}
	}
}

package decide

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

const asksForA = `{"host":"docs.example","path_allowlist":["/a","/slow"],"justification":"to read its pages"}`

func TestAnAgentAsksAndItsOperatorGrants(t *testing.T) {
	t.Parallel()
	r, _, slug := docs(t)
	r.Equip(slug)
	if got := status(t, r, slug, "https://docs.example/a"); got != "403" {
		t.Fatalf("before: %s", got)
	}
	c := r.Ask(slug, "egress-block", asksForA)
	id := c.Waits()
	// What egress refused stands beside it, without anybody having asked.
	r.AwaitProposal("egress-denied", "docs.example")
	listed, _, _ := r.Run("bottle-ls", "proposals")
	if !strings.Contains(listed, `"id":"`+id+`"`) || !strings.Contains(listed, "to read its pages") {
		t.Fatalf("bottle-ls: %s", listed)
	}
	out, said, code := r.Shell("bottle-ls proposals | jq -r .id | bottle-approve --for 30s -")
	if code != 0 {
		t.Fatalf("bottle-approve ended with %d: %s%s", code, out, said)
	}
	cut := stream(t, r, slug, "https://docs.example/slow")
	if answer := c.Until("answer "); !strings.Contains(answer, "approved") || !strings.Contains(answer, "docs.example /a /slow") || !strings.Contains(answer, "Until: ") {
		t.Errorf("the agent was told %q", answer)
	}
	if got := status(t, r, slug, "https://docs.example/a"); got != "200" {
		t.Errorf("granted: %s", got)
	}
	cut()
	if got := status(t, r, slug, "https://docs.example/a"); got != "403" {
		t.Errorf("after its end: %s", got)
	}
	if said, _, code := r.Run("bottle-log", "--verify"); code != 0 {
		t.Errorf("the chain: %s", said)
	}
}

func TestSuperviseComesBackWithItsQueue(t *testing.T) {
	t.Parallel()
	r, _, slug := docs(t)
	r.Equip(slug)
	c := r.Ask(slug, "egress-block", asksForA)
	id := c.Waits()
	r.Docker("kill", "bottle-"+slug+"-supervise-1")
	if all := r.Bottles(); all[0].Status != "degraded" || !strings.Contains(all[0].Reason, "supervise") {
		t.Errorf("listed as %s: %s", all[0].Status, all[0].Reason)
	}
	r.Revive(slug, "supervise")
	c = r.Ask(slug, "egress-block", asksForA)
	if again := c.Waits(); again != id {
		t.Errorf("%q, and before %q", again, id)
	}
	if _, said, code := r.Run("bottle-approve", "--reject", "--reason", "use the mirror", id); code != 0 {
		t.Errorf("bottle-approve ended with %d: %s", code, said)
	}
	if answer := c.Until("answer "); !strings.Contains(answer, "said no") || !strings.Contains(answer, "use the mirror") {
		t.Errorf("the agent was told %q", answer)
	}
	mustSay(t, r, slug, "docs.example", rig.AskerBin, rig.SuperviseURL, "list-egress-routes", "{}")
	for _, host := range []string{"evil.example", "supervise", "localhost:8090"} {
		mustSay(t, r, slug, "403", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: "+host, rig.SuperviseURL)
	}
	mustSay(t, r, slug, "403", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Origin: http://evil.example", rig.SuperviseURL)
	mustSay(t, r, slug, "FROM bottle", "cat", "/etc/bottle/current-config/Dockerfile")
	mustSay(t, r, slug, "cannot create", "sh", "-c", "echo x >>/etc/bottle/current-config/Dockerfile; touch /etc/bottle/walls.md")
	mustSay(t, r, slug, "egress-block", "cat", "/etc/bottle/walls.md")
	r.Docker("kill", "bottle-"+slug+"-egress-1")
	mustSay(t, r, slug, "error egress cannot be reached", rig.AskerBin, rig.SuperviseURL, "list-egress-routes", "{}")
	r.Run("bottle-stop", slug)
	log, err := os.ReadFile(filepath.Join(r.Home, "history", slug, "supervise-events.jsonl"))
	if err != nil || !strings.Contains(string(log), `"kind":"ask"`) || !strings.Contains(string(log), id) {
		t.Errorf("its events after the stop: %s, %v", log, err)
	}
}

// mustSay runs a command in the bottle, which must say something.
func mustSay(t *testing.T, r *rig.Rig, slug, want string, argv ...string) {
	t.Helper()
	if out, said, code := r.Inside(slug, argv...); !strings.Contains(out+said, want) {
		t.Errorf("%q ended with %d and said %q, not %q", argv, code, out+said, want)
	}
}

// The real Claude Code finds the server without a prompt, and its call waits for
// the operator.
func TestClaudeCodeAsksAndItsOperatorGrants(t *testing.T) {
	t.Parallel()
	rig.NeedClaude(t)
	r := rig.New(t)
	u := r.Upstream(rig.ClaudeHost, "docs.example")
	u.Script(
		rig.Line{Last: "said no", Say: "it was refused"},
		rig.Line{Last: "approved it", Say: "it was approved"},
		rig.Line{Last: "look it up", Tool: "mcp__supervise__egress-block", Input: rig.Decode[map[string]any](t, asksForA)},
	)
	r.Write("bottles/dev.md", "---\nenv:\n  CLAUDE_CODE_MAX_RETRIES: 0\negress:\n  routes:\n"+rig.ClaudeRoute+
		"    - {host: docs.example, path_allowlist: [/known], private: true}\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: claude\n---\n")
	r.Env = []string{rig.ClaudeEnv}
	slug := r.Start("dev")
	u.Join(slug)
	cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "timeout", "600", "claude", "-p", "--dangerously-skip-permissions", "look it up")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.AwaitProposal("egress-block", "")
	if out, said, code := r.Shell(`bottle-ls proposals | jq -r 'select(.kind=="egress-block").id' | bottle-approve --for 10m -`); code != 0 {
		t.Fatalf("bottle-approve ended with %d: %s%s", code, out, said)
	}
	if err := <-ended; err != nil || !strings.Contains(out.String(), "it was approved") {
		t.Errorf("claude said %q, %v", out.String(), err)
	}
	if got := status(t, r, slug, "https://docs.example/a"); got != "200" {
		t.Errorf("granted: %s", got)
	}
}

func TestAnAgentGetsTheImageThatItAskedFor(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	r.Equip(slug)
	capability := func(text string) rig.Call {
		arguments, err := json.Marshal(map[string]string{"dockerfile": text, "justification": "a tool"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Ask(slug, "capability-block", string(arguments))
	}
	const head = "FROM bottle\n"
	c := capability(head + "RUN echo no such tool >&2; exit 3\n")
	c.Waits()
	if out, said, code := r.Shell("bottle-ls proposals | bottle-approve -"); code == 0 {
		t.Errorf("a build that fails ended with %d: %s%s", code, out, said)
	}
	if answer := c.Until("answer "); !strings.Contains(answer, "line 2") {
		t.Errorf("the agent was told %q", answer)
	}
	mustSay(t, r, slug, "FROM bottle", "cat", "/etc/bottle/current-config/Dockerfile")
	r.Inside(slug, "sh", "-c", "echo kept >/work/kept")

	c = capability(head + "RUN id -u >/usr/local/made && apt-get --version\nCOPY <<EOF /usr/local/bin/tool\n#!/bin/sh\necho a tool\nEOF\nRUN chmod 755 /usr/local/bin/tool\n")
	c.Waits()
	if out, said, code := r.Shell("bottle-ls proposals | bottle-approve -"); code != 0 {
		t.Errorf("bottle-approve ended with %d: %s%s", code, out, said)
	}
	if answer := c.Until("answer "); !strings.Contains(answer, "approved") {
		t.Errorf("the agent was told %q", answer)
	}
	mustSay(t, r, slug, "a tool", "tool")
	mustSay(t, r, slug, "kept", "cat", "/work/kept")
	mustSay(t, r, slug, "RUN id -u", "cat", "/etc/bottle/current-config/Dockerfile")
	if all := r.Bottles(); len(all) != 1 || all[0].Status != "running" {
		t.Errorf("listed as %+v", all)
	}
	if _, err := os.Stat(filepath.Join(r.Home, "state", slug, ".preserve")); err == nil {
		t.Error(".preserve is still there")
	}
}

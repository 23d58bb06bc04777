package gate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/test/rig"
)

// A whole day of the real Claude Code, whose model follows a script: it is given
// a task, pushes its work, is refused a host and asks for it, has a secret held
// back and mends it, is stopped, and its operator has what it pushed.
func TestAWholeDayOfClaudeCode(t *testing.T) {
	t.Parallel()
	rig.NeedClaude(t)
	r := rig.New(t)
	u := r.Upstream(rig.ClaudeHost, "docs.example")
	// The model's own words go through egress, which lets no secret pass.
	secret := "printf 'token = ghp_%s\\n' " + strings.TrimPrefix(token, "ghp_")
	u.Script( // the last step first
		rig.Line{Last: "mended-it", Say: "the day is done"},
		rig.Bash("config.txt:1 in ", "printf 'token = $TOKEN\\n' > config.txt && git commit -qa --amend --no-edit && git push -q origin trunk && echo mended-it"),
		rig.Bash("reached-it", secret+" > config.txt && git add . && git commit -qm 'with the configuration' && git push origin trunk"),
		rig.Bash("approved it", "curl -fsS https://docs.example/a > docs.txt && git add . && git commit -qm 'with what the pages say' && echo reached-it"),
		rig.Line{Last: "is not on this bottle's allowlist", Tool: "mcp__supervise__egress-block", Input: map[string]any{"host": "docs.example", "path_allowlist": []string{"/a"}, "justification": "to read its pages"}},
		rig.Bash("pushed-it", "curl -sS https://docs.example/a"),
		rig.Bash("the task of the day", "echo done > work.txt && git add . && git commit -qm 'by the agent' && git push -q origin trunk && echo pushed-it"),
		rig.Line{Say: "what else"},
	)
	r.GitFolder()
	r.Env = []string{rig.ClaudeEnv}
	s, _ := begin(t, r, "claude", "env:\n  CLAUDE_CODE_MAX_RETRIES: 8\negress:\n  routes:\n"+rig.ClaudeRoute+
		"    - {host: docs.example, path_allowlist: [/known], private: true}\n", "--task", "do the task of the day")
	u.Join(s.slug)

	r.AwaitProposal("egress-block", "")
	pushed := s.must("git ls-remote origin refs/heads/trunk")
	if out, said, code := r.Shell(`bottle-ls proposals | jq -c 'select(.kind=="egress-block")' | bottle-approve --for 10m -`); code != 0 {
		t.Fatalf("bottle-approve ended with %d: %s%s", code, out, said)
	}
	u.AwaitSaid(s.slug, "the day is done")
	r.AwaitScreen(s.slug, "the day is done")
	id := s.must("git rev-parse HEAD")
	if first := s.must("git rev-parse HEAD~2"); pushed != first+"\trefs/heads/trunk" {
		t.Errorf("when it asked it had pushed %q, not %s", pushed, first)
	}
	if len(u.Heard("docs.example\n/a")) != 1 {
		t.Errorf("the host heard %+v", u.Heard("docs.example"))
	}
	if held := s.proposals(); !slices.ContainsFunc(held, func(w waiting) bool { return strings.HasPrefix(w.ID, "git-push-") }) {
		t.Errorf("the operator is not told of the secret: %+v", held)
	}

	_, said, code := r.Run("bottle-stop", s.slug)
	lines := fetchLine.FindAllStringSubmatch(said, -1)
	if code != 0 || len(lines) != 2 {
		t.Fatalf("bottle-stop ended with %d: %s", code, said)
	}
	s.clone()
	if got := s.fetched(lines[1][1]); got != id {
		t.Errorf("what it pushed ends with %s, not %s", got, id)
	}
	if got := s.Git("log", "--format=%s", "HEAD.."+id); got != "with the configuration\nwith what the pages say\nby the agent" {
		t.Errorf("it pushed %q", got)
	}
	if got := s.Git("log", "-p", "--all"); strings.Contains(got, token) || !strings.Contains(got, "+token = $TOKEN") {
		t.Errorf("the operator has %s", got)
	}
	if got := s.fetched(lines[0][1]); got != id {
		t.Errorf("its work ends with %s, not %s", got, id)
	}

	// All of it is on record, the secret nowhere but with who wrote it.
	log, _, _ := r.Run("bottle-log", s.slug)
	audit, err := os.ReadFile(filepath.Join(r.Home, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"verdict":"deny"`, `"kind":"ask"`, `"kind":"push","verdict":"held"`, `"asked":"egress-block"`} {
		if !strings.Contains(log+string(audit), want) {
			t.Errorf("no %s in %s%s", want, log, audit)
		}
	}
	if strings.Contains(log+string(audit), token) {
		t.Errorf("the secret is on record: %s%s", log, audit)
	}
	transcript, err := os.ReadFile(filepath.Join(r.Home, "history", s.slug, "transcript.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"config.txt:1 in ", ": github-pat", "held for the operator as git-push-", "/a of docs.example is not on this bottle's allowlist"} {
		if !strings.Contains(string(transcript), want) {
			t.Errorf("the agent was not told %q: %s", want, transcript)
		}
	}
	if strings.Contains(string(transcript), token) {
		t.Error("the agent was told the secret")
	}
}

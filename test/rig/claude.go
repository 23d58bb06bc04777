package rig

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The real Claude Code, whose model follows a script.

// NeedClaude skips the test where no Claude Code can be had.
func NeedClaude(t testing.TB) {
	t.Helper()
	NeedNpm(t, "@anthropic-ai/claude-code")
}

// NeedNpm skips the test where a package cannot be had. The suites that
// test/engines runs have no network, and an engine with its image.
func NeedNpm(t testing.TB, name string) {
	t.Helper()
	if os.Getenv(engineRoot) != "" {
		return
	}
	if err := exec.CommandContext(t.Context(), "npm", "view", name, "version").Run(); err != nil {
		t.Skipf("npm cannot be reached: no %s to try", name)
	}
}

// OperatorsKey is the model's, which the agent must never hold. ClaudeEnv has it
// for the programs, ClaudeRoute is where a manifest's egress injects it.
const (
	OperatorsKey = "sk-ant-the-operators-own-0123456789"
	ClaudeEnv    = "OPERATORS_KEY=" + OperatorsKey
	ClaudeHost   = "api.anthropic.com"
	ClaudeRoute  = "    - {host: " + ClaudeHost + ", private: true, auth: {header: x-api-key, token_ref: OPERATORS_KEY}}\n"
)

// Line is one line of the script (test/upstream). A tool is called with Input, or
// with Text where it takes no more than that.
type Line struct {
	Last    string         `json:"last,omitempty"`
	History string         `json:"history,omitempty"`
	Say     string         `json:"say,omitempty"`
	Tool    string         `json:"tool,omitempty"`
	Input   map[string]any `json:"input,omitempty"`
	Text    string         `json:"text,omitempty"`
}

// Bash is the line that has the agent run a command.
func Bash(last, command string) Line {
	return Line{Last: last, Tool: "Bash", Input: map[string]any{"command": command, "description": "as the script says"}}
}

// Script has the models of this internet answer so, by whichever API they are asked.
func (u *Upstream) Script(lines ...Line) {
	u.r.t.Helper()
	text, err := json.Marshal(lines)
	if err == nil {
		err = os.WriteFile(filepath.Join(u.Files(), "messages.json"), text, 0o600)
	}
	if err == nil { // an empty one: 404 for what is asked there of a company
		err = os.MkdirAll(filepath.Join(u.Files(), "api/claude_code"), 0o755)
	}
	if err != nil {
		u.r.t.Fatal(err)
	}
	u.r.t.Cleanup(func() {
		if u.r.t.Failed() {
			u.r.t.Logf("the model was asked: %+v", u.Heard(" messages: "))
		}
	})
}

// AwaitScreen waits until the agent's screen has all of these texts, and returns it.
func (r *Rig) AwaitScreen(ctx context.Context, slug string, texts ...string) string {
	r.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		screen, _, _ := r.Run("bottle-attach", "--peek", slug)
		missing := ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		if missing == "" {
			return screen
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("no %q on the screen:\n%s", missing, screen)
		}
	}
}

// AwaitProposal waits until one of this kind is listed.
func (r *Rig) AwaitProposal(ctx context.Context, kind string) {
	r.t.Helper()
	lines, end := r.Watch(ctx, "proposals")
	defer end()
	for {
		var p struct{ Kind string }
		if err := lines.Decode(&p); err != nil {
			r.t.Fatalf("no %s came: %v", kind, err)
		}
		if p.Kind == kind {
			return
		}
	}
}

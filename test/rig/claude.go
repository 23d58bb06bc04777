package rig

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/pkg/bottle"
)

// The real Claude Code, whose model follows a script.

// NeedClaude skips the test where no Claude Code can be had.
func NeedClaude(t testing.TB) {
	t.Helper()
	NeedNpm(t, "@anthropic-ai/claude-code")
}

// npmHas are answers of npm's, by package: func() error.
var npmHas sync.Map

// NeedNpm skips the test where a package cannot be had. The suites that
// test/engines runs have no network, and an engine with its image.
func NeedNpm(t testing.TB, name string) {
	t.Helper()
	if os.Getenv(engineRoot) != "" {
		return
	}
	ask, _ := npmHas.LoadOrStore(name, sync.OnceValue(func() error { return exec.Command("npm", "view", name, "version").Run() }))
	if ask.(func() error)() != nil {
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
// with Text where it takes no more than that. It is said at once, or After Release
// was called with that name.
type Line struct {
	Last    string         `json:"last,omitempty"`
	History string         `json:"history,omitempty"`
	Say     string         `json:"say,omitempty"`
	Tool    string         `json:"tool,omitempty"`
	Input   map[string]any `json:"input,omitempty"`
	Text    string         `json:"text,omitempty"`
	After   string         `json:"after,omitempty"`
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
			u.r.t.Logf("the model was asked: %+v", u.Heard(modelSaid))
		}
	})
}

// Release has the models say what waits for this name.
func (u *Upstream) Release(name string) {
	u.r.t.Helper()
	if err := os.WriteFile(filepath.Join(u.Files(), name), nil, 0o600); err != nil {
		u.r.t.Fatal(err)
	}
}

// Patience bounds one wait for what a busy machine may need long for, such as a
// real agent's next step.
const Patience = 5 * time.Minute

// Patient is the test's context, for one such wait.
func Patient(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), Patience)
}

// AwaitSaid waits until a model of this internet has said the text.
func (u *Upstream) AwaitSaid(slug, text string) {
	u.r.t.Helper()
	ctx, cancel := Patient(u.r.t)
	defer cancel()
	if _, err := u.Await(ctx, modelSaid+text); err != nil {
		screen, _, _ := u.r.Run("bottle-attach", "--peek", slug)
		u.r.t.Fatalf("the model did not come to say %q: %v\nit was last asked: %s\nthe screen:\n%s", text, err, u.lastAsked(), screen)
	}
}

// modelSaid is in what is told of a model, before what it answers.
const modelSaid = " messages: "

func (u *Upstream) lastAsked() string {
	heard := u.Heard(modelSaid)
	if len(heard) == 0 {
		return "nothing"
	}
	last := heard[len(heard)-1]
	return last.Path + ", and answered " + last.Detail
}

// AwaitScreen waits until the agent's screen has all of these texts, and returns
// it. A screen tells nobody that it changes: it is looked at less and less often.
func (r *Rig) AwaitScreen(slug string, texts ...string) string {
	r.t.Helper()
	ctx, cancel := Patient(r.t)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(pause*3/2, 2*time.Second) {
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
		case <-time.After(pause):
		case <-ctx.Done():
			asked := ""
			if r.upstream != nil {
				asked = "\nthe model was last asked: " + r.upstream.lastAsked()
			}
			r.t.Fatalf("no %q on the screen:\n%s%s", missing, screen, asked)
		}
	}
}

// AwaitProposal waits until one of this kind, for this host or any where that is
// empty, is listed, and returns its id.
func (r *Rig) AwaitProposal(kind, host string) string {
	r.t.Helper()
	ctx, cancel := Patient(r.t)
	defer cancel()
	lines, end := r.Watch(ctx, "proposals")
	defer end()
	for {
		var p struct {
			ID, Kind string
			Proposed struct{ Host string }
		}
		if err := lines.Decode(&p); err != nil {
			r.t.Fatalf("no %s for %q came: %v", kind, host, err)
		}
		if p.Kind == kind && (host == "" || p.Proposed.Host == host) {
			return p.ID
		}
	}
}

// AwaitActivity waits until the agent of the home's one bottle is told to do this.
func (r *Rig) AwaitActivity(activity string) {
	r.t.Helper()
	r.AwaitBottle("its agent is "+activity, func(b bottle.Bottle) bool { return string(b.Activity) == activity })
}

// AwaitBottle waits until bottle-ls --watch tells of a bottle that is as it is wanted.
func (r *Rig) AwaitBottle(what string, is func(bottle.Bottle) bool) {
	r.t.Helper()
	ctx, cancel := Patient(r.t)
	defer cancel()
	lines, end := r.Watch(ctx)
	defer end()
	for {
		var b bottle.Bottle
		if err := lines.Decode(&b); err != nil {
			r.t.Fatalf("it was not told that %s: %v", what, err)
		}
		if is(b) {
			return
		}
	}
}

// AwaitEvents waits until bottle-log tells of n events of a bottle that are as they
// are wanted, and returns them. What is allowed, or broken off, is told of behind its
// answer.
func (r *Rig) AwaitEvents(slug, what string, n int, is func(bottle.Event) bool) []bottle.Event {
	r.t.Helper()
	ctx, cancel := Patient(r.t)
	defer cancel()
	lines, end := r.lines(ctx, "bottle-log", "-f", slug)
	defer end()
	var told []bottle.Event
	for len(told) < n {
		var e bottle.Event
		if err := lines.Decode(&e); err != nil {
			r.t.Fatalf("of %d events that %s, the log tells of %+v: %v", n, what, told, err)
		}
		if is(e) {
			told = append(told, e)
		}
	}
	return told
}

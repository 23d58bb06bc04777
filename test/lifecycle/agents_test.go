package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// other is a coding agent besides Claude Code, and how a script has its model run a
// command, and ask what is open.
type other struct {
	program, host, auth, asked string
	pkg                        string
	env                        string // in its bottle
	run                        func(last, command string) rig.Line
	ask                        rig.Line
	loads                      bool   // it tells when a conversation has been loaded: before that it takes no text
	vain                       string // what it asks for at its start, and does without
}

var others = []other{
	{program: "codex", pkg: "@openai/codex", host: "api.openai.com", auth: "{scheme: Bearer, token_ref: OPERATORS_KEY}", asked: "/v1/responses",
		env: "EDITOR: vi", vain: "https://raw.githubusercontent.com/openai/codex/main/announcement_tip.toml",
		run: func(last, command string) rig.Line {
			return rig.Line{Last: last, Tool: "exec_command", Input: map[string]any{"cmd": command, "login": false}}
		},
		ask: rig.Line{Tool: "exec", Text: "text(await tools.mcp__supervise__list_egress_routes({}))"}},
	{program: "gemini", pkg: "@google/gemini-cli", host: "generativelanguage.googleapis.com", auth: "{header: x-goog-api-key, token_ref: OPERATORS_KEY}",
		asked: ":streamGenerateContent", loads: true, env: "GEMINI_MODEL: gemini-2.5-flash", // which of its models to take it would ask a model
		run: func(last, command string) rig.Line {
			return rig.Line{Last: last, Tool: "run_shell_command", Input: map[string]any{"command": command, "description": "as the script says"}}
		},
		ask: rig.Line{Tool: "mcp_supervise_list-egress-routes", Input: map[string]any{}}},
	{program: "opencode", pkg: "opencode-ai", host: rig.ClaudeHost, auth: "{header: x-api-key, token_ref: OPERATORS_KEY}",
		asked: "/v1/messages", env: "EDITOR: vi",
		run: func(last, command string) rig.Line {
			return rig.Line{Last: last, Tool: "bash", Input: map[string]any{"command": command, "description": "as the script says"}}
		},
		ask: rig.Line{Tool: "supervise_list-egress-routes", Input: map[string]any{}}},
}

// Each of the other agents does a task in a bottle, with a key that it never has:
// no dialog, tools of its own and of the server by which it asks, and the
// conversation that goes on after its end.
func TestEveryOtherAgentWorksAsksAndContinues(t *testing.T) {
	t.Parallel()
	for _, o := range others {
		t.Run(o.program, func(t *testing.T) {
			t.Parallel()
			o.works(t)
		})
	}
}

func (o other) works(t *testing.T) {
	rig.NeedNpm(t, o.pkg)
	c := &conversation{t: t, r: rig.New(t)}
	c.u = c.r.Upstream(o.host)
	ask := o.ask
	ask.Last = "committed-it"
	c.u.Script(
		rig.Line{Last: "Generate a title", Say: "A title"},
		rig.Line{Last: "the second task", History: "the first task", Say: "second answer, knowing the first", After: workedAt},
		rig.Line{Last: "the second task", Say: "second answer, knowing nothing"},
		rig.Line{Last: o.host, Say: "all done, and the walls are known"},
		ask,
		o.run("the first task", "git init -q . && git config user.email a@b.c && git config user.name a && git commit -q --allow-empty -m 'by the agent' && echo committed-it"),
		rig.Line{Say: "what else"},
	)
	c.r.Write("bottles/dev.md", "---\nenv:\n  "+o.env+"\negress:\n  routes:\n    - {host: "+o.host+", private: true, auth: "+o.auth+"}\n---\n")
	c.r.Write("agents/dev.md", "---\nbottle: dev\nprogram: "+o.program+"\nskills: [review]\n---\nBe brief, 'quote' \"this\".\n")
	c.r.Write("skills/review/SKILL.md", "---\nname: review\ndescription: looks twice\n---\nLook twice.\n")
	c.r.Env = []string{rig.ClaudeEnv}
	c.slug = c.r.Start("dev", "--task", "do the first task, \"quoted\" and 'so'")
	c.u.Join(c.slug)
	c.u.AwaitSaid(c.slug, "all done, and the walls are known")
	c.shows("all done, and the walls are known")
	if out, _, _ := c.r.Inside(c.slug, "git", "-C", "/work", "log", "--format=%s"); strings.TrimSpace(out) != "by the agent" {
		t.Errorf("the work: %q", out)
	}
	c.r.AwaitActivity("waiting")
	c.neverHadTheKey()
	for _, e := range c.u.Heard(o.asked) {
		if all := strings.Join(e.Header, "\n"); strings.Count(all, rig.OperatorsKey) != 1 || strings.Contains(all, "placeholder") {
			t.Errorf("the model's host got %s", all)
		}
	}

	// What it asks for besides its model is known.
	denied, _, _ := c.r.Run("bottle-log", "--denied", "-o", "text", c.slug)
	for line := range strings.Lines(denied) {
		if o.vain == "" || !strings.Contains(line, o.vain) {
			t.Errorf("it asked for more than it may: %s", line)
		}
	}

	// It is stopped and brought back, and goes on.
	if _, said, code := c.r.Run("bottle-stop", "--keep", c.slug); code != 0 {
		t.Fatalf("bottle-stop --keep ended with %d: %s", code, said)
	}
	if _, said, code := c.r.Run("bottle-start", "--resume", c.slug, "--detach"); code != 0 {
		t.Fatalf("bottle-start --resume ended with %d: %s", code, said)
	}
	c.shows("all done, and the walls are known")
	if o.loads {
		c.r.AwaitActivity("waiting")
	}
	c.turn("the second task")
	c.shows("second answer, knowing the first")
	if _, said, code := c.r.Run("bottle-stop", c.slug); code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s", code, said)
	}
	transcript, err := os.ReadFile(filepath.Join(c.r.Home, "history", c.slug, "transcript.md"))
	for _, text := range []string{`do the first task, "quoted" and 'so'`, "git commit -q", "all done, and the walls are known", "second answer, knowing the first"} {
		if err != nil || !strings.Contains(string(transcript), text) {
			t.Errorf("no %q in the transcript: %v\n%.3000s", text, err, transcript)
		}
	}
}

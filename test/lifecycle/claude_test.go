package lifecycle

import (
	"strings"
	"testing"

	"bottle/test/rig"
)

// Claude Code itself, where its registry can be reached: every dialog of a first
// start is answered beforehand, so it lands at its prompt.
func TestClaudeCodeLandsAtItsPromptWithoutADialog(t *testing.T) {
	t.Parallel()
	rig.NeedClaude(t)
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\nenv:\n  ANTHROPIC_API_KEY: ${ANTHROPIC_API_KEY}\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: claude\nskills: [review]\n---\nBe brief, 'quote' \"this\".\n")
	r.Write("skills/review/SKILL.md", "---\nname: review\ndescription: looks twice\n---\nLook twice.\n")
	r.Env = []string{"ANTHROPIC_API_KEY=sk-ant-not-a-key-0123456789"}
	slug := r.Start("dev")
	if out, said, _ := r.Inside(slug, "claude", "--version"); !strings.Contains(out, "Claude Code") {
		t.Errorf("its version: %s%s", out, said)
	}
	if out, _, _ := r.Inside(slug, "sh", "-c", "cat ~/.claude/skills/review/SKILL.md"); !strings.Contains(out, "Look twice.") {
		t.Errorf("the skill: %s", out)
	}
	noDialog(t, r.AwaitScreen(slug, "bypass permissions on"))
}

// The real Claude Code works with a placeholder: egress has the key, and what it
// asks is within the narrow route of its own host.
func TestClaudeCodeWorksWithAKeyThatItNeverHas(t *testing.T) {
	t.Parallel()
	rig.NeedClaude(t)
	for _, c := range []struct{ name, auth, header string }{
		{"key", "{header: x-api-key, token_ref: OPERATORS_KEY}", "X-Api-Key: " + rig.OperatorsKey},
		{"bearer", "{scheme: Bearer, token_ref: OPERATORS_KEY}", "Authorization: Bearer " + rig.OperatorsKey},
	} {
		r := rig.New(t)
		u := r.Upstream("api.anthropic.com")
		r.Write("bottles/dev.md", "---\nenv:\n  CLAUDE_CODE_MAX_RETRIES: 0\negress:\n  routes:\n    - {host: api.anthropic.com, private: true, auth: "+c.auth+"}\n---\n")
		r.Write("agents/dev.md", "---\nbottle: dev\nprogram: claude\n---\n")
		r.Env = []string{rig.ClaudeEnv}
		slug := r.Start("dev")
		u.Join(slug)
		out, said, _ := r.Inside(slug, "timeout", "240", "claude", "-p", "hello")
		heard := u.Heard("/v1/messages")
		if len(heard) == 0 {
			t.Errorf("%s: it asked nothing: %s%s", c.name, out, said)
			continue
		}
		all := strings.Join(heard[0].Header, "\n")
		if heard[0].Method != "POST" || !strings.Contains(all, c.header) || strings.Count(all, rig.OperatorsKey) != 1 || strings.Contains(all, "placeholder") {
			t.Errorf("%s: the model's host got %s %s:\n%s", c.name, heard[0].Method, heard[0].Path, all)
		}
		// It does without the settings that a company may keep for it there.
		denied, _, _ := r.Run("bottle-log", "--denied", "-o", "text", slug)
		for line := range strings.Lines(denied) {
			if !strings.Contains(line, "https://api.anthropic.com/api/claude_code/") {
				t.Errorf("%s: it asked for more than it may: %s", c.name, line)
			}
		}
	}
}

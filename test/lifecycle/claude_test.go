package lifecycle

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// Claude Code itself, where its registry can be reached: every dialog of a first
// start is answered beforehand, so it lands at its prompt.
func TestClaudeCodeLandsAtItsPromptWithoutADialog(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := exec.CommandContext(ctx, "npm", "view", "@anthropic-ai/claude-code", "version").Run(); err != nil {
		t.Skip("npm cannot be reached: no Claude Code to try")
	}
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
	var screen string
	for !strings.Contains(screen, "bypass permissions on") {
		if ctx.Err() != nil {
			t.Fatalf("it did not come to its prompt:\n%s", screen)
		}
		screen, _, _ = r.Run("bottle-attach", "--peek", slug)
	}
	for _, dialog := range []string{"Do you trust", "Yes, I accept", "Choose the text style", "Detected a custom API key"} {
		if strings.Contains(screen, dialog) {
			t.Errorf("a dialog is on its screen:\n%s", screen)
		}
	}
}

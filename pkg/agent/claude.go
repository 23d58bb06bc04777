package agent

import "fmt"

// claude is Claude Code, as its npm package carries it: one native program.
type claude struct{}

func (claude) Name() string { return "claude" }

func (claude) Package(arch string) (Package, error) {
	suffix, ok := map[string]string{"amd64": "x64", "arm64": "arm64"}[arch]
	if !ok {
		return Package{}, fmt.Errorf("cannot find Claude Code for %s: it exists for amd64 and arm64", arch)
	}
	return Package{Name: "@anthropic-ai/claude-code-linux-" + suffix, File: "package/claude", Into: "claude"}, nil
}

func (claude) Steps() []string { return []string{"COPY claude /usr/local/bin/claude"} }

// claudeLaunch hands an API key over by a descriptor. One that it finds in its
// environment Claude Code asks about, and the answer, which could be given
// beforehand, would be part of the key in a file. The variable is gone
// afterwards: for the agent's own children too.
const claudeLaunch = `if [ -n "${ANTHROPIC_API_KEY-}" ]; then
  key=$ANTHROPIC_API_KEY
  unset ANTHROPIC_API_KEY
  export CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR=3
  exec claude "$@" 3<<<"$key"
fi
exec claude "$@"`

func (claude) Argv(s Start) []string {
	argv := []string{"/bin/bash", "-c", claudeLaunch, "claude", "--dangerously-skip-permissions"}
	if s.PromptFile != "" {
		argv = append(argv, "--append-system-prompt-file", s.PromptFile)
	}
	return argv
}

// HomeFiles answer every dialog of a first start. Their default answer is "no",
// so that a key pressed blindly would end the agent.
func (claude) HomeFiles(s Start) map[string][]byte {
	trusted := map[string]any{"hasTrustDialogAccepted": true}
	return map[string][]byte{
		".claude.json": document(map[string]any{
			"hasCompletedOnboarding": true,
			// Trust in / covers every folder below it.
			"projects": map[string]any{"/": trusted, s.WorkDir: trusted},
		}),
		".claude/settings.json": document(map[string]any{"skipDangerousModePermissionPrompt": true}),
	}
}

// Env leaves nothing to talk to but the model's own host.
func (claude) Env() map[string]string {
	return map[string]string{
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC":             "1",
		"CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
		"DISABLE_AUTOUPDATER":                                  "1", // it came with the image, and the root is read-only
		"SHELL":                                                "/bin/bash",
	}
}

// Hosts is the model and no more: its /v1/files takes uploads for whoever's key
// is sent.
func (claude) Hosts() []Host {
	return []Host{{Name: "api.anthropic.com", Paths: []string{"/v1/messages"}, Methods: []string{"POST"}, Model: "anthropic"}}
}

func (claude) Keys() []string {
	return []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"}
}

// Placeholder is no key of anybody's; what is sent of it egress drops.
func (claude) Placeholder(header string) map[string]string {
	const nobodys = "sk-ant-placeholder-egress-has-the-key"
	if header == "authorization" {
		return map[string]string{"ANTHROPIC_AUTH_TOKEN": nobodys}
	}
	return map[string]string{"ANTHROPIC_API_KEY": nobodys}
}

func (claude) SkillsDir() string { return ".claude/skills" }

package agent

import (
	"maps"
	"path"
)

// claude is Claude Code, as its npm package carries it: one native program.
type claude struct {
	remote bool // driven from claude.ai besides
}

func (claude) Name() string { return "claude" }

func (claude) Packages(arch string) ([]Package, error) {
	suffix, err := nodeArch("Claude Code", arch)
	return []Package{{Name: "@anthropic-ai/claude-code-linux-" + suffix, File: "package/claude", Into: "claude"}}, err
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

// Session hands the task over as an argument: it is submitted in the living
// session as soon as that can take it.
func (c claude) Session(s Start) Session {
	argv := []string{"/bin/bash", "-c", claudeLaunch, "claude", "--dangerously-skip-permissions",
		"--settings", path.Join(s.InDir, claudeSettings)}
	if s.PromptFile != "" {
		argv = append(argv, "--append-system-prompt-file", s.PromptFile)
	}
	if c.remote {
		argv = append(argv, "--remote-control")
	}
	again := append(argv[:len(argv):len(argv)], "--continue")
	if s.Task != "" {
		argv = append(argv[:len(argv):len(argv)], "--", s.Task)
		again = append(again, "--", s.Task)
	}
	return Session{Argv: argv, Continue: again}
}

// claudeSettings is the file of settings of the session alone: a claude that the
// agent itself starts has none of its hooks.
const claudeSettings = "claude/settings.json"

// Files answer every dialog of a first start. Their default answer is "no", so
// that a key pressed blindly would end the agent.
func (claude) Files(s Start) Files {
	trusted := map[string]any{"hasTrustDialogAccepted": true}
	return Files{
		In: map[string][]byte{claudeSettings: document(map[string]any{"hooks": claudeHooks(s.Inside)})},
		Home: map[string][]byte{
			".claude.json": document(addSupervise(map[string]any{
				"hasCompletedOnboarding": true,
				"preferredNotifChannel":  "terminal_bell", // who looks at the session hears it
				// Trust in / covers every folder below it.
				"projects": map[string]any{"/": trusted, s.WorkDir: trusted},
			}, s.Supervise)),
			".claude/settings.json": document(map[string]any{"skipDangerousModePermissionPrompt": true}),
		},
	}
}

// claudeHooks have Claude Code tell what it does. An interruption by a key has
// no hook: the notification that it waits, a minute later, tells of it.
func claudeHooks(inside string) map[string]any {
	on := func(matcher, state string) map[string]any {
		return map[string]any{"matcher": matcher, "hooks": []any{
			map[string]any{"type": "command", "command": inside + " activity " + state, "timeout": 10},
		}}
	}
	const asks = "AskUserQuestion|ExitPlanMode"
	return map[string]any{
		"SessionStart":       []any{on("startup|clear", "idle"), on("resume", "waiting")},
		"UserPromptSubmit":   []any{on("", "working")},
		"PreToolUse":         []any{on(asks, "waiting")}, // matching hooks run side by side: one for each tool
		"PostToolUse":        []any{on("", "working")},
		"PostToolUseFailure": []any{on("", "working")},
		"PermissionRequest":  []any{on("", "waiting")},
		"Notification":       []any{on("permission_prompt|idle_prompt|elicitation_dialog|agent_needs_input", "waiting")},
		"Stop":               []any{on("", "waiting")},
		"StopFailure":        []any{on("", "waiting")},
	}
}

func (claude) Hooks() bool { return true }

// Env leaves nothing to talk to but the model's own host. Who drives it from
// elsewhere needs what this switches off.
func (c claude) Env() map[string]string {
	env := map[string]string{
		"CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
		"MCP_CONNECTION_NONBLOCKING":                           "0", // its tools are there when the first prompt is
		"CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS":                   "0", // a call waits for the operator as long as that takes
		"DISABLE_AUTOUPDATER":                                  "1", // it came with the image, and the root is read-only
		"SHELL":                                                "/bin/bash",
	}
	quiet := map[string]string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
	if c.remote {
		quiet = map[string]string{"DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1"}
	}
	maps.Copy(env, quiet)
	return env
}

// Hosts is the model and no more: its /v1/files takes uploads for whoever's key
// is sent. Remote control talks to the whole host, by a login that it keeps and
// renews itself.
func (c claude) Hosts() []Host {
	if c.remote {
		return []Host{{Name: "api.anthropic.com", Foreign: true}, {Name: "platform.claude.com", Paths: []string{"/v1/oauth"}, Foreign: true}}
	}
	return []Host{{Name: "api.anthropic.com", Paths: []string{"/v1/messages"}, Methods: []string{"POST"}}}
}

func (claude) Keys() []string {
	return []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"}
}

// Placeholder is no key of anybody's; what is sent of it egress drops.
func (claude) Placeholder(_, header string) map[string]string {
	const nobodys = "sk-ant-placeholder-egress-has-the-key"
	if header == "authorization" {
		return map[string]string{"ANTHROPIC_AUTH_TOKEN": nobodys}
	}
	return map[string]string{"ANTHROPIC_API_KEY": nobodys}
}

func (claude) SkillsDir() string { return ".claude/skills" }

func (claude) Conversations() string { return ".claude/projects/*/*.jsonl" }

package agent

import "fmt"

// codex is OpenAI's Codex CLI, as its npm package carries it: native programs,
// one for the agent and one for the JavaScript by which newer models call tools.
//
// It is asked for by key: who logs in by an account of ChatGPT would talk to
// chatgpt.com, which no test here can. Tried with the real program and a model
// that follows a script: prompt, task, tools of both kinds, MCP, hooks, resume.
// Not tried: other machines than amd64, images in a conversation, compaction by
// the provider. At its start it asks raw.githubusercontent.com for an
// announcement, which nothing switches off; it is refused and goes on.
type codex struct{}

func (codex) Name() string { return "codex" }

func (codex) Packages(arch string) ([]Package, error) {
	suffix, err := nodeArch("Codex", arch)
	return []Package{{Name: "@openai/codex", Suffix: "-linux-" + suffix, Into: "codex.tgz"}}, err
}

func (codex) Steps() []string {
	return []string{"ADD codex.tgz /opt/codex/", "RUN ln -s /opt/codex/package/vendor/*/bin/codex /usr/local/bin/codex"}
}

// codexLaunch trusts the folder that the session is in, wherever that is: it
// would be asked about.
const codexLaunch = `here=${PWD//\\/\\\\}
exec codex -c "projects={\"${here//\"/\\\"}\"={trust_level=\"trusted\"}}" "$@"`

// Session gives all that is this session's alone by its arguments: a codex that
// the agent itself starts has none of its hooks.
func (codex) Session(s Start) Session {
	argv := []string{"/bin/bash", "-c", codexLaunch, "codex", "--no-daemon",
		"--dangerously-bypass-approvals-and-sandbox", "--dangerously-bypass-hook-trust"}
	set := func(key, value string) { argv = append(argv, "-c", key+"="+value) }
	for _, h := range codexHooks {
		set("hooks."+h.event, fmt.Sprintf("[{matcher=%s,hooks=[{type=\"command\",command=%s,timeout=3}]}]",
			quoted(h.matcher), quoted(s.Inside+" activity "+h.state)))
	}
	if prompt := quoted(s.Prompt); s.Prompt != "" && len(prompt) <= maxArgument {
		set("developer_instructions", prompt)
	}
	again := append(argv[:len(argv):len(argv)], "resume", "--last")
	if s.Task != "" {
		argv = append(argv[:len(argv):len(argv)], "--", s.Task)
		again = append(again, "--", s.Task)
	}
	return Session{Argv: argv, Continue: again}
}

// maxArgument is the longest prompt in bytes that travels as an argument: the
// kernel takes 128 KiB in one. A longer one stands in the settings of every codex.
const maxArgument = 100_000

// codexHooks have Codex tell what it does.
var codexHooks = []struct{ event, matcher, state string }{
	{"UserPromptSubmit", "", "working"},
	{"PreToolUse", "request_user_input", "waiting"},
	{"PostToolUse", "", "working"},
	{"PermissionRequest", "", "waiting"},
	{"Interrupt", "", "waiting"},
	{"Stop", "", "waiting"},
}

// codexConfig leaves nothing to talk to but the model's own host, and nothing
// for the model's provider to do but to answer. A provider of its own takes the
// key from the environment: without one Codex would ask for a login.
const codexConfig = `model_provider = "openai-key"
check_for_update_on_startup = false
web_search = "disabled"

[model_providers.openai-key]
name = "OpenAI"
base_url = "https://api.openai.com/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
supports_websockets = false

[analytics]
enabled = false

[feedback]
enabled = false

[features]
apps = false
enable_request_compression = false
image_generation = false
plugins = false
remote_plugin = false
skill_mcp_dependency_install = false
tool_suggest = false

[tui]
show_tooltips = false
notifications = true
notification_method = "bel"
notification_condition = "always"
`

// Files are settings of every codex in the bottle.
func (codex) Files(s Start) Files {
	config := codexConfig
	if prompt := quoted(s.Prompt); len(prompt) > maxArgument {
		config = "developer_instructions = " + prompt + "\n" + config
	}
	if s.Supervise != "" {
		// A call waits for the operator as long as that takes.
		config += fmt.Sprintf("\n[mcp_servers.supervise]\nurl = %s\ntool_timeout_sec = 604800\n", quoted(s.Supervise))
	}
	return Files{Home: map[string][]byte{".codex/config.toml": []byte(config)}}
}

func (codex) Hooks() bool { return true }

func (codex) Env() map[string]string { return map[string]string{"SHELL": "/bin/bash"} }

// Hosts is the model and no more: what else the provider has takes uploads.
func (codex) Hosts() []Host {
	return []Host{{Name: "api.openai.com", Paths: []string{"/v1/responses"}, Methods: []string{"POST"}}}
}

func (codex) Keys() []string { return []string{"OPENAI_API_KEY"} }

// Placeholder is no key of anybody's; what is sent of it egress drops.
func (codex) Placeholder(_, _ string) map[string]string {
	return map[string]string{"OPENAI_API_KEY": "sk-placeholder-egress-has-the-key"}
}

func (codex) SkillsDir() string { return ".codex/skills" }

func (codex) Conversations() string { return ".codex/sessions/*/*/*/*.jsonl" }

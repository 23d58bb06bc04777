package agent

// gemini is Google's Gemini CLI: JavaScript, and the node that runs it, which is
// newer than Debian's.
//
// It is asked for by key: its logins by an account would talk to hosts that no
// test here can. Tried with the real program and a model that follows a script:
// prompt, task, tools, MCP, hooks, resume. Not tried: other machines than amd64,
// images in a conversation, its search of the web and its fetching of pages, which
// the provider does: they are refused where the manifest does not name them. Its
// hooks are in the settings of its home, so that a gemini which the agent itself
// starts tells of its work too: settings of the session alone it takes from root's
// files only. What is typed while it loads a conversation, before it tells that it
// waits, is lost.
type gemini struct{}

func (gemini) Name() string { return "gemini" }

// geminiNode is of a line that it is made for: with 26 its requests to MCP servers
// fail. Its name in the build context has it, so that the image's tag tells it.
const geminiNode = "22.23.5"

func (gemini) Packages(arch string) ([]Package, error) {
	suffix, err := nodeArch("Gemini CLI", arch)
	return []Package{
		{Name: "@google/gemini-cli", Into: "gemini.tgz"},
		{Name: "node-linux-" + suffix, Version: geminiNode, File: "package/bin/node", Into: "node-" + geminiNode},
	}, err
}

func (gemini) Steps() []string {
	return []string{
		"COPY node-" + geminiNode + " /usr/local/bin/node", "ADD gemini.tgz /opt/gemini/",
		`RUN printf '#!/bin/sh\nexec node /opt/gemini/package/bundle/gemini.js "$@"\n' >/usr/local/bin/gemini && chmod 755 /usr/local/bin/gemini`,
	}
}

func (gemini) Session(s Start) Session {
	argv := []string{"gemini", "--yolo"}
	again := append(argv[:1:1], "--yolo", "--resume=latest")
	if s.Task != "" {
		argv = append(argv, "--prompt-interactive="+s.Task)
		again = append(again, "--prompt-interactive="+s.Task)
	}
	return Session{Argv: argv, Continue: again}
}

// Files answer the dialogs of a first start, and leave nothing to talk to but
// the model's own host.
func (gemini) Files(s Start) Files {
	settings := map[string]any{
		"general": map[string]any{"enableAutoUpdate": false, "enableAutoUpdateNotification": false,
			"enableNotifications": true, "notificationMethod": "bell", "sessionRetention": map[string]any{"enabled": false}},
		"ide":       map[string]any{"enabled": false, "hasSeenNudge": true},
		"privacy":   map[string]any{"usageStatisticsEnabled": false},
		"telemetry": map[string]any{"enabled": false},
		"security": map[string]any{"auth": map[string]any{"selectedType": "gemini-api-key"},
			"folderTrust": map[string]any{"enabled": false}},
		"ui":    map[string]any{"hideBanner": true, "hideTips": true},
		"hooks": geminiHooks(s.Inside),
	}
	if s.Supervise != "" {
		// A call waits for the operator as long as that takes, in milliseconds.
		settings["mcpServers"] = map[string]any{"supervise": map[string]any{"httpUrl": s.Supervise, "trust": true, "timeout": 604_800_000}}
	}
	files := Files{Home: map[string][]byte{".gemini/settings.json": document(settings)}}
	if s.Prompt != "" {
		files.Home[".gemini/GEMINI.md"] = []byte(s.Prompt)
	}
	return files
}

// geminiHooks have it tell what it does. Its own word for a turn is agent.
func geminiHooks(inside string) map[string]any {
	on := func(matcher, state string) []any {
		return []any{map[string]any{"matcher": matcher, "hooks": []any{
			map[string]any{"name": "bottle-" + state, "type": "command", "command": inside + " activity " + state, "timeout": 10_000},
		}}}
	}
	return map[string]any{
		"SessionStart": on("resume", "waiting"),
		"BeforeAgent":  on("", "working"),
		"AfterTool":    on("", "working"),
		"AfterAgent":   on("", "waiting"),
		"Notification": on("", "waiting"), // it asks for leave
	}
}

func (gemini) Hooks() bool { return true }

func (gemini) Env() map[string]string {
	return map[string]string{"GEMINI_CLI_NO_RELAUNCH": "true", "SHELL": "/bin/bash"}
}

// Hosts is the models and no more: beside them the provider takes uploads.
func (gemini) Hosts() []Host {
	return []Host{{Name: "generativelanguage.googleapis.com", Paths: []string{"/v1beta/models"}, Methods: []string{"POST"}}}
}

func (gemini) Keys() []string { return []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"} }

// Placeholder is no key of anybody's; what is sent of it egress drops.
func (gemini) Placeholder(_, _ string) map[string]string {
	return map[string]string{"GEMINI_API_KEY": "placeholder-egress-has-the-key"}
}

func (gemini) SkillsDir() string { return ".gemini/skills" }

func (gemini) Conversations() string { return ".gemini/tmp/*/chats/*.jsonl" }

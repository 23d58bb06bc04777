package agent

import (
	"path"
	"slices"
)

// opencode is opencode, as its npm package for processors of any age carries it:
// one native program. It talks to several providers: to those whose host the
// manifest has a route to, and to no other.
//
// Tried with the real program and Anthropic's API as a script has it: prompt,
// task, tools, MCP, a plugin that tells what it does, resume. Not tried: its
// other providers, other machines than amd64, logins by an account, language
// servers, which it would have to fetch. Where the workspace has a folder .opencode,
// it asks registry.npmjs.org at its start for what plugins are written with, and its
// first answer waits until it gives up.
type opencode struct{}

func (opencode) Name() string { return "opencode" }

func (opencode) Packages(arch string) ([]Package, error) {
	suffix, err := nodeArch("opencode", arch)
	if arch == "amd64" {
		suffix += "-baseline"
	}
	return []Package{{Name: "opencode-linux-" + suffix, File: "package/bin/opencode", Into: "opencode"}}, err
}

func (opencode) Steps() []string { return []string{"COPY opencode /usr/local/bin/opencode"} }

// What lies in Start.InDir: settings of the session alone, and the plugin that
// they name.
const (
	opencodeSession = "opencode/session.json"
	opencodePlugin  = "opencode/bottle.js"
)

func (opencode) Session(s Start) Session {
	argv := []string{"/usr/bin/env", "OPENCODE_CONFIG=" + path.Join(s.InDir, opencodeSession), "opencode", "--auto"}
	again := append(argv[:len(argv):len(argv)], "--continue")
	if s.Task != "" {
		argv = append(argv[:len(argv):len(argv)], "--prompt="+s.Task)
		again = append(again, "--prompt="+s.Task)
	}
	return Session{Argv: argv, Continue: again}
}

// opencodeProviders are its names for who has a model where.
var opencodeProviders = []struct {
	host, provider string
	paths          []string
	keys           []string
}{
	{"api.anthropic.com", "anthropic", []string{"/v1/messages"}, []string{"ANTHROPIC_API_KEY"}},
	{"api.openai.com", "openai", []string{"/v1/responses", "/v1/chat/completions"}, []string{"OPENAI_API_KEY"}},
	{"generativelanguage.googleapis.com", "google", []string{"/v1beta/models"}, []string{"GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"}},
	{"opencode.ai", "opencode", []string{"/zen/v1"}, []string{"OPENCODE_API_KEY"}},
}

// Files leave nothing to talk to but the providers.
func (opencode) Files(s Start) Files {
	enabled := []string{}
	for _, p := range opencodeProviders {
		if slices.Contains(s.Hosts, p.host) {
			enabled = append(enabled, p.provider)
		}
	}
	settings := map[string]any{"autoupdate": false, "share": "disabled", "permission": "allow", "lsp": false, "formatter": false,
		"enabled_providers": enabled}
	if s.PromptFile != "" {
		settings["instructions"] = []string{s.PromptFile}
	}
	if s.Supervise != "" {
		// A call waits for the operator as long as that takes, in milliseconds.
		settings["mcp"] = map[string]any{"supervise": map[string]any{"type": "remote", "url": s.Supervise, "enabled": true, "oauth": false, "timeout": 604_800_000}}
	}
	return Files{
		In: map[string][]byte{
			opencodeSession: document(map[string]any{"plugin": []string{"file://" + path.Join(s.InDir, opencodePlugin)}}),
			opencodePlugin:  []byte("const inside = " + quoted(s.Inside) + "\n" + opencodeTells),
		},
		Home: map[string][]byte{
			".config/opencode/opencode.json": document(settings),
			// It would fetch, try after try, what plugins are written with, and keep the
			// first request to a model waiting: for a minute, and for more where another one
			// was ended at that. What these say is there it does not fetch.
			".config/opencode/package-lock.json": document(map[string]any{"packages": map[string]any{
				"": map[string]any{"dependencies": map[string]string{"@opencode-ai/plugin": "*"}}}}),
			".config/opencode/node_modules/README": []byte("Nothing is installed here: see ../package-lock.json.\n"),
		},
	}
}

// opencodeTells is a plugin that tells what the session does, and writes down
// what was said: opencode's own record is a database. The sessions that a session
// starts do not count.
const opencodeTells = `import { spawn } from "node:child_process"
import { mkdirSync, writeFileSync, renameSync } from "node:fs"
import { join } from "node:path"

const said = join(process.env.HOME, ".local/share/bottle/conversations")

export const Bottle = async ({ client }) => {
  const children = new Set()
  let told = Promise.resolve() // one after another, or the last might not be the last
  const tell = (what) => (told = told.then(() => new Promise((done) => spawn(inside, ["activity", what], { stdio: "ignore" }).on("error", done).on("exit", done))))
  const write = async (id) => {
    const all = await client.session.messages({ path: { id } })
    const lines = (all.data ?? []).map((m) => JSON.stringify({
      role: m.info.role,
      time: new Date(m.info.time.created).toISOString(),
      parts: m.parts.map((p) => ({ type: p.type, text: p.synthetic ? "" : p.text, tool: p.tool, input: p.state?.input, output: p.state?.output ?? p.state?.error })),
    }) + "\n")
    mkdirSync(said, { recursive: true })
    writeFileSync(join(said, id + ".new"), lines.join(""))
    renameSync(join(said, id + ".new"), join(said, id + ".jsonl"))
  }
  return {
    event: async ({ event }) => {
      const p = event.properties ?? {}
      if (p.info?.parentID && event.type.startsWith("session.")) children.add(p.info.id)
      if (children.has(p.sessionID)) return
      switch (event.type) {
        case "session.status":
          if (p.status.type === "busy") tell("working")
          if (p.status.type === "idle") {
            tell("waiting")
            await write(p.sessionID)
          }
          break
        case "permission.asked":
        case "question.asked":
          tell("waiting")
          break
        case "permission.replied":
        case "question.replied":
          tell("working")
      }
    },
  }
}
`

func (opencode) Hooks() bool { return true }

func (opencode) Env() map[string]string {
	return map[string]string{
		"OPENCODE_DISABLE_AUTOUPDATE":   "1", // it came with the image, and the root is read-only
		"OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
		"OPENCODE_DISABLE_MODELS_FETCH": "1", // it knows those of its own day
		"OPENCODE_DISABLE_SHARE":        "1",
		"SHELL":                         "/bin/bash",
	}
}

// Hosts are its providers': the model of each and no more.
func (opencode) Hosts() (hosts []Host) {
	for _, p := range opencodeProviders {
		hosts = append(hosts, Host{Name: p.host, Paths: p.paths, Methods: []string{"POST"}, Choice: true})
	}
	return hosts
}

func (opencode) Keys() (keys []string) {
	for _, p := range opencodeProviders {
		keys = append(keys, p.keys...)
	}
	return keys
}

// Placeholder is no key of anybody's; what is sent of it egress drops.
func (opencode) Placeholder(host, _ string) map[string]string {
	for _, p := range opencodeProviders {
		if p.host == host {
			return map[string]string{p.keys[0]: "placeholder-egress-has-the-key"}
		}
	}
	return nil
}

func (opencode) SkillsDir() string { return ".config/opencode/skills" }

func (opencode) Conversations() string { return ".local/share/bottle/conversations/*.jsonl" }

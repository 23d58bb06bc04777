package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bottle/pkg/agent"
)

// home makes a $BOTTLE_HOME with these files, and an operator without any.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", t.TempDir())
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const plainAgent = "---\nbottle: dev\nprogram: shell\n---\n"

func TestWholeManifestIsRead(t *testing.T) {
	dir := home(t, map[string]string{
		"agents/engine.md":         "\ufeff---\r\nbottle: dev\r\nprogram: claude\r\nversion: 2.1.330\r\nskills: [review]\r\n---\r\nYou implement\r\none issue.\r\n",
		"agents/engine.Dockerfile": "RUN true\n",
		"skills/review/SKILL.md":   "how to review",
		"bottles/dev.md": "---\nenv:\n  EDITOR: vi\n  N: 0x10\n  ON: true\n  DAY: 2020-01-02\n  EMPTY: \"\"\n  STAGE_KEY: ${STAGE_KEY}\n" +
			"egress:\n  routes:\n    - host: API.example.com.\n    - host: \"*.x.com\"\nruntime: runc\n---\nwhy\n",
	})
	m, err := Load(dir, "engine")
	if err != nil {
		t.Fatal(err)
	}
	where := func(line string) string { return "bottles/dev.md:" + line }
	want := []EnvVar{{Name: "EDITOR", Literal: "vi", Where: where("3")}, {Name: "N", Literal: "0x10", Where: where("4")},
		{Name: "ON", Literal: "true", Where: where("5")}, {Name: "DAY", Literal: "2020-01-02", Where: where("6")}, {Name: "EMPTY", Where: where("7")},
		{Name: "STAGE_KEY", From: ref(t, "STAGE_KEY"), Where: where("8")}}
	if !reflect.DeepEqual(m.Env, want) {
		t.Errorf("env is %v", m.Env)
	}
	if m.Agent != "engine" || m.BottleName != "dev" || m.Program.Name != "claude" || m.Version != "2.1.330" ||
		m.Prompt != "You implement\none issue." || m.Runtime != RuntimeRunc {
		t.Errorf("manifest is %+v", m)
	}
	if len(m.Routes) != 2 || m.Routes[0].Host != "api.example.com" || m.Routes[0].Port != 443 {
		t.Errorf("routes are %v", m.Routes)
	}
	if len(m.Warnings) != 1 || !strings.HasPrefix(m.Warnings[0], where("12")) {
		t.Errorf("warnings are %q", m.Warnings)
	}
	if len(m.Skills) != 1 || m.Skills[0].Dir != filepath.Join(dir, "skills/review") || m.Dockerfile != filepath.Join(dir, "agents/engine.Dockerfile") {
		t.Errorf("skills are %v, the Dockerfile %q", m.Skills, m.Dockerfile)
	}
}

func TestWhatBecomesOfARefusalIsRead(t *testing.T) {
	for text, want := range map[string]time.Duration{"on_deny: ask": 30 * time.Second, "on_deny: ask\n  ask_timeout: 90s": 90 * time.Second,
		"on_deny: reject\n  ask_timeout: 90s": 0, "ask_timeout: 90s": 0} {
		m, err := Load(home(t, map[string]string{"agents/engine.md": plainAgent, "bottles/dev.md": "---\negress:\n  " + text + "\n---\n"}), "engine")
		if err != nil || m.AskTimeout != want {
			t.Errorf("%q: %v, %v", text, m.AskTimeout, err)
		}
	}
}

func TestCommandLineIsAProgram(t *testing.T) {
	dir := home(t, map[string]string{
		"agents/a.md":    "---\nbottle: dev\nprogram: {command: [python3, -c, 1]}\n---\n",
		"bottles/dev.md": "---\n---\n",
	})
	m, err := Load(dir, "a")
	if want := (agent.Program{Command: []string{"python3", "-c", "1"}}); err != nil || !reflect.DeepEqual(m.Program, want) {
		t.Errorf("program is %v, %v", m.Program, err)
	}
	if m.Runtime != RuntimeAuto || m.Prompt != "" || m.Dockerfile != "" || len(m.Routes)+len(m.Env) != 0 {
		t.Errorf("manifest is %+v", m)
	}
}

// route is a bottle with one route that has one more key.
func remote(value string) string { return "git:\n  remotes:\n    o: " + value + "\n" }

func route(more string) string { return "egress:\n  routes:\n  - host: x.com\n    " + more + "\n" }

// Each mistake names the file, the line, and where there is one the remedy.
func TestMistakesAreNamed(t *testing.T) {
	const head = "---\nbottle: dev\n"
	for _, c := range []struct{ name, agent, bottle, want string }{
		{"unknown key", head + "progam: shell\n---\n", "", `agents/a.md:3: unknown key "progam"; did you mean "program"?`},
		{"nothing near", head + "colour: red\n---\n", "", `agents/a.md:3: unknown key "colour"; known: bottle, program, remote_control, skills, version`},
		{"remote shell", head + "program: shell\nremote_control: true\n---\n", "", `agents/a.md:4: "remote_control" is for program claude`},
		{"unknown program", head + "program: cluade\n---\n", "", `agents/a.md:3: unknown program "cluade"; did you mean "claude"? (or a command line: {command: [...]})`},
		{"no program", head + "---\n", "", `agents/a.md:1: "program" is missing; known: claude, codex, gemini, opencode, shell`},
		{"no bottle", "---\nprogram: shell\n---\n", "", `agents/a.md:1: "bottle" is missing`},
		{"missing bottle", "---\nprogram: shell\nbottle: dve\n---\n", "", `agents/a.md:3: there is no bottle "dve", no file bottles/dve.md; did you mean "dev"?`},
		{"bottle elsewhere", "---\nprogram: shell\nbottle: ../dev\n---\n", "", `agents/a.md:3: "bottle": name "../dev" is not`},
		{"wrong type", "---\nbottle: [dev]\n---\n", "", `agents/a.md:2: "bottle" must be text, not a list`},
		{"number", "---\nbottle: 12\n---\n", "", `agents/a.md:2: "bottle" must be text, not a number`},
		{"null", "---\nbottle:\n---\n", "", `agents/a.md:2: "bottle" must be text, not nothing`},
		{"duplicate", head + "bottle: dev\n---\n", "", `agents/a.md:3: "bottle" is there already, in line 2`},
		{"no front matter", "hello\n", "", `agents/a.md:1: the first line must be "---"`},
		{"empty file", "", "", `agents/a.md:1: the first line`},
		{"unclosed", head + "program: shell\n", "", `agents/a.md:1: the front matter that begins here is not closed`},
		{"not YAML", head + "x: [\n---\n", "", `agents/a.md:`},
		{"behind the end", "", "env: {}\n...\nruntime: runsc\n", `bottles/dev.md:3: this is not YAML: nothing may follow what ended above`},
		{"a second document", "", "env: {}\n--- x\nruntime: runsc\n", `bottles/dev.md:`},
		{"a document of text", "", "env: {}\n--- x\n", `bottles/dev.md:3: this is not YAML: nothing may follow`},
		{"first line", "", "env: {A: [}\n", `bottles/dev.md:2: this is not YAML`},
		{"tab", "", "env:\n  A: x\n\tB: y\n", `bottles/dev.md:4: this is not YAML: a tab indents nothing`},
		{"not UTF-8", head + "x: \xff\n---\n", "", `agents/a.md: it is not UTF-8 text`},
		{"too large", "---\n" + strings.Repeat("#", maxFile) + "\n---\n", "", `agents/a.md: it is larger than`},
		{"alias", "---\nbottle: &x dev\nprogram: *x\n---\n", "", `agents/a.md:3: "program" is an alias (*x)`},
		{"list", "---\n- a\n---\n", "", `agents/a.md:2: the front matter must be keys and values, not a list`},
		{"open version", head + "program: claude\nversion: latest\n---\n", "", `agents/a.md:4: version "latest" is not exact`},
		{"version of a shell", head + "version: 1.2.3\nprogram: shell\n---\n", "", `agents/a.md:3: "version" is for programs that are fetched`},
		{"command of text", head + "program: {command: vim}\n---\n", "", `agents/a.md:3: "command" must be a list, not text`},
		{"empty command", head + "program: {command: []}\n---\n", "", `agents/a.md:3: "command" must be a list of words`},
		{"no such skill", head + "program: shell\nskills:\n  - none\n---\n", "", `agents/a.md:5: there is no skill "none": no regular file SKILL.md in `},
		{"skill elsewhere", head + "program: shell\nskills: [../x]\n---\n", "", `agents/a.md:4: "../x" is not a skill's name`},
		{"skill twice", head + "program: shell\nskills: [x, x]\n---\n", "", `agents/a.md:4: skill x is there already`},

		{"git", "", "git: {remote: {}}\n", `bottles/dev.md:2: unknown key "remote"; did you mean "remotes"?`},
		{"remote of text", "", remote("x"), `bottles/dev.md:4: the remote o must be keys and values`},
		{"remote's key", "", remote("{upsteam: x}"), `bottles/dev.md:4: unknown key "upsteam"; did you mean "upstream"?`},
		{"remote's name", "", "git:\n  remotes:\n    ../o: {}\n", `bottles/dev.md:4: "../o" is not a remote's name`},
		{"remotes by case", "", "git:\n  remotes:\n    o: {}\n    O: {}\n", `bottles/dev.md:5: there is a remote of the name "O" already`},
		{"upstream by git", "", remote("{upstream: 'git://x.com/a'}"), `bottles/dev.md:4: the upstream "git://x.com/a" must be ssh://`},
		{"upstream of a helper", "", remote("{upstream: 'ext::sh -c x'}"), `bottles/dev.md:4: the upstream "ext::sh -c x" holds what no address holds`},
		{"upstream with a password", "", remote("{upstream: 'https://a:b@x.com/a'}"), `bottles/dev.md:4: the upstream "https://…@x.com/a" holds a password`},
		{"upstream with a token as its user", "", remote("{upstream: 'https://ghp_0123456789abcdefghijABCDEFGHIJ012345@x.com/a'}"),
			`bottles/dev.md:4: the upstream "https://…@x.com/a" holds what looks like a token: write "token_ref"`},
		{"upstream with an unknown token as its user", "", remote("{upstream: 'https://" + strings.Repeat("q7", 20) + "@x.com/a'}"),
			`bottles/dev.md:4: the upstream "https://…@x.com/a" holds what looks like a token: write "token_ref"`},
		{"upstream with an option", "", remote("{upstream: 'ssh://-oProxyCommand=x/a'}"), `bottles/dev.md:4: the upstream "ssh://-oProxyCommand=x/a" names no host`},
		{"user with an option", "", remote("{upstream: '-oX@x.com:a'}"), `bottles/dev.md:4: the upstream "-oX@x.com:a" has a user's name that no server has`},
		{"upstream without a path", "", remote("{upstream: 'https://x.com/'}"), `bottles/dev.md:4: the upstream "https://x.com/" names no repository`},
		{"upstream's port", "", remote("{upstream: 'https://x.com:0/a'}"), `bottles/dev.md:4: the upstream "https://x.com:0/a" has a wrong port: "0" is not a port`},
		{"ssh without a key", "", remote("{upstream: 'x.com:a'}"), `bottles/dev.md:4: the remote o needs an "identity_file"`},
		{"ssh with a token", "", remote("{upstream: 'x.com:a', token_ref: T}"), `bottles/dev.md:4: the remote o has "token_ref", and a token is for an upstream by https`},
		{"https with a key", "", remote("{upstream: 'https://x.com/a', identity_file: /k}"), `bottles/dev.md:4: the remote o has "identity_file", and a key is for an upstream by ssh`},
		{"ssh that ages", "", remote("{upstream: 'x.com:a', identity_file: /k, refresh: 45m}"), `bottles/dev.md:4: the remote o has "refresh", and it is said of a token`},
		{"no token that ages", "", remote("{upstream: 'https://x.com/a', refresh: 45m}"), `bottles/dev.md:4: the remote o has "refresh", and no "token_ref"`},
		{"a token that never ages", "", remote("{upstream: 'https://x.com/a', token_ref: T, refresh: 5s}"), `bottles/dev.md:4: "refresh": refresh "5s" is no time`},
		{"a key of nothing", "", remote("{identity_file: /k}"), `bottles/dev.md:4: the remote o has "identity_file"`},
		{"relative key", "", remote("{upstream: 'x.com:a', identity_file: k}"), `bottles/dev.md:4: "identity_file": "k" must be an absolute path`},
		{"push's key", "", "git:\n  push: {ref: []}\n", `bottles/dev.md:3: unknown key "ref"; did you mean "refs"?`},
		{"no refs", "", "git:\n  push: {refs: []}\n", `bottles/dev.md:3: "refs" is empty`},
		{"all refs", "", "git:\n  push: {refs: ['refs/*']}\n", `bottles/dev.md:3: "refs/*" is not a ref that may be pushed`},
		{"push's size", "", "git:\n  push: {max_size: 1TB}\n", `bottles/dev.md:3: "max_size": "1TB" is no size`},
		{"pipelock without an image", "", "pipelock: {}\n", `bottles/dev.md:2: "pipelock" needs an "image"`},
		{"pipelock, no image", "", "pipelock:\n  image: --privileged\n", `bottles/dev.md:3: "--privileged" is no name of an image`},
		{"pipelock, unknown key", "", "pipelock:\n  image: p\n  mode: audit\n", `bottles/dev.md:4: unknown key "mode"`},
		{"pipelock, no host", "", "pipelock:\n  image: p\n  tls_passthrough: ['*.x.com']\n", `bottles/dev.md:4: "*.x.com" cannot be passed through`},
		{"supervise", "", "supervise: maybe\n", `bottles/dev.md:2: "supervise" must be true or false, not text`},
		{"on_deny", "", "egress:\n  on_deny: hold\n", `bottles/dev.md:3: "on_deny": on_deny "hold" is neither reject nor ask`},
		{"ask_timeout", "", "egress:\n  ask_timeout: 1h\n", `bottles/dev.md:3: "ask_timeout": ask_timeout "1h" is no time as 30s is, 1s to 10m`},
		{"model", "", "egress:\n  model: {server_tool: []}\n", `bottles/dev.md:3: unknown key "server_tool"; did you mean "server_tools"?`},
		{"server tool", "", "egress:\n  model: {server_tools: [Web-Search]}\n", `bottles/dev.md:3: "Web-Search" is not a provider's tool`},
		{"max_body", "", "egress:\n  max_body: 32MB\n", `bottles/dev.md:3: "max_body": "32MB" is no size as 32MiB is`},
		{"scan", "", "egress:\n  routes:\n  - host: x.com\n    scan: {alow: []}\n", `bottles/dev.md:5: unknown key "alow"; did you mean "allow"?`},
		{"rule", "", "egress:\n  routes:\n  - host: x.com\n    scan: {allow: [{rule: jwtt}]}\n", `bottles/dev.md:5: there is no rule "jwtt"; did you mean "jwt"?`},
		{"no rule", "", "egress:\n  routes:\n  - host: x.com\n    scan: {allow: [{path: /x}]}\n", `bottles/dev.md:5: an exception needs a "rule": there is none for everything`},
		{"oversize", "", "egress:\n  routes:\n  - host: x.com\n    scan: {oversize: pass}\n", `bottles/dev.md:5: "oversize": oversize "pass" is neither block nor stream`},
		{"route's key", "", "egress:\n  routes:\n  - host: x.com\n    path: [/a]\n", `bottles/dev.md:5: unknown key "path"; did you mean "path_allowlist"?`},
		{"route's key, nearly", "", "egress:\n  routes:\n  - host: x.com\n    method: [GET]\n", `bottles/dev.md:5: unknown key "method"; did you mean "methods"?`},
		{"relative path", "", route("path_allowlist: [/a, b]"), `bottles/dev.md:5: the path does not begin with /`},
		{"path with dots", "", route("path_allowlist: [/a/../b]"), `bottles/dev.md:5: the path has a segment of dots`},
		{"path with a query", "", route("path_allowlist: ['/a?b']"), `bottles/dev.md:5: the path has a query`},
		{"path twice", "", route("path_allowlist: [/a, /a]"), `bottles/dev.md:5: /a is there already`},
		{"paths of text", "", route("path_allowlist: /a"), `bottles/dev.md:5: "path_allowlist" must be a list, not text`},
		{"method", "", route("methods: [GET, 'G T']"), `bottles/dev.md:5: "G T" is not a method`},
		{"TRACE", "", route("methods: [trace]"), `bottles/dev.md:5: TRACE cannot be allowed`},
		{"scheme", "", route("scheme: ftp"), `bottles/dev.md:5: "scheme": scheme "ftp" is neither https nor http`},
		{"port", "", route("port: 0443"), `bottles/dev.md:5: "port": "0443" is not a port`},
		{"private", "", route("private: yes please"), `bottles/dev.md:5: "private" must be true or false, not text`},
		{"foreign", "", route("foreign_credentials: drop"), `bottles/dev.md:5: "foreign_credentials": foreign_credentials "drop" is neither allow nor refuse`},
		{"auth of text", "", route("auth: TOKEN"), `bottles/dev.md:5: "auth" must be keys and values`},
		{"auth without token", "", route("auth: {scheme: Bearer}"), `bottles/dev.md:5: "auth" needs a "token_ref"`},
		{"auth without header", "", route("auth: {token_ref: T}"), `bottles/dev.md:5: "auth" needs a "scheme"`},
		{"auth with both", "", route("auth: {scheme: Bearer, header: x-a, token_ref: T}"), `bottles/dev.md:5: "auth" has a "scheme" and a "header"`},
		{"auth's key", "", route("auth: {scheme: Bearer, token-ref: T}"), `bottles/dev.md:5: unknown key "token-ref"; did you mean "token_ref"?`},
		{"refresh", "", route("auth: {scheme: Bearer, token_ref: T, refresh: often}"), `bottles/dev.md:5: "refresh": refresh "often" is no time`},
		{"auth in Host", "", route("auth: {header: Host, token_ref: T}"), `bottles/dev.md:5: "header": host is no header for a credential`},
		{"a token itself", "", route("auth: {scheme: Bearer, token_ref: ghp-xx}"), `bottles/dev.md:5: "token_ref": "ghp-xx" is neither a variable's name nor`},
		{"relative file", "", route("auth: {scheme: Bearer, token_ref: 'file:x'}"), `bottles/dev.md:5: "token_ref": "file:x": the path must be absolute`},
		{"credential's name", "", "egress:\n  credentials:\n    A_b: {scheme: Bearer, token_ref: T, hosts: [x.com]}\n", `bottles/dev.md:4: "A_b" is not a credential's name`},
		{"credential without hosts", "", "egress:\n  credentials:\n    a: {scheme: Bearer, token_ref: T}\n", `bottles/dev.md:4: credential a needs "hosts"`},
		{"credential for *", "", "egress:\n  credentials:\n    a: {scheme: Bearer, token_ref: T, hosts: ['*.x.com']}\n", `bottles/dev.md:4: *.x.com matches no host`},
		{"env without from", "", "env:\n  A: {hosts: [x.com]}\n", `bottles/dev.md:3: the value of A needs "from"`},
		{"env's key", "", "env:\n  A: {form: B}\n", `bottles/dev.md:3: unknown key "form"; did you mean "from"?`},
		{"partial variable", "", "env:\n  A: x${B}\n", `bottles/dev.md:3: the value of A: ${NAME} must be the whole value`},
		{"variable with default", "", "env:\n  A: ${B:-c}\n", `bottles/dev.md:3: the value of A`},
		{"env name", "", "env:\n  1A: x\n", `bottles/dev.md:3: "1A" is not a variable's name`},
		{"merge key", "", "env:\n  <<: {A: x}\n", `bottles/dev.md:3: "<<" is not a variable's name`},
		{"env nothing", "", "env:\n  A:\n", `bottles/dev.md:3: A has no value`},
		{"env list", "", "env:\n  A: [x]\n", `bottles/dev.md:3: A must be one value, not a list`},
		{"env NUL", "", "env:\n  A: \"a\\0b\"\n", `bottles/dev.md:3: A holds a NUL`},
		{"env binary", "", "env:\n  A: !!binary aGk=\n", `bottles/dev.md:3: A must be one value, not !!binary`},
		{"proxy", "", "env:\n  https_proxy: x\n", `bottles/dev.md:3: bottle sets https_proxy itself: it leads programs to egress`},
		{"trust", "", "env:\n  SSL_CERT_FILE: x\n", `bottles/dev.md:3: bottle sets SSL_CERT_FILE itself`},
		{"own names", "", "env:\n  BOTTLE_HOME_FILES: x\n", `bottles/dev.md:3: bottle sets BOTTLE_HOME_FILES itself`},
		{"runtime", "", "runtime: gvisor\n", `bottles/dev.md:2: unknown runtime "gvisor"; known: auto, runc, runsc`},
		{"runtime, nearly", "", "runtime: runs\n", `bottles/dev.md:2: unknown runtime "runs"; did you mean "runsc"?`},
		{"route of text", "", "egress:\n  routes: [x.com]\n", `bottles/dev.md:3: a route must be keys and values (- host: NAME), not text`},
		{"route without host", "", "egress:\n  routes:\n  - {}\n", `bottles/dev.md:4: a route needs a "host"`},
		{"address", "", "egress:\n  routes:\n  - host: 10.0.0.1\n", `bottles/dev.md:4: "10.0.0.1" cannot be a route's host: an IP address`},
		{"URL", "", "egress:\n  routes:\n  - host: https://x.com\n", `bottles/dev.md:4: "https://x.com" cannot be a route's host`},
		{"same host", "", "egress:\n  routes:\n  - host: x.com\n  - host: X.com.\n", `bottles/dev.md:5: host x.com is there already in this way, in line 4`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.agent == "" && c.bottle != "" {
				c.agent = plainAgent
			}
			dir := home(t, map[string]string{"agents/a.md": c.agent, "bottles/dev.md": "---\n" + c.bottle + "---\n"})
			_, err := Load(dir, "a")
			var mistake *Error
			if !errors.As(err, &mistake) || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if agents, broken := Agents(dir); len(agents) != 0 || len(broken) != 1 {
				t.Errorf("it is listed as one that can be started: %v, %v", agents, broken)
			}
		})
	}
}

func TestAFileThatNoAgentCanBeCalledByIsTold(t *testing.T) {
	dir := home(t, map[string]string{"agents/Dev.md": plainAgent, "agents/README.md": "about", "agents/a.md": plainAgent, "bottles/dev.md": "---\n---\n"})
	agents, broken := Agents(dir)
	if len(agents) != 1 || len(broken) != 1 || !strings.HasPrefix(broken[0].Error(), `agents/Dev.md: name "Dev" is not of the form`) {
		t.Errorf("%v, %v", agents, broken)
	}
	if _, err := Load(dir, "A"); !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), `did you mean "a"?`) {
		t.Error(err)
	}
}

func TestAgentThatIsNotThere(t *testing.T) {
	dir := home(t, map[string]string{"agents/web.md": plainAgent})
	if _, err := Load(dir, "wbe"); !errors.Is(err, ErrNoAgent) || !strings.HasSuffix(err.Error(), `did you mean "web"?`) {
		t.Errorf("%v", err)
	}
	if _, err := Load(dir, "../web"); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	if _, err := Load(filepath.Join(dir, "nowhere"), "web"); !errors.Is(err, ErrNoAgent) {
		t.Errorf("%v", err)
	}
	if agents, broken := Agents(filepath.Join(dir, "nowhere")); agents != nil || broken != nil {
		t.Errorf("an empty home lists %v, %v", agents, broken)
	}
}

func TestFirstManifestsAreGood(t *testing.T) {
	dir := home(t, map[string]string{"agents/dev.md": string(FirstAgent), "bottles/dev.md": string(FirstBottle), "agents/README.md": "for people"})
	m, err := Load(dir, "dev")
	if err != nil || m.Program.Name != "claude" || m.Prompt == "" || len(m.Routes) != 0 || len(m.Warnings) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	agents, broken := Agents(dir)
	want := []AgentInfo{{Name: "dev", Bottle: "dev", Program: "claude", File: filepath.Join(dir, "agents/dev.md")}}
	if !reflect.DeepEqual(agents, want) || len(broken) != 0 {
		t.Errorf("%v, %v", agents, broken)
	}
}

func TestSkillIsFoundInEitherPlaceAndNotBehindALink(t *testing.T) {
	dir := home(t, map[string]string{"bottles/dev.md": "---\n---\n", "outside/SKILL.md": "x",
		"agents/a.md": "---\nbottle: dev\nprogram: claude\nskills: [mine]\n---\n"})
	user, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(user, ".claude/skills/mine")
	if err := os.MkdirAll(mine, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "outside/SKILL.md"), filepath.Join(mine, "SKILL.md")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "a"); err == nil {
		t.Error("a skill behind a link is taken")
	}
	if err := os.Rename(filepath.Join(dir, "outside/SKILL.md"), filepath.Join(mine, "SKILL.md")); err != nil {
		t.Fatal(err)
	}
	if m, err := Load(dir, "a"); err != nil || m.Skills[0].Dir != mine {
		t.Errorf("%v, %v", m.Skills, err)
	}
}

func TestFIFOIsNoManifest(t *testing.T) {
	dir := home(t, map[string]string{"bottles/dev.md": "---\n---\n"})
	if err := os.Mkdir(filepath.Join(dir, "agents"), 0o700); err != nil {
		t.Fatal(err)
	}
	mkfifo(t, filepath.Join(dir, "agents/a.md"))
	if _, err := Load(dir, "a"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
}

// What the README tells people to write can be read.
func TestTheREADMEsManifestsAreGood(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"skills/review/SKILL.md": "x"}
	for _, name := range []string{"bottles/dev.md", "agents/dev.md"} {
		_, rest, ok := strings.Cut(string(readme), "`"+name+"`\n\n")
		if !ok {
			t.Fatalf("the README has no %s", name)
		}
		var text strings.Builder
		for line := range strings.Lines(rest) {
			if !strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "" {
				break
			}
			text.WriteString(strings.TrimPrefix(line, "    "))
		}
		files[name] = text.String()
	}
	if m, err := Load(home(t, files), "dev"); err != nil || len(m.Routes) == 0 || len(m.Credentials) == 0 || len(m.Warnings) != 0 {
		t.Errorf("%v, warnings %q", err, m.Warnings)
	}
}

package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// start is what agents are told of in these tests.
var start = Start{WorkDir: "/work", InDir: "/etc/bottle", Inside: "/opt/bottle/bottle-inside"}

// The golden files show what an agent is given: reviewers look at them when it
// changes.
func TestGoldenAgents(t *testing.T) {
	for name, p := range map[string]Program{"claude": {Name: "claude"}, "claude-remote": {Name: "claude", Remote: true},
		"shell": {Name: "shell"}, "codex": {Name: "codex"}, "gemini": {Name: "gemini"}, "opencode": {Name: "opencode"}, "command": {Command: []string{"vi", "a b"}}} {
		a, err := Lookup(p)
		if err != nil {
			t.Fatal(err)
		}
		s := start
		s.PromptFile, s.Prompt, s.Supervise = "/etc/bottle/prompt.md", "Be \"brief\".\n", "http://supervise:8090/mcp"
		s.Hosts = []string{"api.openai.com", "opencode.ai"}
		s.Task = "-say \"hi\" to 'them'"
		packages, err := a.Packages("amd64")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, p := range packages {
			fmt.Fprintf(&b, "package  %+v\n", p)
		}
		fmt.Fprintf(&b, "steps    %q\n", a.Steps())
		run := a.Session(s)
		fmt.Fprintf(&b, "argv     %q\ncontinue %q\ntyped    %q\n", run.Argv, run.Continue, run.Typed)
		fmt.Fprintf(&b, "hooks    %v\nskills   %s\nconversations %s\nkeys     %q\n", a.Hooks(), a.SkillsDir(), a.Conversations(), a.Keys())
		for _, h := range a.Hosts() {
			fmt.Fprintf(&b, "host     %+v\n", h)
		}
		env := a.Env()
		for _, k := range slices.Sorted(maps.Keys(env)) {
			fmt.Fprintf(&b, "env      %s=%s\n", k, env[k])
		}
		list := func(dir string, files map[string][]byte) {
			for _, path := range slices.Sorted(maps.Keys(files)) {
				fmt.Fprintf(&b, "-- %s/%s --\n%s", dir, path, files[path])
			}
		}
		list("in", a.Files(s).In)
		list("home", a.Files(s).Home)
		golden(t, name+".golden", b.Bytes())
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is meant, run go test ./pkg/agent -update and read the diff\n%s", name, got)
	}
}

func TestEveryRowIsFoundByItsName(t *testing.T) {
	for _, name := range Names() {
		a, err := Lookup(Program{Name: name})
		if err != nil || a.Name() != name {
			t.Errorf("Lookup(%q) = %v, %v", name, a, err)
		}
		if len(a.Session(start).Argv) == 0 || a.SkillsDir() == "" || filepath.IsAbs(a.SkillsDir()) || filepath.IsAbs(a.Conversations()) {
			t.Errorf("%s: no command line, or no place for skills in its home", name)
		}
		for _, files := range []map[string][]byte{a.Files(start).In, a.Files(start).Home} {
			for path, content := range files {
				if !filepath.IsLocal(path) {
					t.Errorf("%s: %s is not below its directory", name, path)
				}
				if strings.HasSuffix(path, ".json") && !json.Valid(content) {
					t.Errorf("%s: %s is not JSON", name, path)
				}
			}
		}
	}
	if _, err := Lookup(Program{Name: "cluade"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown program gives %v", err)
	}
}

func TestCommandLineIsTakenAsItIs(t *testing.T) {
	words := []string{"python3", "-c", "print('a b')"}
	a, err := Lookup(Program{Command: words})
	if err != nil {
		t.Fatal(err)
	}
	words[0] = "changed"
	if got := a.Session(Start{}).Argv; !slices.Equal(got, []string{"python3", "-c", "print('a b')"}) {
		t.Errorf("argv is %q", got)
	}
}

func TestClaudeGetsThePromptOnlyWhereThereIsOne(t *testing.T) {
	with := claude{}.Session(Start{PromptFile: "/etc/bottle/prompt.md"}).Argv
	i := slices.Index(with, "--append-system-prompt-file")
	if i < 0 || i+1 >= len(with) || with[i+1] != "/etc/bottle/prompt.md" {
		t.Errorf("argv is %q", with)
	}
	// A missing file would end it at once.
	if without := (claude{}).Session(Start{}).Argv; slices.Contains(without, "--append-system-prompt-file") {
		t.Errorf("argv is %q", without)
	}
}

// The kernel takes 128 KiB in one argument, and a prompt may be longer.
func TestALongPromptIsNoArgumentOfCodex(t *testing.T) {
	s := start
	s.Prompt = strings.Repeat("be brief\n", 20_000)
	for _, word := range (codex{}).Session(s).Argv {
		if len(word) > 128<<10-1 {
			t.Errorf("an argument of %d bytes: %.60s", len(word), word)
		}
	}
	if config := (codex{}).Files(s).Home[".codex/config.toml"]; !bytes.HasPrefix(config, []byte(`developer_instructions = "be brief\n`)) {
		t.Errorf("the settings begin %.100s", config)
	}
}

func TestPackagesFollowTheMachine(t *testing.T) {
	for _, c := range []struct{ name, arch, first string }{
		{"claude", "amd64", "{Name:@anthropic-ai/claude-code-linux-x64 Version: Suffix: File:package/claude Into:claude}"},
		{"claude", "arm64", "{Name:@anthropic-ai/claude-code-linux-arm64 Version: Suffix: File:package/claude Into:claude}"},
		{"codex", "amd64", "{Name:@openai/codex Version: Suffix:-linux-x64 File: Into:codex.tgz}"},
		{"codex", "arm64", "{Name:@openai/codex Version: Suffix:-linux-arm64 File: Into:codex.tgz}"},
		{"opencode", "amd64", "{Name:opencode-linux-x64-baseline Version: Suffix: File:package/bin/opencode Into:opencode}"},
		{"opencode", "arm64", "{Name:opencode-linux-arm64 Version: Suffix: File:package/bin/opencode Into:opencode}"},
		{"gemini", "arm64", "{Name:@google/gemini-cli Version: Suffix: File: Into:gemini.tgz}"},
	} {
		a, err := Lookup(Program{Name: c.name})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := a.Packages(c.arch); err != nil || fmt.Sprintf("%+v", p[0]) != c.first {
			t.Errorf("%s for %s: %+v, %v", c.name, c.arch, p, err)
		}
		if _, err := a.Packages("mips"); err == nil {
			t.Errorf("%s: a machine that it does not exist for is accepted", c.name)
		}
	}
}

// A stand-in for claude shows what the real one would see.
const seen = `#!/bin/bash
echo "env=${ANTHROPIC_API_KEY-none} fd=${CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR-none}"
[ -z "${CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR-}" ] || echo "key=$(cat <&3)"
echo "args=$*"
`

func TestClaudeKeyArrivesByDescriptorAndLeavesTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "claude"), []byte(seen), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ env, want string }{
		{"ANTHROPIC_API_KEY=a key", "env=none fd=3\nkey=a key\nargs=--dangerously-skip-permissions --settings /etc/bottle/claude/settings.json\n"},
		{"OTHER=1", "env=none fd=none\nargs=--dangerously-skip-permissions --settings /etc/bottle/claude/settings.json\n"},
	} {
		argv := claude{}.Session(start).Argv
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", c.env}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != c.want {
			t.Errorf("with %s it saw %q, %v; want %q", c.env, out, err, c.want)
		}
	}
}

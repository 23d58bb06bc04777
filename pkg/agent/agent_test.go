package agent

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryRowIsFoundByItsName(t *testing.T) {
	for _, name := range Names() {
		a, err := Lookup(Program{Name: name})
		if err != nil || a.Name() != name {
			t.Errorf("Lookup(%q) = %v, %v", name, a, err)
		}
		if len(a.Argv(Start{WorkDir: "/work"})) == 0 || a.SkillsDir() == "" || filepath.IsAbs(a.SkillsDir()) {
			t.Errorf("%s: no command line, or no place for skills in its home", name)
		}
		for path, content := range a.HomeFiles(Start{WorkDir: "/work"}) {
			if !filepath.IsLocal(path) {
				t.Errorf("%s: %s is not below its home", name, path)
			}
			if strings.HasSuffix(path, ".json") && !json.Valid(content) {
				t.Errorf("%s: %s is not JSON", name, path)
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
	if got := a.Argv(Start{}); !slices.Equal(got, []string{"python3", "-c", "print('a b')"}) {
		t.Errorf("argv is %q", got)
	}
}

func TestClaudeGetsThePromptOnlyWhereThereIsOne(t *testing.T) {
	with := claude{}.Argv(Start{PromptFile: "/etc/bottle/prompt.md"})
	i := slices.Index(with, "--append-system-prompt-file")
	if i < 0 || i+1 >= len(with) || with[i+1] != "/etc/bottle/prompt.md" {
		t.Errorf("argv is %q", with)
	}
	// A missing file would end it at once.
	if without := (claude{}).Argv(Start{}); slices.Contains(without, "--append-system-prompt-file") {
		t.Errorf("argv is %q", without)
	}
}

func TestClaudePackageFollowsTheMachine(t *testing.T) {
	for arch, name := range map[string]string{"amd64": "@anthropic-ai/claude-code-linux-x64", "arm64": "@anthropic-ai/claude-code-linux-arm64"} {
		if p, err := (claude{}).Package(arch); err != nil || p.Name != name {
			t.Errorf("%s: %v, %v", arch, p, err)
		}
	}
	if _, err := (claude{}).Package("mips"); err == nil {
		t.Error("a machine that it does not exist for is accepted")
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
		{"ANTHROPIC_API_KEY=a key", "env=none fd=3\nkey=a key\nargs=--dangerously-skip-permissions\n"},
		{"OTHER=1", "env=none fd=none\nargs=--dangerously-skip-permissions\n"},
	} {
		argv := claude{}.Argv(Start{})
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", c.env}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != c.want {
			t.Errorf("with %s it saw %q, %v; want %q", c.env, out, err, c.want)
		}
	}
}

// Package install installs as people do, and tries on a machine without anything
// of ours what they find there: manual pages and completion.
package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// shells is a machine with the shells and man.
const shells = `FROM bottle-base:bookworm
RUN export DEBIAN_FRONTEND=noninteractive && apt-get -qq update && apt-get -qq -y install --no-install-recommends bash-completion zsh fish man-db && rm -rf /var/lib/apt/lists/*
`

// home is what the programs there find.
const home = `set -e
export LC_ALL=C.UTF-8 XDG_DATA_DIRS=/usr/local/share:/usr/share # as a desktop sets it
export BOTTLE_HOME=$HOME/.bottle
mkdir -p -m 0700 "$BOTTLE_HOME/agents" "$BOTTLE_HOME/bottles"
printf -- '---\nbottle: dev\nprogram: shell\n---\n' >"$BOTTLE_HOME/agents/web.md"
printf -- '---\n---\n' >"$BOTTLE_HOME/bottles/dev.md"
state=$BOTTLE_HOME/state/web-k3zq
mkdir -p -m 0700 "$BOTTLE_HOME/state" "$state" "$state/egress" "$state/egress/out" "$state/egress/out/proposals"
printf '{"slug":"web-k3zq","agent":"web","bottle":"dev","program":"shell","status":"running","workspace":"none"}' >"$state/metadata.json"
printf '` + waiting + `' >"$state/egress/out/proposals/` + waitingID + `.json"
`

// waiting is a proposal; its ID is what its content makes it.
const (
	waitingID = "egress-denied-l44pvfajhqbtfi6z"
	waiting   = `{"id":"` + waitingID + `","kind":"egress-denied","source":"egress","created_at":"2026-11-30T11:09:59.525Z",` +
		`"egress":{"host":"docs.example","scheme":"https","port":443,"path_allowlist":["/rec2"],"methods":["GET"]}}`
)

func TestInstalledOnACleanMachine(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	dest := t.TempDir()
	if err := os.Chmod(dest, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("make", "-s", "-C", "../..", "install", "DESTDIR="+dest).CombinedOutput(); err != nil {
		t.Fatalf("make install: %v: %s", err, out)
	}
	machine := r.Container("clean", "--network", "none", "-v", filepath.Join(dest, "usr/local")+":/usr/local:ro", rig.Image(t, "shells", shells), "sleep", "600")
	in := func(script string) string {
		t.Helper()
		return r.Docker("exec", machine, "bash", "-c", home+script)
	}
	for _, c := range []struct{ what, script, want string }{
		{"man finds a page", `MANWIDTH=100 man -P cat bottle-approve | grep -A3 '^SYNOPSIS'`, "bottle-approve [options] [ID…|-]"},
		{"a page refers to the others", `man -P cat bottle-ls | tail -n 4`, "bottle-start(1), bottle-attach(1), bottle-approve(1)"},
		{"there is one of a sidecar", `man -P cat bottle-egress | head -n 4`, "judge and forward what leaves a bottle"},
		{"bash knows agents", bashAt("bottle-start", "w"), "<web>"},
		{"bash knows slugs", bashAt("bottle-attach", "w"), "<web-k3zq>"},
		{"bash knows slugs behind a flag", bashAt("bottle-start", "--renew", "w"), "<web-k3zq>"},
		{"bash knows proposals", bashAt("bottle-approve", "--once", "e"), "<" + waitingID + ">"},
		{"bash knows flags", bashAt("bottle-start", "--det"), "<--detach>"},
		{"bash puts a value behind =", bashAt("bottle-ls", "--output", "=", "t"), "<table><tsv>"},
		{"fish knows agents", `fish -c 'complete -C "bottle-start w"'`, "web\tshell in dev"},
		{"fish knows proposals", `fish -c 'complete -C "bottle-approve e"'`, waitingID + "\tweb-k3zq: docs.example  /rec2  GET"},
		{"fish knows values", `fish -c 'complete -C "bottle-ls --output=j"'`, "--output=json"},
		{"zsh knows agents", zshAt("bottle-start w", "start web"), "bottle-start web"},
		{"zsh knows slugs", zshAt("bottle-stop w", "stop web-k3zq"), "bottle-stop web-k3zq"},
		{"zsh knows proposals", zshAt("bottle-approve e", waitingID), "bottle-approve " + waitingID},
		{"zsh knows values", zshAt("bottle-ls -o js", "json"), "bottle-ls -o json"},
	} {
		if got := in(c.script); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.what, got)
		}
	}
	if said := in(`for page in /usr/local/share/man/man1/*.1; do man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null; done`); said != "" {
		t.Errorf("man warns: %s", said)
	}
}

// bashAt asks bash what it completes the last word to, as its own key does.
func bashAt(words ...string) string {
	return `. /usr/share/bash-completion/bash_completion
_completion_loader ` + words[0] + ` || true
COMP_WORDS=(` + strings.Join(words, " ") + `) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p ` + words[0] + ` | sed 's/.*-F \([^ ]*\).*/\1/') ` + words[0] + `
printf '<%s>' "${COMPREPLY[@]}"`
}

// zshAt types a line and the key on a terminal, and returns what is drawn until
// the word is whole.
func zshAt(line, want string) string {
	return `cat >/tmp/try <<'EOF'
zmodload zsh/zpty
zpty z 'PS1= zsh -f -i'
zpty -w z 'autoload -Uz compinit; compinit -u; echo rea""dy'
zpty -r -m z seen '*ready*'
zpty -n -w z "$1"$'\t'
zpty -r -m z seen "*$2*"
print -r -- $seen
EOF
TERM=dumb timeout 60 zsh -f /tmp/try '` + line + `' '` + want + `'`
}

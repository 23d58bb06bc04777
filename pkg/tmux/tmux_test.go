package tmux

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func server(t *testing.T) Server {
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	s := Server{Socket: filepath.Join(dir, "s"), Conf: filepath.Join(dir, "c")}
	if err := os.WriteFile(s.Conf, []byte(Config("screen-256color")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		run(s.Kill())
		os.RemoveAll(dir)
	})
	return s
}

func run(argv []string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

func TestTheRealTmuxTakesTheConfiguration(t *testing.T) {
	s := server(t)
	if out, err := run(s.New(80, 24, "/", "sleep", "1000")); err != nil {
		t.Fatal(out, err)
	}
	if out, err := run(s.args("source-file", s.Conf)); err != nil || out != "" {
		t.Fatalf("%s %v", out, err)
	}
	for option, want := range map[string]string{"prefix": "None", "status": "off", "mouse": "on",
		"default-terminal": "screen-256color", "set-clipboard": "off", "update-environment": ""} {
		if out, err := run(s.args("show-options", "-gAv", option)); err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%s is %q %v, not %q", option, out, err, want)
		}
	}
	keys, err := run(s.args("list-keys"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(keys) {
		table := strings.Fields(line)[2]
		if table != "root" && table != "copy-mode" {
			t.Errorf("a key outside of scrolling: %s", line)
		}
	}
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	s := server(t)
	want := []string{"a;", `b\;`, ";", "#(id)", "#{pid}", "$HOME", "a b", "", "-x", `\;`}
	dir := t.TempDir()
	odd := filepath.Join(dir, "#{pid}")
	os.Mkdir(odd, 0o700)
	script := `pwd > got; for a; do printf '%s\n' "$a"; done >> got; mv got done; exec sleep 1000`
	argv := append([]string{"sh", "-c", script + "; :", "sh"}, want...)
	if out, err := run(s.New(80, 24, odd, argv...)); err != nil {
		t.Fatal(out, err)
	}
	// The server answers the wait once the shell has written its file.
	if out, err := run(append([]string{"timeout", "10"}, "sh", "-c", `while ! [ -e "$0/done" ]; do sleep 0.02; done`, odd)); err != nil {
		t.Fatal(out, err)
	}
	got, err := os.ReadFile(filepath.Join(odd, "done"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != odd+"\n"+strings.Join(want, "\n")+"\n" {
		t.Errorf("got %q", got)
	}
}

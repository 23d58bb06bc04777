package tokenref

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCommandsAreSplitWithoutAShell(t *testing.T) {
	for in, want := range map[string][]string{
		"cmd:pass show docs":              {"pass", "show", "docs"},
		"cmd:  a\t b ":                    {"a", "b"},
		`cmd:a 'b c' "d e" f'g h'i ""`:    {"a", "b c", "d e", "fg hi", ""},
		`cmd:a $HOME \n *.go ; | $(id) &`: {"a", "$HOME", `\n`, "*.go", ";", "|", "$(id)", "&"},
		`cmd:a "it's" '"'`:                {"a", "it's", `"`},
	} {
		r, err := Parse(in)
		if err != nil || !reflect.DeepEqual(r.cmd, want) {
			t.Errorf("%s: %q, %v; want %q", in, r.cmd, err, want)
		}
	}
}

func TestWhatIsNoReferenceIsRefused(t *testing.T) {
	for _, in := range []string{"", "a b", "1A", "file:", "file:x/y", "cmd:", "cmd:  ", "cmd:'' x", "cmd:a 'b", `cmd:a "b`, "env:X", "ghp_abc-def", "X\n",
		"cmd:a\x00b", "http://x", strings.Repeat("A", 5000)} {
		if r, err := Parse(in); err == nil {
			t.Errorf("%q is taken: %+v", in, r)
		}
	}
}

func TestNamesTellReferencesApartAndNothingElse(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{"TOKEN", "TOKEN2", "file:/a", "file:/b", "cmd:cat /secret/place", "cmd:cat  /secret/place"} {
		r, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		name := r.Name()
		if seen[name] != "" || strings.Contains(name, "secret") || r.String() != text {
			t.Errorf("%s is called %s, as is %q", text, name, seen[name])
		}
		seen[name] = text
	}
	if (Ref{}).Name() != "" || (Ref{}).Set() {
		t.Error("the zero reference has a name")
	}
}

func resolve(t *testing.T, v Resolver, text string) (string, error) {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v.Resolve(context.Background(), r)
}

func TestValuesComeWithoutTheirLineEnd(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("unix", "the value\n")
	write("dos", "the value\r\n")
	write("two", "a\nb\n\n")
	v := Resolver{Lookup: func(name string) (string, bool) {
		value, ok := map[string]string{"HOME": dir, "T": "the value", "N": "line\n"}[name]
		return value, ok
	}}
	for ref, want := range map[string]string{
		"T": "the value", "N": "line", "file:" + dir + "/unix": "the value", "file:~/dos": "the value", "file:~/two": "a\nb\n",
		"cmd:cat " + dir + "/unix": "the value", `cmd:printf %s "a b"`: "a b",
	} {
		if got, err := resolve(t, v, ref); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", ref, got, err, want)
		}
	}
}

func TestWhatCannotBeResolvedIsNamed(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "\n", "nul": "a\x00b", "large": strings.Repeat("x", maxValue+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := Resolver{Lookup: func(name string) (string, bool) { return "", name == "EMPTY" }, Time: time.Minute}
	for ref, want := range map[string]string{
		"MISSING": "your environment has no MISSING", "EMPTY": "cannot resolve EMPTY: it is empty",
		"file:" + dir + "/none": "no such file", "file:" + dir + "/empty": "it is empty", "file:" + dir + "/nul": "NUL", "file:" + dir + "/large": "larger than",
		"file:" + dir + "/fifo": "not a regular file", "file:" + dir: "not a regular file", "file:~/x": "has no HOME",
		"cmd:false": "cannot resolve cmd:false: exit status 1", "cmd:no-such-program-here": "executable file not found", "cmd:sleep 60": "did not end within",
		"cmd:ls /no/such/place": "exit status 2: ls: ", "cmd:true": "it is empty", "cmd:cat /dev/zero": "cannot resolve cmd:cat /dev/zero: it is larger than",
	} {
		v := v
		if want == "did not end within" {
			v.Time = 200 * time.Millisecond
		}
		if got, err := resolve(t, v, ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", ref, got, err, want)
		}
	}
}

func TestOnceRunsACommandOnce(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	once := Resolver{Lookup: os.LookupEnv}.Once()
	ask := "cmd:sh -c 'echo asked >> " + asked + "; echo the-value'"
	for range 3 {
		if got, err := resolve(t, once, ask); err != nil || got != "the-value" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if times, err := os.ReadFile(asked); err != nil || string(times) != "asked\n" {
		t.Errorf("%q, %v", times, err)
	}
	fails := "cmd:sh -c 'echo failed >> " + asked + "; exit 1'"
	for range 2 {
		if got, err := resolve(t, once, fails); err == nil {
			t.Errorf("%q", got)
		}
	}
	if times, err := os.ReadFile(asked); err != nil || string(times) != "asked\nfailed\n" {
		t.Errorf("%q, %v", times, err)
	}
	once.Max = 4 // of the same reference another place takes less
	if got, err := resolve(t, once, ask); err == nil {
		t.Errorf("%q is taken where 4 bytes are", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"A", "file:~/x", `cmd:a 'b' "c d"`, "cmd:'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{r.env != "", r.file != "", len(r.cmd) > 0} {
			if is {
				set++
			}
		}
		if set != 1 || r.Name() == "" || r.String() != s || strings.ContainsAny(r.Name(), " \n/") {
			t.Fatalf("%q: %+v", s, r)
		}
	})
}

// What has no terminal cannot take keys that are somebody else's.
func TestACommandThatIsAloneHasNoTerminal(t *testing.T) {
	t.Setenv("GPG_TTY", "/dev/pts/7")
	r, err := Parse(`cmd:sh -c "echo ${GPG_TTY-none}; (: </dev/tty) 2>/dev/null && echo a terminal; ps -o sid= -p $$ | tr -d ' '; echo $$"`)
	if err != nil {
		t.Fatal(err)
	}
	said, err := Resolver{Lookup: os.LookupEnv, Alone: true}.Resolve(t.Context(), r)
	lines := strings.Split(said, "\n")
	if err != nil || len(lines) != 3 || lines[0] != "none" || lines[1] != lines[2] {
		t.Errorf("%q, %v", said, err)
	}
}

// A command that hangs leaves nobody behind, however often it is tried.
func TestWhatACommandStartedEndsWithIt(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	v := Resolver{Lookup: os.LookupEnv, Alone: true, Time: 3 * time.Second}
	if got, err := resolve(t, v, "cmd:sh -c 'sleep 300 & echo $! > "+child+"; wait'"); err == nil {
		t.Fatalf("%q", got)
	}
	pid, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 10_000); err != nil || n != 1 {
		t.Fatalf("its child lives on: %d, %v", n, err)
	}
}

// An agent for passphrases may be started by it and keep its output open.
func TestWhatACommandLeavesRunningDoesNotSpoilItsValue(t *testing.T) {
	got, err := resolve(t, Resolver{Lookup: os.LookupEnv}, "cmd:sh -c 'sleep 5 & echo the-value'")
	if err != nil || got != "the-value" {
		t.Errorf("%q, %v", got, err)
	}
}

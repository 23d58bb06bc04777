package behind

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// letter is a request that carries something.
type letter struct {
	name string
	tail string // of the URL
	args []string
	real bool // only a real pipelock can tell: the stand-in decodes nothing
	deaf bool // it is refused whatever is in it, so that there is no harmless one
}

func encode64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func asJSON(body string) []string {
	return []string{"-H", "Content-Type: application/json", "-d", body}
}

// rows are P1 to P4 of the attacks that a bottle must stop, each with a secret in
// it.
var rows = map[string]func(secret string) []letter{
	"P1": func(v string) []letter {
		return []letter{
			{name: "a query", tail: "?q=1&t=" + v},
			{name: "a path", tail: "/x/" + v},
			{name: "a header", args: []string{"-H", "X-Note: see " + v}},
			{name: "User-Agent", args: []string{"-A", v}},
			{name: "a credential", args: []string{"-H", "Authorization: Bearer " + v}},
			{name: "a cookie", args: []string{"-b", "a=b; t=" + v}},
		}
	},
	"P2": func(v string) []letter {
		return []letter{
			{name: "JSON", args: asJSON(`{"a": [{"b": "see ` + v + `"}]}`)},
			{name: "a form", args: []string{"-d", "a=b&c=" + v}},
			{name: "a part", args: []string{"-F", "a=" + v}},
			{name: "a file", args: []string{"-F", "f=" + v + ";filename=a.txt"}},
			{name: "a file's name", args: []string{"-F", "f=text;filename=" + v + ".txt"}},
			{name: "plain text", args: []string{"-H", "Content-Type: text/plain", "-d", "see " + v}},
		}
	},
	"P3": func(v string) []letter {
		compressed := "printf '" + v + "' | gzip | curl -sS -w ' %{http_code}' -H 'Content-Encoding: gzip' --data-binary @- "
		return []letter{{name: "gzip", args: []string{compressed}, deaf: true}}
	},
	"P4": func(v string) []letter {
		three := encode64(hex.EncodeToString([]byte(encode64(v))))
		return []letter{
			{name: "base64", args: asJSON(`{"a": "` + encode64(v) + `"}`), real: true},
			{name: "base32", args: asJSON(`{"a": "` + base32.StdEncoding.EncodeToString([]byte(v)) + `"}`), real: true},
			{name: "hex", args: asJSON(`{"a": "` + hex.EncodeToString([]byte(v)) + `"}`), real: true},
			{name: "escapes of URLs", args: asJSON(`{"a": "` + url.QueryEscape(strings.ReplaceAll(v, "_", "%5f")) + `"}`), real: true},
			{name: "three layers", args: asJSON(`{"a": "` + three + `"}`), real: true},
		}
	},
}

// send has the agent send a letter, and returns status and body.
func (l *lab) send(m letter, at string) string {
	l.t.Helper()
	if m.deaf { // a pipe
		out, said, _ := l.Inside(l.slug, "sh", "-c", m.args[0]+"https://one.test"+at)
		return out + said
	}
	return l.ask("https://one.test"+at+m.tail, m.args...)
}

// Where egress' scanner lets something through, pipelock does not: the rows P1 to P4
// with a token that the route excepts in egress.
func pipelockStopsWhatEgressLetsThrough(l *lab) {
	t := l.t
	_, real := l.PipelockImage()
	tried := 0
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		letters := rows[row]
		harmless := letters("nothing-of-worth")
		for i, m := range letters(token) {
			if m.real && !real {
				t.Logf("%s %s: NOT TRIED: the stand-in decodes nothing", row, m.name)
				continue
			}
			tried++
			at := "/" + strings.ToLower(row) + "-" + strings.ReplaceAll(m.name, " ", "-")
			if !m.deaf {
				if answer := l.send(harmless[i], at); !strings.HasSuffix(answer, " 200") {
					t.Errorf("%s %s: a harmless one is answered %q", row, m.name, answer)
				}
			}
			before := len(l.u.Heard(at))
			if answer := l.send(m, at); !strings.HasSuffix(answer, " 403") || !strings.HasPrefix(answer, "blocked: ") {
				t.Errorf("%s %s: it is answered %q", row, m.name, answer)
				continue
			}
			if heard := l.u.Heard(at); len(heard) != before {
				t.Errorf("%s %s: upstream heard it", row, m.name)
				continue
			}
			t.Logf("%s %s blocked by pipelock", row, m.name)
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
}

// The file that is made, with an exception in it too, is one that pipelock's own
// check takes; a key that it does not know is none.
func TestPipelocksOwnCheckTakesTheFile(t *testing.T) {
	t.Parallel()
	l := start(t)
	image, _ := l.PipelockImage()
	in := t.TempDir()
	check := func(text string) (string, error) {
		if err := os.WriteFile(filepath.Join(in, "pipelock.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return l.TryDocker("run", "--rm", "--network", "none", "-v", in+":/in:ro", "--entrypoint", "/pipelock", image, "check", "--config", "/in/pipelock.yaml")
	}
	for _, name := range []string{"ca.crt", "ca.key"} {
		data, err := os.ReadFile(filepath.Join(l.Home, "state", l.slug, "pipelock/in", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(in, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := check(l.file()); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, said, code := l.Run("bottle-approve", l.found("https://one.test/login")); code != 0 {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	if out, err := check(l.file()); err != nil || !strings.Contains(l.file(), "suppress:") {
		t.Errorf("%v: %s\n%s", err, out, l.file())
	}
	if out, err := check(l.file() + "no_such_key: 1\n"); err == nil {
		t.Errorf("it takes what it does not know: %s", out)
	}
}

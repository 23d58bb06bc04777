package pipelock

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// lets says whether a file's entries let a pattern's findings through to a URL, as
// pipelock's documentation has it: case does not matter in a name; a path that ends
// in "/" is the beginning of a URL, and any other all of one, a glob of all of it
// or of its last part, or its end.
func lets(t *testing.T, text []byte, pattern, url string) bool {
	t.Helper()
	var f struct {
		Suppress []struct{ Rule, Path, Reason string }
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Suppress {
		if !strings.EqualFold(s.Rule, pattern) {
			continue
		}
		if strings.HasSuffix(s.Path, "/") {
			if strings.HasPrefix(url, s.Path) {
				return true
			}
			continue
		}
		glob, _ := path.Match(s.Path, url)
		base, _ := path.Match(s.Path, path.Base(url))
		if url == s.Path || glob || base || strings.HasSuffix(url, "/"+s.Path) {
			return true
		}
	}
	return false
}

const grant = "dlp-block-aaaaaaaaaaaaaaaa"

func except(t *testing.T, text, at string) []byte {
	t.Helper()
	out, err := Change([]byte(text), Delta{Except: []Exception{{ID: grant, Pattern: "JWT Token", Host: "a.example.com", Path: at}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnExceptionIsForItsPatternHostAndPath(t *testing.T) {
	below, all := except(t, edited, "/v1/ok"), except(t, edited, "/")
	for _, c := range []struct {
		text    []byte
		pattern string
		url     string
		want    bool
	}{
		{below, "JWT Token", "https://a.example.com/v1/ok", true},
		{below, "jwt token", "https://a.example.com/v1/ok/more/", true},
		{below, "JWT Token", "https://a.example.com/v1/ok?a=1", true},
		{below, "JWT Token", "https://a.example.com/v1/ok/x?a=/1", true},
		{below, "JWT Token", "https://a.example.com/v1/okay", false},
		{below, "JWT Token", "https://a.example.com/v1", false},
		{below, "JWT Token", "http://a.example.com/v1/ok", false},
		{below, "JWT Token", "https://a.example.com.evil.example/v1/ok", false},
		{below, "AWS Access ID", "https://a.example.com/v1/ok", false},
		{below, "JWT Token", "https://evil.example/https://a.example.com/v1/ok", false},
		{below, "JWT Token", "https://evil.example/?/https://a.example.com/v1/ok", false},
		{below, "JWT Token", "https://evil.example/[h]ttps://a.example.com/v1/ok", false},
		{all, "JWT Token", "https://a.example.com/", true},
		{all, "JWT Token", "https://a.example.com/?x", true},
		{all, "JWT Token", "https://evil.example/https://a.example.com/", false},
	} {
		if got := lets(t, c.text, c.pattern, c.url); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.url, got)
		}
	}
}

func TestExceptionsComeAndGoBesideTheOperators(t *testing.T) {
	mine := edited + "suppress:\n  - rule: Credential in URL # mine\n    path: https://a.example.com/x\n"
	for _, text := range []string{edited, mine, edited + "suppress: []\n"} {
		with := except(t, text, "/v1/ok")
		if err := Check(with); err != nil {
			t.Error(err)
		}
		if again := except(t, string(with), "/v1/ok"); string(again) != string(with) {
			t.Errorf("a second time:\n%s", again)
		}
		without, err := Change(with, Delta{Ended: []string{"dlp-block-bbbbbbbbbbbbbbbb"}})
		if err != nil || string(without) != string(with) {
			t.Errorf("another's: %v\n%s", err, without)
		}
		without, err = Change(with, Delta{Ended: []string{grant}})
		if err != nil || strings.Contains(string(without), "JWT") || strings.Contains(string(without), "suppress") != (text == mine) {
			t.Errorf("%v\n%s", err, without)
		}
		if text == mine && !strings.Contains(string(without), "- rule: Credential in URL # mine") {
			t.Errorf("the operator's is gone:\n%s", without)
		}
	}
}

func TestExceptionsThatAreNotTaken(t *testing.T) {
	good := Exception{ID: grant, Pattern: "JWT Token", Host: "a.example.com", Path: "/x"}
	for name, change := range map[string]func(*Exception){
		"id":            func(e *Exception) { e.ID = "a b" },
		"pattern":       func(e *Exception) { e.Pattern = "*" },
		"host":          func(e *Exception) { e.Host = "*.example.com" },
		"star":          func(e *Exception) { e.Path = "/*" },
		"bracket":       func(e *Exception) { e.Path = "/[a]b" },
		"percent":       func(e *Exception) { e.Path = "/%41" },
		"relative path": func(e *Exception) { e.Path = "x" },
		"long":          func(e *Exception) { e.Path = "/" + strings.Repeat("x", maxPath) },
	} {
		e := good
		change(&e)
		if _, err := Change([]byte(edited), Delta{Except: []Exception{e}}); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	for _, list := range []string{"suppress: x\n", "suppress: [x]\n", "suppress: [{rule: [x]}]\n"} {
		if err := Check([]byte(edited + list)); err == nil {
			t.Errorf("%s is taken", list)
		}
	}
}

func TestExceptionsOfAPolicy(t *testing.T) {
	p := policy.Policy{Grants: []policy.Grant{
		{ID: "1", Route: route("a.example.com"), Rule: "jwt"},
		{ID: "2", Route: route("a.example.com"), Rule: "JWT Token", Scanner: policy.Pipelock, Expires: now},
		{ID: "3", Route: route("b.example.com"), Rule: "JWT Token", Scanner: policy.Pipelock, Expires: now.Add(time.Minute)},
	}}
	p.Grants[2].Paths = []string{"/x"}
	if got, want := Exceptions(p, now), []Exception{{"3", "JWT Token", "b.example.com", "/x"}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestWhatARefusalSays(t *testing.T) {
	for line, want := range map[string]Refusal{
		"blocked: request body contains secret: JWT Token":                  {Patterns: []string{"JWT Token"}},
		"blocked: request body contains secret: JWT Token\r":                {Patterns: []string{"JWT Token"}},
		"blocked: request body contains secret: A b, Credit-Card/v2":        {Patterns: []string{"A b", "Credit-Card/v2"}},
		"blocked: core DLP match: GitHub Token (critical)":                  {Final: true},
		"blocked: request header contains secret":                           {Final: true},
		"blocked: request body contains secret: ":                           {},
		"blocked: request body contains secret: a\x1b[2J":                   {},
		"blocked: request body contains secret: *":                          {},
		"blocked: request body contains secret: a, b, c, d, e":              {},
		"blocked: request body contains secret: " + strings.Repeat("x", 65): {},
		"blocked: something else":                                           {},
		"no":                                                                {},
	} {
		if got := ReadRefusal(line); got.Final != want.Final || !slices.Equal(got.Patterns, want.Patterns) {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

// Whatever a line says: what is read of it can stand in a file, opens nothing but
// its own pattern, and is gone when it has ended.
func FuzzReadRefusal(f *testing.F) {
	f.Add("blocked: request body contains secret: JWT Token", "/v1/ok")
	f.Add("blocked: request body contains secret: a, b", "/")
	f.Add("blocked: core DLP match: GitHub Token (critical)", "/x")
	f.Fuzz(func(t *testing.T, line, at string) {
		r := ReadRefusal(line)
		if len(r.Patterns) > maxPatterns || r.Final && len(r.Patterns) > 0 {
			t.Errorf("%+v", r)
		}
		for _, name := range r.Patterns {
			if strings.Trim(name, pathBytes+" ") != "" {
				t.Errorf("a name is %q", name)
			}
			with, err := Change([]byte(edited), Delta{Except: []Exception{{ID: grant, Pattern: name, Host: "a.example.com", Path: at}}})
			if err != nil {
				continue
			}
			if !lets(t, with, name, "https://a.example.com"+at) || lets(t, with, name, "https://b.example.com/https://a.example.com"+at) {
				t.Errorf("%q below %q:\n%s", name, at, with)
			}
			without, err := Change(with, Delta{Ended: []string{grant}})
			if err != nil || strings.Contains(string(without), "suppress") {
				t.Errorf("%v:\n%s", err, without)
			}
		}
	})
}

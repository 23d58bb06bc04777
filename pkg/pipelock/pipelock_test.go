package pipelock

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func route(host string) policy.Route {
	return policy.Route{Host: host, Scheme: policy.HTTPS, Port: 443}
}

func TestGoldenFiles(t *testing.T) {
	for name, c := range map[string]struct {
		hosts []string
		o     Options
	}{
		"none":  {nil, Options{MaxBody: 32 << 20}},
		"plain": {[]string{"api.github.com", "docs.example.com"}, Options{MaxBody: 32 << 20}},
		"all": {[]string{"api.anthropic.com", "db.corp.example.com"}, Options{MaxBody: 1 << 20, Passthrough: []string{"api.anthropic.com"},
			Private: []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.1.2.3")}, Headers: []string{"x-api-key", "authorization"}}},
	} {
		text, err := Render(c.hosts, c.o)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".yaml")
		if *update {
			if err := os.WriteFile(golden, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != string(text) {
			t.Errorf("%s: %v; made:\n%s", name, err, text)
		}
		if err := Check(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the list cannot hold, or would mean something else there, is left out and
// told; grants that are over, and exceptions of the scanner, open nothing.
func TestListMirrorsWhatIsInForce(t *testing.T) {
	p := policy.Policy{Routes: []policy.Route{route("b.example.com"), route("*.example.com"), route("a.example.com"), route("a.example.com")},
		Grants: []policy.Grant{
			{ID: "1", Route: route("granted.example.com"), Expires: now.Add(time.Minute)},
			{ID: "2", Route: route("over.example.com"), Expires: now},
			{ID: "3", Route: route("exception.example.com"), Rule: "jwt"},
		}}
	hosts, left := Hosts(p, now)
	if want := []string{"a.example.com", "b.example.com", "granted.example.com"}; !slices.Equal(hosts, want) {
		t.Errorf("hosts %q, want %q", hosts, want)
	}
	if want := []string{"*.example.com"}; !slices.Equal(left, want) {
		t.Errorf("left out %q, want %q", left, want)
	}
	for _, host := range []string{"", "::1", "[::1]", "a b", "*.x.com", "ü.com"} {
		if Holds(host) {
			t.Errorf("the list is said to hold %q", host)
		}
	}
}

// Only headers that something is injected into go unscanned.
func TestInjectedHeaders(t *testing.T) {
	r := route("a.example.com")
	r.Auth = policy.Auth{Scheme: "Bearer", Credential: "A"}
	got := InjectedHeaders(policy.Policy{Routes: []policy.Route{r, route("b.example.com")}}, []policy.Auth{{Header: "x-api-key", Credential: "B"}})
	if want := []string{"authorization", "x-api-key"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

const edited = `# mine
version: 1
mode: strict
api_allowlist:
  # the forge
  - api.github.com # and nothing else
  - docs.example.com
dlp:
  patterns: [] # none
my_key: {a: 1}
`

func TestChangeKeepsTheOperatorsEdits(t *testing.T) {
	text, err := Change([]byte(edited), Delta{Open: []string{"new.example.com", "API.github.com"}, Close: []string{"docs.example.com", "never.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"# mine", "# the forge", "- api.github.com # and nothing else", "- new.example.com", "patterns: [] # none", "my_key: {a: 1}"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%q is gone:\n%s", line, text)
		}
	}
	listed, err := Listed(text)
	if want := []string{"api.github.com", "new.example.com"}; err != nil || !slices.Equal(listed, want) {
		t.Errorf("listed %q, want %q; %v", listed, want, err)
	}
	same, err := Change([]byte(edited), Delta{Open: []string{"api.github.com"}, Close: []string{"never.example.com"}})
	if err != nil || string(same) != edited {
		t.Errorf("what is there already changes the file: %v\n%s", err, same)
	}
	one := "mode: strict\napi_allowlist: [a.example.com]\n"
	if none, err := Change([]byte(one), Delta{Close: []string{"a.example.com"}}); err != nil || string(none) != "mode: strict\napi_allowlist: [nobody.invalid]\n" {
		t.Errorf("%v\n%s", err, none)
	}
	if _, err := Change([]byte(edited), Delta{Open: []string{"*.example.com"}}); err == nil {
		t.Error("a wildcard goes onto the list")
	}
}

func TestFilesThatAreNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"no YAML":       "a: [",
		"a list":        "- a\n",
		"empty":         "",
		"two documents": edited + "---\na: 1\n",
		"twice":         edited + "mode: audit\n",
		"no list":       "mode: strict\n",
		"an alias":      "x: &a [b]\nmode: strict\napi_allowlist: *a\n",
		"no words":      "mode: strict\napi_allowlist: [{a: b}]\n",
		"empty list":    "mode: strict\napi_allowlist: []\n",
		"another mode":  "mode: balanced\napi_allowlist: [a]\n",
		"no mode":       "api_allowlist: [a]\n",
		"not enforced":  "mode: strict\nenforce: false\napi_allowlist: [a]\n",
		"too large":     edited + "#" + strings.Repeat("x", MaxFile),
	} {
		if err := Check([]byte(text)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if err := Check([]byte(edited)); err != nil {
		t.Error(err)
	}
}

// Whatever stands in a file: a host that is added is listed, one that is removed is
// not, and a second time nothing changes.
func FuzzChange(f *testing.F) {
	f.Add([]byte(edited), "new.example.com")
	f.Add([]byte("mode: strict\napi_allowlist: [a, \"b\", 'c']\n"), "B")
	f.Fuzz(func(t *testing.T, text []byte, host string) {
		with, err := Change(text, Delta{Open: []string{host}})
		if err != nil {
			return
		}
		if again, err := Change(with, Delta{Open: []string{host}}); err != nil || string(again) != string(with) {
			t.Errorf("a second time: %v\n%s\n%s", err, with, again)
		}
		without, err := Change(with, Delta{Close: []string{host}})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := Listed(without)
		if err != nil || len(listed) == 0 {
			t.Errorf("%q, %v", listed, err)
		}
	})
}

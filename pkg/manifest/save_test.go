package manifest

import (
	"strings"
	"testing"

	"bottle/pkg/policy"
)

func TestARouteIsAddedWhereRoutesAreAndNothingElseChanges(t *testing.T) {
	route := policy.Route{Host: "new.example", Scheme: "https", Port: 443, Paths: []string{"/a:b", "/null"}, Methods: []string{"GET"}}
	for name, front := range map[string]string{
		"block":           "egress: # ways out\n  routes:\n    - host: a.example # mine\n\n    # more\n    - {host: b.example}\n  credentials: {}\n",
		"at the margin":   "egress:\n  routes:\n  - host: a.example\nruntime: auto\n",
		"no routes":       "egress:\n  on_deny: reject\n",
		"no egress":       "# nothing\nenv:\n  A: b\n",
		"an empty matter": "",
	} {
		text := "---\n" + strings.Replace(front, "  on_deny: reject\n", "  credentials: {docs: {scheme: Bearer, token_ref: X, hosts: [d.example]}}\n", 1) + "---\nfree\n---\ntext\n"
		added, diff, err := AddRoute([]byte(text), route)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		gone := string(added)
		for line := range strings.Lines(diff) {
			if !strings.HasPrefix(line, "+") || !strings.Contains(gone, line[1:]) {
				t.Errorf("%s: %q is told and not there", name, line)
			}
			gone = strings.Replace(gone, line[1:], "", 1)
		}
		if gone != text {
			t.Errorf("%s: more than that changed:\n%s", name, added)
		}
	}
}

func TestARouteThatCannotBeAddedIsRefused(t *testing.T) {
	plain := policy.Route{Host: "new.example", Scheme: "https", Port: 443}
	keyed := plain
	keyed.Auth = policy.Auth{Scheme: "Bearer", Credential: "docs"}
	for name, c := range map[string]struct {
		text  string
		route policy.Route
	}{
		"flow style":      {"---\negress: {routes: [{host: a.example}]}\n---\n", plain},
		"no front matter": {"text\n", plain},
		"no end":          {"---\negress:\n", plain},
		"no credential":   {"---\negress:\n  routes:\n  - host: a.example\n---\n", keyed},
		"there already":   {"---\negress:\n  routes:\n  - host: new.example\n---\n", plain},
	} {
		if added, _, err := AddRoute([]byte(c.text), c.route); err == nil {
			t.Errorf("%s:\n%s", name, added)
		}
	}
}

func TestTheCredentialIsTheManifestsOwn(t *testing.T) {
	r := policy.Route{Host: "d.example", Scheme: "https", Port: 443, Auth: policy.Auth{Scheme: "Bearer", Credential: "docs"}}
	text := "---\negress:\n  credentials:\n    docs: {scheme: Bearer, token_ref: 'cmd:pass show docs', hosts: [d.example]}\n  routes:\n  - host: a.example\n---\n"
	added, _, err := AddRoute([]byte(text), r)
	if err == nil && !strings.Contains(string(added), "auth: {scheme: Bearer, token_ref: 'cmd:pass show docs'}") {
		t.Errorf("%s", added)
	}
	if err != nil {
		t.Error(err)
	}
}

func FuzzAddRoute(f *testing.F) {
	f.Add("---\negress:\n  routes:\n  - host: a.example\n---\n", "/a")
	f.Add("---\negress:\n---\n", "/null")
	f.Fuzz(func(t *testing.T, text, path string) {
		r := policy.Route{Host: "new.example", Scheme: "https", Port: 443, Paths: []string{path}}
		if policy.CheckPrefix(path) != nil {
			return
		}
		added, diff, err := AddRoute([]byte(text), r)
		if err == nil && len(added) != len(text)+len(diff)-strings.Count(diff, "\n") {
			t.Errorf("more than %q was added:\n%s", diff, added)
		}
	})
}

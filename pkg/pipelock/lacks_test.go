package pipelock

import (
	"slices"
	"testing"

	"bottle/pkg/policy"
)

// Of a policy that changes under a file, what the file does not give it is told; what
// it gives, or did not give before either, is not.
func TestWhatAFileDoesNotGiveAPolicy(t *testing.T) {
	private, injects, wild := route("db.corp.example.com"), route("api.example.com"), route("*.example.com")
	private.Private = true
	injects.Auth = policy.Auth{Header: "x-key", Credential: "K"}
	one := policy.Policy{Routes: []policy.Route{route("a.example.com")}}
	all := policy.Policy{Routes: []policy.Route{route("a.example.com"), private, injects, wild}}
	file := func(headers ...string) []byte {
		text, err := Render([]string{"a.example.com"}, Options{MaxBody: 1 << 20, Headers: headers})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	scanned := "pipelock scans what egress injects into x-key, and may refuse it: add that to its ignore_headers"
	for name, c := range map[string]struct {
		text          []byte
		before, after policy.Policy
		want          []string
	}{
		"nothing new": {file(), one, one, nil},
		"all new": {file(), one, all, []string{"pipelock's list cannot hold *.example.com: closed there",
			"pipelock leads to a private address only where its ssrf.ip_allowlist has it: add those of db.corp.example.com", scanned}},
		"still scanned":   {file("authorization"), all, all, []string{scanned}},
		"it is exempt":    {file("X-KEY"), all, all, nil},
		"less is allowed": {file("x-key"), all, one, nil},
		"no file":         {[]byte("a: ["), one, all, nil},
		"no such section": {[]byte("mode: strict\napi_allowlist: [a]\n"), all, all, []string{scanned}},
		"another's":       {[]byte("api_allowlist: [a]\nrequest_body_scanning: x\n"), all, all, []string{scanned}},
	} {
		if got := Lacks(c.text, c.before, c.after, now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

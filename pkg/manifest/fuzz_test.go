package manifest

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"bottle/pkg/policy"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever a manifest holds, it is read, or refused in one line that names it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{plainAgent, string(FirstAgent), string(FirstBottle), "---\na: &a [*a]\n---", "---\n? [x]\n: y\n---\n",
		"---\nenv: {A: ${B}, C: !!binary x}\negress: {routes: [{host: a.b}, {host: '*'}]}\n---\n", "\ufeff---\r\n---\r\n", "---\n%YAML 1.1\n---\n",
		"---\nprogram: {command: [a, 1, null]}\nbottle: x\nskills: [a]\n---\n", "---\n<<: *x\n---\n", "---\n- - - -\n---\n",
		"---\negress: {routes: [{host: a.b, path_allowlist: [/x], methods: [get], auth: {header: X-K, token_ref: 'cmd:a b'}, private: true, scheme: http," +
			" port: 81, foreign_credentials: refuse}], credentials: {d: {scheme: Basic, token_ref: 'file:/x', hosts: [a.b]}}}\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, errB := parseBottle("bottles/x.md", data)
		a, errA := parseAgent("agents/x.md", data)
		for _, err := range []error{errA, errB} {
			var mistake *Error
			if err != nil && (!errors.As(err, &mistake) || strings.Contains(err.Error(), "\n")) {
				t.Fatalf("%q", err)
			}
		}
		if errA == nil && (a.bottle == "" || (a.program.Name == "") == (a.program.Command == nil)) {
			t.Fatalf("agent %+v is taken", a)
		}
		if errB != nil {
			return
		}
		for _, v := range p.env {
			if reason(v.Name) != "" || strings.ContainsAny(v.Name, "=\x00") || strings.Contains(v.Literal, "${") {
				t.Fatalf("variable %+v is taken", v)
			}
		}
		for _, r := range p.routes {
			if r.Host == "" || r.Scheme != "https" && r.Scheme != "http" || r.Port == 0 || r.Auth.Set() != r.Ref.Set() {
				t.Fatalf("route %+v is taken", r)
			}
			rendered := policy.Render(policy.Policy{Routes: []policy.Route{r.Route}})
			if back, err := policy.Parse(rendered); err != nil || !back.Routes[0].Equal(r.Route) {
				t.Fatalf("route %+v cannot be read by egress: %v\n%s", r, err, rendered)
			}
		}
	})
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
)

// preflight shows what the operator is about to allow, and asks. It goes to
// stdout with --dry-run, where it is the answer, and else to stderr.
func preflight(ctx context.Context, c *cli.Call, spec lifecycle.Spec) (goOn bool, err error) {
	text, err := summary(spec)
	if err != nil {
		return false, err
	}
	if c.Bool("dry-run") {
		_, err := fmt.Fprint(c.Out, text)
		return false, err
	}
	if shown(c) {
		fmt.Fprint(c.Err, text)
	}
	if c.Bool("yes") {
		return true, nil
	}
	yes, err := c.Confirm(ctx, "start it?")
	if err == nil && !yes {
		return false, cli.Error{Code: cli.Declined, Msg: "not started", Hint: "--dry-run shows this without asking"}
	}
	return yes, err
}

// shown says whether somebody looks on.
func shown(c *cli.Call) bool { return c.CanAsk() || !c.Bool("detach") }

// row is a label and what it stands for.
type row struct {
	label  string
	values []string
}

// summary is the preflight: a label, and one value a line under the first.
func summary(spec lifecycle.Spec) (string, error) {
	m := spec.Manifest
	var env, skills, routes, credentials []string
	for _, v := range m.Env {
		env = append(env, v.Name)
	}
	slices.Sort(env)
	for _, s := range m.Skills {
		skills = append(skills, s.Name)
	}
	for _, c := range m.Credentials {
		credentials = append(credentials, c.Auth.Credential+"  for "+strings.Join(c.Hosts, " ")+"  [auth:"+c.Auth.String()+"]")
	}
	allowed, err := lifecycle.Policy(spec)
	if err != nil {
		return "", err
	}
	warnings := slices.Clone(m.Warnings)
	for _, r := range allowed.Routes {
		routes = append(routes, r.Summary())
		if w := lookalike(r.Host); w != "" && !slices.Contains(warnings, w) {
			warnings = append(warnings, w)
		}
	}
	workspace := "an empty /work"
	switch spec.Workspace {
	case lifecycle.WorkspaceCopy:
		workspace = "a copy of " + spec.Folder
	case lifecycle.WorkspaceMount:
		workspace = spec.Folder + " itself: what the agent writes there is there at once"
	}
	rows := []row{
		{"agent", []string{m.Agent + " (" + spec.Agent.Name() + ")"}},
		{"env", env},
		{"skills", skills},
		{"bottle", []string{m.BottleName}},
		{"workspace", []string{workspace}},
		{"git gate", gate(m.Git)},
		{"egress", routes},
	}
	if allowed.AskTimeout > 0 {
		rows = append(rows, row{"on deny", []string{fmt.Sprintf("ask: what is not allowed waits %s for you", bottle.Span(allowed.AskTimeout))}})
	}
	if p := spec.Way.Proxy; p != nil {
		rows = append(rows, row{"proxy", []string{p.Summary()}})
	}
	if m.Pipelock.Image != "" {
		lines := []string{m.Pipelock.Image}
		if hosts := lifecycle.Passthrough(spec, allowed); len(hosts) > 0 {
			lines = append(lines, "which does not look into "+strings.Join(hosts, " ")+"  [tls_passthrough]")
		}
		rows = append(rows, row{"pipelock", lines})
	}
	if may := m.Model.Summary(); len(may) > 0 {
		rows = append(rows, row{"model may", may})
	}
	if line, more, _ := strings.Cut(spec.Task, "\n"); line != "" {
		if more != "" {
			line += " …"
		}
		rows = append(rows, row{"task", []string{line}})
	}
	if len(credentials) > 0 {
		rows = append(rows, row{"may ask", credentials})
	}
	var b strings.Builder
	for _, r := range rows {
		if len(r.values) == 0 {
			r.values = []string{"-"}
		}
		for i, v := range r.values {
			label := r.label
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(&b, "  %-9s  %s\n", label, cli.Inert(v))
		}
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "  warning    %s\n", cli.Inert(w))
	}
	return b.String(), nil
}

// gate is one line a remote: where what is pushed there goes.
func gate(g manifest.Git) []string {
	var lines []string
	for _, r := range g.Remotes {
		line := r.Name + "  is kept until you fetch it"
		if r.Upstream != "" {
			line = r.Name + "  is " + r.Upstream
		}
		if r.Private {
			line += "  [private]"
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		line := "may push " + strings.Join(g.Push.Refs, " ")
		if g.Push.RequireApproval {
			line += "  [each push needs approval]"
		}
		lines = append(lines, line)
	}
	return lines
}

// lookalike warns of a name that may look like another one's.
func lookalike(host string) string {
	if !strings.Contains("."+host, ".xn--") {
		return ""
	}
	shown, err := idna.ToUnicode(host)
	if err != nil {
		shown = "what no program can show"
	}
	return fmt.Sprintf("%s is %s, with letters that may look like others: be sure that it is the one you mean", host, shown)
}

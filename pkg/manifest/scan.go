package manifest

import (
	"slices"

	"gopkg.in/yaml.v3"

	"bottle/pkg/dlp/ruleids"
	"bottle/pkg/policy"
)

// scan reads what of a route's requests the scanner lets through.
func (f *file) scan(n *yaml.Node) (s policy.Scan, err error) {
	err = f.mapping(n, `"scan"`, map[string]key{
		"allow": {read: func(n *yaml.Node) error {
			return f.list(n, `"allow"`, func(item *yaml.Node) error {
				e, err := f.exception(item)
				if err == nil && slices.Contains(s.Allow, e) {
					err = f.err(item.Line, "this exception is there already")
				}
				s.Allow = append(s.Allow, e)
				return err
			})
		}},
		"oversize": {read: func(n *yaml.Node) error { return checked(f, n, `"oversize"`, &s.Stream, policy.ParseOversize) }},
	})
	return s, err
}

func (f *file) exception(n *yaml.Node) (e policy.Exception, err error) {
	if n.Kind != yaml.MappingNode {
		return e, f.wrong(n, "an exception", "keys and values ({rule: ID, path: /PREFIX})")
	}
	err = f.mapping(n, "an exception", map[string]key{
		"rule": {read: func(n *yaml.Node) error {
			rule, err := f.text(n, `"rule"`)
			if known := ruleids.All(); err == nil && !slices.Contains(known, rule) {
				if best, ok := nearest(rule, known); ok {
					return f.err(n.Line, "there is no rule %q; did you mean %q?", rule, best)
				}
				return f.err(n.Line, "there is no rule %q: a refused request names its rule", rule)
			}
			e.Rule = rule
			return err
		}},
		"path": {read: func(n *yaml.Node) error { return checked(f, n, `"path"`, &e.Path, prefix) }},
	})
	if err == nil && e.Rule == "" {
		err = f.err(n.Line, `an exception needs a "rule": there is none for everything`)
	}
	return e, err
}

// model reads what a model's provider may do for the agent.
func (p *policyFile) readModel(f *file, n *yaml.Node) error {
	return f.mapping(n, `"model"`, map[string]key{
		"server_tools": {read: func(n *yaml.Node) (err error) {
			p.model.ServerTools, err = f.words(n, `"server_tools"`, "a tool", func(s string) (string, error) { return s, policy.CheckServerTool(s) })
			return err
		}},
		"url_sources": {read: func(n *yaml.Node) (err error) { p.model.URLSources, err = f.truth(n, `"url_sources"`); return err }},
	})
}

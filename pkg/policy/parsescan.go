package policy

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

const maxExceptions = 1_000 // of one entry

func parseScan(n *yaml.Node) (s Scan, err error) {
	err = eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "allow":
			s.Allow, err = list(v, key, maxExceptions, func(n *yaml.Node) (e Exception, err error) {
				err = eachKey(n, e.set)
				if err == nil && e.Rule == "" {
					err = fmt.Errorf("line %d: %w", n.Line, errNoRule)
				}
				return e, err
			})
		case "oversize":
			var word string
			if word, err = text(v, key); err == nil {
				s.Stream, err = ParseOversize(word)
			}
		default:
			err = errUnknownKey
		}
		return err
	})
	return s, err
}

// set reads one key of an exception.
func (e *Exception) set(key string, v *yaml.Node) error {
	word, err := text(v, key)
	if err != nil {
		return err
	}
	switch key {
	case "rule":
		e.Rule, err = word, CheckRule(word)
	case "path":
		e.Path, err = word, CheckPrefix(word)
	default:
		err = errUnknownKey
	}
	return err
}

func parseModel(n *yaml.Node) (m Model, err error) {
	err = eachKey(n, func(key string, v *yaml.Node) (err error) {
		switch key {
		case "server_tools":
			m.ServerTools, err = list(v, key, maxMethods, func(n *yaml.Node) (string, error) {
				w, err := text(n, "a tool")
				if err == nil {
					err = CheckServerTool(w)
				}
				return w, err
			})
		case "url_sources":
			m.URLSources, err = truth(v, key)
		default:
			err = errUnknownKey
		}
		return err
	})
	return m, err
}

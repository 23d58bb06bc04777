package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func (f *file) err(line int, format string, args ...any) error {
	return &Error{File: f.name, Line: line, Msg: fmt.Sprintf(format, args...)}
}

// key is one key of a mapping: how its value is read.
type key struct {
	read func(*yaml.Node) error
}

// mapping reads the keys of a mapping; what names it in errors. No node at all,
// and a key with nothing behind it, are an empty mapping.
func (f *file) mapping(n *yaml.Node, what string, keys map[string]key) error {
	return f.pairs(n, what, func(k, value *yaml.Node) error {
		known, ok := keys[k.Value]
		if !ok {
			return f.err(k.Line, "unknown key %q%s", k.Value, suggest(k.Value, slices.Sorted(maps.Keys(keys))))
		}
		return known.read(value)
	})
}

// pairs calls each for all pairs of a mapping, none of them twice.
func (f *file) pairs(n *yaml.Node, what string, each func(k, value *yaml.Node) error) error {
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return f.wrong(n, what, "keys and values")
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return f.wrong(k, "a key of "+what, "a word")
		}
		if line, twice := seen[k.Value]; twice {
			return f.err(k.Line, "%q is there already, in line %d", k.Value, line)
		}
		seen[k.Value] = k.Line
		if err := each(k, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// list calls each for all items of a list; nothing at all is an empty one.
func (f *file) list(n *yaml.Node, what string, each func(*yaml.Node) error) error {
	if n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return f.wrong(n, what, "a list")
	}
	for _, item := range n.Content {
		if err := each(item); err != nil {
			return err
		}
	}
	return nil
}

// text reads a word or a sentence.
func (f *file) text(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return "", f.wrong(n, what, "text")
	}
	if err := f.printable(n, what); err != nil {
		return "", err
	}
	if n.Value == "" {
		return "", f.err(n.Line, "%s is empty", what)
	}
	return n.Value, nil
}

// scalar reads whatever stands there as it was written: YAML's numbers and
// truths are text here.
func (f *file) scalar(n *yaml.Node, what string) (string, error) {
	if n.Kind == yaml.ScalarNode {
		switch n.Tag {
		case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
			return n.Value, f.printable(n, what)
		case "!!null":
			return "", f.err(n.Line, `%s has no value; write "" for an empty one`, what)
		}
	}
	return "", f.wrong(n, what, "one value")
}

// truth reads true or false.
func (f *file) truth(n *yaml.Node, what string) (bool, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		return false, f.wrong(n, what, "true or false")
	}
	return strings.EqualFold(n.Value, "true"), nil
}

// words reads a list of words, each through check.
func (f *file) words(n *yaml.Node, what, one string, check func(string) (string, error)) (list []string, err error) {
	err = f.list(n, what, func(item *yaml.Node) error {
		w, err := f.text(item, one)
		if err != nil {
			return err
		}
		if w, err = check(w); err != nil {
			return f.err(item.Line, "%v", err)
		}
		if slices.Contains(list, w) {
			return f.err(item.Line, "%s is there already", w)
		}
		list = append(list, w)
		return nil
	})
	return list, err
}

// printable refuses NUL, which no environment and no command line can carry.
func (f *file) printable(n *yaml.Node, what string) error {
	if strings.ContainsRune(n.Value, 0) {
		return f.err(n.Line, "%s holds a NUL character", what)
	}
	return nil
}

func (f *file) wrong(n *yaml.Node, what, wanted string) error {
	if n.Kind == yaml.AliasNode {
		return f.err(n.Line, "%s is an alias (*%s): write the value itself", what, n.Value)
	}
	return f.err(n.Line, "%s must be %s, not %s", what, wanted, kind(n))
}

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "a truth value"
	case "!!int", "!!float":
		return "a number"
	case "!!str":
		return "text"
	}
	return n.Tag
}

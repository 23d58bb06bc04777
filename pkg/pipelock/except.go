package pipelock

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// Exception says that what one of pipelock's patterns finds is no secret, in
// requests to a host by https, below a path.
type Exception struct {
	ID      string // of the grant; policy.CheckID
	Pattern string // policy.CheckPattern
	Host    string // canonical
	Path    string // a prefix that ends at a segment
}

const (
	exceptKey = "suppress"
	approved  = "approved as " // begins the reason of an entry that is ours
	maxPath   = 512            // bytes
)

// pathBytes are those of a path that mean themselves in a pattern of pipelock's,
// and in every spelling of a URL.
const pathBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._~-"

// CheckPath says why an exception cannot be below a path; nil where it can.
func CheckPath(path string) error {
	switch {
	case policy.CheckPrefix(path) != nil || len(path) > maxPath:
		return errors.New("pipelock has exceptions for plain paths alone")
	case strings.Trim(path, pathBytes) != "":
		return fmt.Errorf("pipelock has no exception for a path with %q in it", strings.Trim(path, pathBytes)[:1])
	}
	return nil
}

func (e *Exception) check() error {
	switch {
	case policy.CheckID(e.ID) != nil:
		return fmt.Errorf("%q is no grant", e.ID)
	case !Holds(e.Host):
		return fmt.Errorf("pipelock has no exception for the host %q", e.Host)
	}
	if err := policy.CheckPattern(e.Pattern); err != nil {
		return err
	}
	return CheckPath(e.Path)
}

// paths are the entries' paths. Those that end in "/" are the beginnings of URLs.
// Any other would stand for the end of a URL as well, and the agent can end one
// for another host so: the blank, which no URL holds, keeps that from being. The
// last is for a query, as far as there is no "/" in it.
func (e *Exception) paths() []string {
	url := "https://" + e.Host + strings.TrimSuffix(e.Path, "/")
	if e.Path == "/" || strings.HasSuffix(e.Path, "/") {
		return []string{url + "/"}
	}
	whole := "[h ]" + url[1:]
	return []string{url + "/", whole, whole + "[?]*"}
}

// Exceptions are those of pipelock that a policy has in force at a time.
func Exceptions(p policy.Policy, now time.Time) (list []Exception) {
	for i := range p.Grants {
		g := &p.Grants[i]
		if g.Scanner != policy.Pipelock || !g.Live(now) {
			continue
		}
		path := "/"
		if len(g.Paths) > 0 {
			path = g.Paths[0]
		}
		list = append(list, Exception{ID: g.ID, Pattern: g.Rule, Host: g.Host, Path: path})
	}
	return list
}

// except takes out the entries that are ours under an ID, and adds others.
func (d *document) except(add []Exception, ended []string) (changed bool, err error) {
	for _, id := range ended {
		changed = d.dropEntries(approved+id) || changed
	}
	for i := range add {
		e := &add[i]
		if err := e.check(); err != nil {
			return false, err
		}
		for _, path := range e.paths() {
			changed = d.entry(e.Pattern, path, approved+e.ID) || changed
		}
	}
	return changed, nil
}

// entry adds an entry, where it is not there.
func (d *document) entry(pattern, path, reason string) bool {
	list := d.value(exceptKey)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		d.top().Content = append(d.top().Content, word(exceptKey), list)
	}
	for _, n := range list.Content {
		if field(n, "rule") == pattern && field(n, "path") == path && field(n, "reason") == reason {
			return false
		}
	}
	list.Style = 0 // an empty list may be written "[]"
	list.Content = append(list.Content, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map",
		Content: []*yaml.Node{word("rule"), word(pattern), word("path"), word(path), word("reason"), word(reason)}})
	return true
}

// dropEntries takes out the entries that have a reason, and the list with the last
// of them.
func (d *document) dropEntries(reason string) bool {
	list := d.value(exceptKey)
	if list == nil {
		return false
	}
	var kept []*yaml.Node
	for _, n := range list.Content {
		if field(n, "reason") != reason {
			kept = append(kept, n)
		}
	}
	if len(kept) == len(list.Content) {
		return false
	}
	list.Content = kept
	if len(kept) == 0 {
		d.drop(exceptKey)
	}
	return true
}

// drop takes a key out of the file.
func (d *document) drop(key string) {
	top := d.top()
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == key {
			top.Content = append(top.Content[:i:i], top.Content[i+2:]...)
			return
		}
	}
}

// field is the word behind a key of an entry.
func field(n *yaml.Node, key string) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// checkExceptions says what is wrong with the exceptions of a file, which may have
// none.
func checkExceptions(list *yaml.Node) error {
	if list == nil {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: %q must be a list", list.Line, exceptKey)
	}
	for _, n := range list.Content {
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: what stands in %q must be keys and values", n.Line, exceptKey)
		}
		for _, v := range n.Content {
			if v.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: what stands in %q must be words", v.Line, exceptKey)
			}
		}
	}
	return nil
}

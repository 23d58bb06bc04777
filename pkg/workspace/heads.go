package workspace

import (
	"context"
	"fmt"
	"strings"
)

// shallow are the boundaries of all histories.
func (c *capturer) shallow() []string {
	seen, out := map[string]bool{}, []string{}
	for _, k := range c.repos {
		for _, oid := range k.shallow {
			if !seen[oid] {
				seen[oid] = true
				out = append(out, oid)
			}
		}
	}
	return out
}

// boundary is the part of the shallow boundary that the refs end at.
func (c *capturer) boundary(list []ref, thin bool) ([]string, error) {
	all := c.shallow()
	if len(all) == 0 || thin {
		return all, nil
	}
	out, err := c.g.pipe(c.ctx, []byte(wants(list)), "rev-list", "--stdin")
	if err != nil {
		return nil, err
	}
	reached := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		reached[strings.TrimSpace(line)] = true
	}
	var ends []string
	for _, oid := range all {
		if reached[oid] {
			ends = append(ends, oid)
		}
	}
	return ends, nil
}

func wants(list []ref) string {
	var s strings.Builder
	for _, f := range list {
		s.WriteString(f.OID + "\n")
	}
	return s.String()
}

// bounded passes on the first hundred warnings: an agent can cause any number.
func bounded(warn func(string)) func(string) {
	n := 0
	return func(s string) {
		if n++; warn == nil || n > 101 {
			return
		}
		if n == 101 {
			s = "there is more that is not captured"
		}
		warn(s)
	}
}

// whole names every commit that was found and says which refs the bundle gets.
// Commits whose history or files have holes are left out. thin says that the
// holes were there from the start: behind the boundary of a shallow history.
func (c *capturer) whole() (list []ref, thin bool, err error) {
	start, err := c.start()
	if err != nil {
		return nil, false, err
	}
	for _, k := range c.repos {
		prefix := "refs/heads/"
		if k.rel != "." {
			prefix += "sub/" + inertName(k.rel) + "/"
		}
		for _, f := range []ref{{"work", k.head}, {"wip", k.wip}, {"stash", k.stash}} {
			if f.OID != "" {
				list = append(list, ref{c.names.take(prefix+f.Name, f.OID), f.OID})
			}
		}
	}
	for _, k := range c.repos {
		prefix := "refs/heads/"
		if k.rel != "." {
			prefix += "sub/" + inertName(k.rel) + "/"
		}
		for _, name := range sortedKeys(k.branches) {
			own := inertName(strings.TrimPrefix(name, "refs/heads/"))
			list = append(list, ref{c.names.take(prefix+own, k.branches[name]), k.branches[name]})
		}
	}
	if len(list) > 0 { // where there is no work, its start is none
		list = append(list, start...)
	}
	list = unique(list)
	if c.connected(list, nil) == nil {
		return list, false, nil
	}
	if len(c.shallow()) > 0 && c.connected(list, c.shallow()) == nil {
		return list, true, nil
	}
	var sound []ref
	for _, f := range list {
		err := c.connected([]ref{f}, nil)
		if c.ctx.Err() != nil {
			return nil, false, context.Cause(c.ctx)
		}
		if err != nil {
			// Quietly losing the work itself would look like success.
			if isOwn(f.Name) {
				return nil, false, fmt.Errorf("%s is incomplete: %w", f.Name, err)
			}
			c.limits.Warn(strings.TrimPrefix(f.Name, "refs/heads/") + " is left out: its objects are incomplete")
			continue
		}
		sound = append(sound, f)
	}
	return sound, false, nil
}

// connected fails unless all that the refs need is there.
func (c *capturer) connected(list []ref, except []string) error {
	in := wants(list)
	for _, oid := range except {
		in += "^" + oid + "\n"
	}
	return c.g.run(c.ctx, strings.NewReader(in), nil, "rev-list", "--objects", "--quiet", "--stdin")
}

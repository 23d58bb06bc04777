package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mark makes the commit of the outermost repository as it is now, before anybody
// works in it: HEAD where nothing differs from it, else one on top, of what is
// tracked or not ignored. No ref names it. Capture finds it by its ID, which
// nobody can give to another commit.
func (u *unpacker) mark() (string, error) {
	dot := filepath.Join(u.dir, ".git")
	index := filepath.Join(dot, "index-start")
	defer os.Remove(index)
	if data, err := os.ReadFile(filepath.Join(dot, "index")); err == nil {
		if err := os.WriteFile(index, data, 0o600); err != nil {
			return "", err
		}
	}
	g := u.top.with("GIT_INDEX_FILE="+index, "GIT_AUTHOR_NAME=bottle", "GIT_AUTHOR_EMAIL=bottle@localhost",
		"GIT_COMMITTER_NAME=bottle", "GIT_COMMITTER_EMAIL=bottle@localhost").set("core.safecrlf=false", "commit.gpgSign=false")
	out, err := g.out(u.ctx, "ls-files", "--modified", "--others", "--exclude-standard", "-z")
	if err != nil {
		return "", err
	}
	var differ strings.Builder
	for _, p := range zsplit(out) {
		if !strings.HasSuffix(p, "/") { // a repository of its own
			differ.WriteString(p + "\x00")
		}
	}
	if differ.Len() > 0 {
		if err := g.run(u.ctx, strings.NewReader(differ.String()), nil, "update-index", "--add", "--remove", "--replace", "-z", "--stdin"); err != nil {
			return "", err
		}
	}
	tree, err := g.line(u.ctx, "write-tree", "--missing-ok")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", "-m", "The folder as it was", tree}
	if out, err := g.out(u.ctx, "rev-parse", "-q", "HEAD^{commit}", "HEAD^{tree}"); err == nil {
		head := strings.Fields(string(out))
		if len(head) != 2 {
			return "", errors.New("HEAD is not one commit")
		}
		if head[1] == tree {
			return head[0], nil
		}
		args = append(args, "-p", head[0])
	}
	return g.line(u.ctx, args...)
}

// startName is the branch of a bundle that Limits.Start asks for.
const startName = "refs/heads/start"

// start is the ref of the commit that the work began with, where it is still
// there. Its name is taken before the agent's branches take theirs.
func (c *capturer) start() ([]ref, error) {
	oid := c.limits.Start
	if oid == "" {
		return nil, nil
	}
	is, err := c.areCommits(map[string]bool{oid: true})
	if err != nil {
		return nil, err
	}
	f := ref{c.names.take(startName, oid), oid}
	if !is[oid] || c.connected([]ref{f}, c.shallow()) != nil {
		c.limits.Warn("what the work began with is gone from its repository")
		return nil, nil
	}
	return []ref{f}, nil
}

// Bounds of a difference; it is for reading.
const (
	diffTime = 30 * time.Second
	diffSize = 64 << 20
)

// diff writes the difference between what the work began with and what it is, as
// git shows it, without anything that the work's own settings could name.
func (b *bundle) diff(v git, l Limits) error {
	ctx, cancel := context.WithTimeout(b.ctx, diffTime)
	defer cancel()
	from, to := "", ""
	for _, f := range b.refs {
		switch {
		case f.Name == startName && f.OID == l.Start:
			from = f.OID
		case f.Name == "refs/heads/wip":
			to = f.OID
		}
	}
	if to == "" {
		return nil
	}
	if l.Start == "" {
		empty, err := v.line(ctx, "hash-object", "-w", "-t", "tree", os.DevNull)
		if err != nil {
			return err
		}
		from = empty
	}
	if from == "" {
		return errors.New("the commit that it began with is not there")
	}
	return v.set("core.bigFileThreshold=4m", "diff.renames=true", "diff.renameLimit=400", "core.quotePath=true").run(ctx, nil, &limited{w: l.Diff, left: diffSize},
		"diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", from, to)
}

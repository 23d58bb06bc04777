package workspace

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// bundle writes commits as a git bundle, and checks what it wrote.
type bundle struct {
	ctx     context.Context
	g       git
	format  string
	refs    []ref
	head    string // HEAD's commit, as Check reads it
	shallow []string
	thin    bool // the shallow boundary is presumed, not included
	max     int64
}

// write streams the bundle to w. A copy of the stream goes into an empty
// repository in the new directory check, with every object checked as git
// checks what it fetches from strangers.
func (b *bundle) write(w io.Writer, check string) error {
	v, err := b.checker(check)
	if err != nil {
		return err
	}
	out := &limited{w: w, left: b.max}
	if _, err := io.WriteString(out, b.header()); err != nil {
		return err
	}
	f, err := v.feed(b.ctx, b.indexPack()...)
	if err != nil {
		return err
	}
	err = b.g.run(b.ctx, strings.NewReader(b.wants()), io.MultiWriter(out, f),
		"pack-objects", "-q", "--stdout", "--revs", "--delta-base-offset", "--window=0")
	if err != nil {
		f.abandon()
		if out.err != nil {
			return out.err
		}
		return err
	}
	if err := f.close(); err != nil {
		return fmt.Errorf("the bundle does not hold: %w", err)
	}
	return b.complete(v)
}

// indexPack unpacks with git's strictest checks. With a presumed boundary the
// links to what lies behind it cannot be followed.
func (b *bundle) indexPack() []string {
	if b.thin {
		return []string{"index-pack", "--stdin", "--fsck-objects"}
	}
	return []string{"index-pack", "--stdin", "--strict=" + strings.Join(historic, "=ignore,") + "=ignore"}
}

// historic are flaws that many well-known histories have, written by tools of
// their time. They mislead nobody, and no work on top could be captured.
var historic = []string{
	"badDate", "badDateOverflow", "badTimezone", "zeroPaddedDate", "missingSpaceBeforeDate",
	"badName", "badEmail", "missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeEmail", "zeroPaddedFilemode",
}

// complete fails unless the heads are commits with all that belongs to them.
func (b *bundle) complete(v git) error {
	if b.thin {
		return nil
	}
	kinds, err := v.pipe(b.ctx, []byte(b.wants()), "cat-file", "--batch-check=%(objecttype)")
	if err != nil {
		return err
	}
	for kind := range strings.Lines(string(kinds)) {
		if kind != "commit\n" {
			return fmt.Errorf("a head is no commit: %s", strings.TrimSpace(kind))
		}
	}
	err = v.run(b.ctx, strings.NewReader(b.wants()), nil, "rev-list", "--objects", "--quiet", "--stdin")
	if err != nil {
		return fmt.Errorf("the bundle is incomplete: %w", err)
	}
	return nil
}

// checker is an empty repository, with the bundle's boundary.
func (b *bundle) checker(dir string) (git, error) {
	g := b.g.in(filepath.Dir(dir)).with("GIT_DIR=" + dir)
	if err := g.run(b.ctx, nil, nil, "init", "-q", "--bare", "--template=", "--object-format="+b.format); err != nil {
		return g, err
	}
	return g, os.WriteFile(filepath.Join(dir, "shallow"), lines(b.shallow), 0o600)
}

func (b *bundle) wants() string {
	in := wants(b.refs)
	if b.thin {
		for _, oid := range b.shallow {
			in += "^" + oid + "\n"
		}
	}
	return in
}

// header is the text before the pack; git help bundle-format has its grammar.
func (b *bundle) header() string {
	var s strings.Builder
	if b.format == "sha1" {
		s.WriteString("# v2 git bundle\n")
	} else {
		s.WriteString("# v3 git bundle\n@object-format=" + b.format + "\n")
	}
	if b.thin {
		for _, oid := range b.shallow {
			s.WriteString("-" + oid + "\n")
		}
	}
	for _, f := range b.refs {
		if f.Name == "refs/heads/work" || f.Name == "refs/heads/wip" {
			s.WriteString(f.OID + " HEAD\n") // for git clone
			break
		}
	}
	for _, f := range b.refs {
		s.WriteString(f.OID + " " + f.Name + "\n")
	}
	if !b.thin {
		for _, oid := range b.shallow {
			s.WriteString(oid + " refs/shallow/" + oid + "\n")
		}
	}
	s.WriteString("\n")
	return s.String()
}

// limited fails where more is written than it lets through.
type limited struct {
	w    io.Writer
	left int64
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		l.err = fmt.Errorf("the bundle: %w", ErrTooMuch)
		return 0, l.err
	}
	n, err := l.w.Write(p)
	if err != nil {
		l.err = err
	}
	return n, err
}

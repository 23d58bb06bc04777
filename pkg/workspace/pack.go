package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"unicode/utf8"
)

// Options say how a folder is packed.
type Options struct {
	Warn func(string) // told what cannot come along, one line each; may be nil
	// Remotes are addresses by the names of remotes: the outermost repository has
	// these there, in the place of its own.
	Remotes map[string]string
	// InPlace leaves the files out: Unpack has them already. It is for what
	// Mountable took.
	InPlace bool
}

// Pack streams the operator's folder dir to w, for Unpack. It runs nothing that the folder's
// files, hooks or filters name, touches no network and changes nothing.
func Pack(ctx context.Context, dir string, w io.Writer, o Options) (Info, error) {
	info, err := Inspect(ctx, dir)
	if err != nil {
		return Info{}, err
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	tw := tar.NewWriter(w)
	p := &packer{ctx: ctx, tw: tw, warn: o.Warn, remotes: o.Remotes, inPlace: o.InPlace, info: info, buf: make([]byte, copySize)}
	if err := p.all(); err != nil {
		return Info{}, fmt.Errorf("cannot copy %s: %w", info.Root, err)
	}
	return p.info, nil
}

type packer struct {
	ctx  context.Context
	tw   *tar.Writer
	warn func(string)
	info Info
	buf  []byte // for files' contents

	remotes map[string]string
	inPlace bool
}

func (p *packer) all() error {
	if err := writeJSON(p.tw, "workspace.json", head{Version: version, Subdir: p.info.Subdir, InPlace: p.inPlace}); err != nil {
		return err
	}
	section := p.plain
	if p.info.Git {
		section = p.repo
	}
	if err := section(""); err != nil {
		return err
	}
	if err := writeEntry(p.tw, "end", nil); err != nil {
		return err
	}
	return p.tw.Close()
}

// nested sends repositories below the one at base, by their paths within it.
func (p *packer) nested(base string, paths []string) error {
	for _, sub := range paths {
		rel := path.Join(base, sub)
		if err := p.isRepo(rel); err != nil {
			if p.ctx.Err() != nil {
				return context.Cause(p.ctx)
			}
			p.warn(fmt.Sprintf("%q stays behind: %v", rel, err))
			continue
		}
		if err := p.repo(rel); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	}
	return nil
}

var errNoRepo = errors.New("it has a .git that is no repository with files")

// isRepo fails where the folder at rel is not the top of a repository that can
// be carried.
func (p *packer) isRepo(rel string) error {
	if !utf8.ValidString(rel) {
		return errors.New("a repository's path must be UTF-8")
	}
	if err := checkPath(rel); err != nil {
		return err
	}
	abs := filepath.Join(p.info.Root, rel)
	g := trusted(abs)
	top, err := g.line(p.ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return fmt.Errorf("%w (%w)", errNoRepo, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err != nil || top != real {
		return errNoRepo
	}
	return belongs(p.ctx, g, top, p.info.Root)
}

// repo sends the repository at rel, and those inside it.
func (p *packer) repo(rel string) error {
	s := &source{ctx: p.ctx, g: trusted(filepath.Join(p.info.Root, rel)), warn: p.warn}
	r, err := s.read(rel)
	if err != nil {
		return err
	}
	if rel == "" {
		r.Config = redirect(r.Config, p.remotes)
	}
	if err := writeJSON(p.tw, "repo.json", r); err != nil {
		return err
	}
	p.info.Repos++
	if err := p.objects(s, r); err != nil {
		return err
	}
	inner, err := p.tree(s, rel)
	if err != nil {
		return err
	}
	if err := p.index(s); err != nil || p.inPlace {
		return err
	}
	return p.nested(rel, inner)
}

// objects sends what refs, HEAD and index name, as one git pack.
func (p *packer) objects(s *source, r *repo) error {
	var args []string
	list := &bytes.Buffer{}
	if s.partial {
		if err := s.present(r, list); err != nil {
			return err
		}
	} else {
		args = []string{"--revs"}
		for _, oid := range s.wants(r) {
			fmt.Fprintln(list, oid)
		}
	}
	if list.Len() == 0 {
		return nil
	}
	out := &chunks{tw: p.tw, name: "pack"}
	if err := s.g.packed(p.ctx, list, out, args...); err != nil {
		return fmt.Errorf("cannot read the repository's objects: %w", err)
	}
	return out.flush()
}

// packed writes the objects of a list as a pack. What is packed already is sent
// as it is; the rest is not worth much time.
func (g git) packed(ctx context.Context, list io.Reader, w io.Writer, args ...string) error {
	args = append([]string{"pack-objects", "-q", "--stdout", "--delta-base-offset", "--window=0"}, args...)
	return g.set("pack.compression=1").run(ctx, list, w, args...)
}

// index sends the staged state. It follows the files, so that the other side
// can compare the two.
func (p *packer) index(s *source) error {
	entries := &chunks{tw: p.tw, name: "index"}
	for _, e := range s.index {
		if _, added := s.added[e.path]; !added {
			fmt.Fprintf(entries, "%s %s %d\t%s\x00", e.mode, e.oid, e.stage, e.path)
		}
	}
	if err := entries.flush(); err != nil {
		return err
	}
	for _, flag := range []struct {
		name string
		has  func(e indexEntry, added, there bool) bool
	}{
		{"skip-worktree", func(e indexEntry, added, _ bool) bool { return e.skip && !added }},
		{"assume-unchanged", func(e indexEntry, added, _ bool) bool { return e.assume && !added }},
		{"intent-to-add", func(_ indexEntry, _, there bool) bool { return there }},
	} {
		paths := &chunks{tw: p.tw, name: flag.name}
		for _, e := range s.index {
			there, added := s.added[e.path]
			if flag.has(e, added, there) {
				fmt.Fprintf(paths, "%s\x00", e.path)
			}
		}
		if err := paths.flush(); err != nil {
			return err
		}
	}
	return nil
}

// plain sends a folder that is no repository: all its files, and the
// repositories somewhere below as such, never their .git as files.
func (p *packer) plain(string) error {
	g := trusted(p.info.Root)
	r := &repo{Plain: true, Format: "sha1", Branch: "refs/heads/main"}
	if list, err := g.out(p.ctx, "config", "-z", "--list"); err == nil {
		r.Config = choose(list, p.warn)
	}
	for _, c := range r.Config {
		if c.Key == "init.defaultbranch" && validRef("refs/heads/"+c.Value) {
			r.Branch = "refs/heads/" + c.Value
		}
	}
	r.Config = redirect(r.Config, p.remotes)
	if err := writeJSON(p.tw, "repo.json", r); err != nil {
		return err
	}
	inner, err := p.walk()
	if err != nil {
		return err
	}
	return p.nested("", inner)
}

// walk sends all files and directories, and returns where repositories are.
func (p *packer) walk() (inner []string, err error) {
	t, err := openTree(p.info.Root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	err = filepath.WalkDir(p.info.Root, func(name string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.info.Root, name)
		rel = filepath.ToSlash(rel)
		switch {
		case p.ctx.Err() != nil:
			return context.Cause(p.ctx)
		case errors.Is(err, os.ErrNotExist):
			p.warn(fmt.Sprintf("%q vanished while it was copied", rel))
			return nil
		case err != nil:
			return fmt.Errorf("cannot read %s: %w", rel, errors.Unwrap(err))
		case rel == ".":
			return nil
		case checkPath(rel) != nil:
			p.warn(fmt.Sprintf("%q stays behind: no file in a repository may have that name", rel))
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !d.IsDir():
			return p.file(t, rel, false)
		}
		if has(t, path.Join(rel, ".git")) {
			switch err := p.isRepo(rel); {
			case err == nil:
				inner = append(inner, rel)
				return filepath.SkipDir
			case !errors.Is(err, errNoRepo):
				p.warn(fmt.Sprintf("%q stays behind: %v", rel, err))
				return filepath.SkipDir
			}
		}
		return p.directory(rel)
	})
	return inner, err
}

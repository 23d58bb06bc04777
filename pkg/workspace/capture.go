package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrNothing is returned where there is no work: no commit and no file.
var ErrNothing = errors.New("there is nothing to capture")

// ErrTooMuch is wrapped by the error for work beyond the limits.
var ErrTooMuch = errors.New("the work is larger than the limit")

// Limits bound a capture; its time is the context's.
type Limits struct {
	Bytes int64        // of uncommitted files, and of the bundle; 0: 8 GiB
	Files int          // files and directories looked at; 0: 2 million
	Temp  string       // where scratch space is made, about twice the bundle; "": the system's
	Warn  func(string) // told what could not be captured, one line each; may be nil
	// Start is the commit that the work began with, as UnpackMarked gave it: a
	// capture adds it as a branch, start. Empty: it began with nothing.
	Start string
	Diff  io.Writer // of a check: where the difference from Start goes; nil: nowhere
}

const defaultBytes = 8 << 30

// Capture writes the work in dir to w as a git bundle (see the package's
// comment). Everything in dir is hostile: its .git is read as data, by a
// repository of Capture's own, so that no hook, filter, alternate, include or
// command in its configuration counts. What stands in w is a checked bundle if
// and only if the error is nil. dir itself is not changed, and nothing may
// change it meanwhile.
func Capture(ctx context.Context, dir string, w io.Writer, l Limits) error {
	err := capture(ctx, dir, w, l)
	if err != nil && !errors.Is(err, ErrNothing) {
		return fmt.Errorf("cannot capture the work: %w", err)
	}
	return err
}

func capture(ctx context.Context, dir string, w io.Writer, l Limits) error {
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	if l.Files == 0 {
		l.Files = 2_000_000
	}
	l.Warn = bounded(l.Warn)
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(l.Temp, "capture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	t, err := openTree(dir)
	if err != nil {
		return err
	}
	defer t.close()
	c := &capturer{ctx: ctx, dir: dir, tree: t, limits: l, scratch: scratch, names: &names{taken: map[string]string{}}, odd: map[string]bool{}}
	return c.all(w)
}

type capturer struct {
	ctx     context.Context
	dir     string
	tree    *tree
	limits  Limits
	scratch string
	g       git    // a repository of our own in scratch, with the work's objects
	format  string // sha1 or sha256
	names   *names
	repos   []*work
	bytes   int64           // of files taken
	entries int             // files and directories looked at
	traps   bool            // something would mislead git's search for files: see survey
	odd     map[string]bool // directories that .git files lead to: whether there is such a thing in them
}

// work is one repository in the workspace: the outermost, or one inside.
type work struct {
	rel      string // "." for the outermost
	store    store
	branches map[string]string // refs/heads/… → object ID of a commit
	head     string            // a commit; "" if there is none
	stash    string
	base     string // the commit that the workspace began with, if known
	shallow  []string
	wip      string
}

func (c *capturer) all(w io.Writer) error {
	if err := c.survey(); err != nil {
		return err
	}
	top, err := c.open(".")
	if err != nil {
		return err
	}
	c.format = top.store.format()
	if err := c.prepare(); err != nil {
		return err
	}
	// Repositories that are found inside join the end of the list.
	c.repos = []*work{top}
	for i := 0; i < len(c.repos); i++ {
		if err := c.one(c.repos[i]); err != nil {
			return err
		}
	}
	list, thin, err := c.whole()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return ErrNothing
	}
	boundary, err := c.boundary(list, thin)
	if err != nil {
		return err
	}
	b := &bundle{ctx: c.ctx, g: c.g, format: c.format, refs: list, shallow: boundary, thin: thin, max: c.limits.Bytes}
	return b.write(w, filepath.Join(c.scratch, "check"))
}

// one reads one repository and makes its snapshot.
func (c *capturer) one(k *work) error {
	if err := c.addObjects(k.store); err != nil {
		return err
	}
	if err := c.commits(k); err != nil {
		return err
	}
	return c.snapshot(k)
}

// open reads what .git says at rel. A .git that is broken, or leads out of the
// workspace, counts as none: then the files are all there is.
func (c *capturer) open(rel string) (*work, error) {
	k := &work{rel: rel}
	found, err := c.find(rel)
	if err != nil {
		return nil, err
	}
	k.store = found
	return k, nil
}

// isolated is what counts in place of all configuration of the work.
var isolated = []string{
	"core.attributesFile=/dev/null", "core.excludesFile=/dev/null", "core.bare=false", "core.commitGraph=false",
	"core.multiPackIndex=false", "core.safecrlf=false", "core.autocrlf=false", "core.logAllRefUpdates=false",
	"core.preloadIndex=false", "core.splitIndex=false", "index.sparse=false", "commit.gpgSign=false",
	"pack.threads=1", "pack.writeBitmapHashCache=false", "pack.useBitmaps=false", "submodule.recurse=false",
	"diff.ignoreSubmodules=all", "status.submoduleSummary=false", "protocol.allow=never",
	"user.name=bottle", "user.email=bottle@localhost",
}

// prepare makes the repository that everything is read with.
func (c *capturer) prepare() error {
	repo := filepath.Join(c.scratch, "repo")
	g := isolate(c.scratch)
	if err := g.run(c.ctx, nil, nil, "init", "-q", "--bare", "--template=", "--object-format="+c.format, repo); err != nil {
		return err
	}
	c.g = g.with("GIT_DIR=" + repo)
	return os.MkdirAll(filepath.Join(repo, "info"), 0o700)
}

// isolate is git with no configuration but ours, at home in scratch.
func isolate(scratch string) git {
	env := append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "XDG_CONFIG_HOME=" + scratch, "TMPDIR=" + scratch,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		// git streams large files; what it must hold in memory and is larger is
		// somebody's trap, such as a delta that unfolds to a thousand times its size.
		"GIT_ALLOC_LIMIT=2g",
	}, fixedEnv...)
	return git{dir: scratch, env: env, args: quiet}.set(isolated...)
}

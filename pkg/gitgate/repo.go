package gitgate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"bottle/pkg/bottle"
)

// repo is a repository that the gate has under a name.
type repo struct {
	name   string
	dir    string
	format string
	git    git

	mu    sync.Mutex  // held by a push that is past its scan, and by a refresh
	stale atomic.Bool // the last refresh failed: what is here may be old

	turns   atomic.Int64            // pushes that upstream was asked to take
	waiting atomic.Pointer[reached] // an upstream that was asked for a client who may push

	seeded atomic.Bool // it has what the operator's folder had, where that could be had
}

// quarantines is the directory, in a repository, of what has not passed yet.
const quarantines = "quarantine"

// openRepo opens the repository of a remote below dir, and makes it where it is
// not there yet. What a process that died had in quarantine goes, and its locks.
func openRepo(ctx context.Context, dir, name string, conf bottle.Gate) (*repo, error) {
	r := &repo{name: name, dir: filepath.Join(dir, name+".git"), format: formatSHA1}
	if conf.Format == formatSHA256 && conf.Remotes[name].Upstream == "" {
		r.format = formatSHA256
	}
	r.git = gitIn(r.dir)
	if err := r.make(ctx, conf); err != nil {
		return nil, fmt.Errorf("cannot make the repository of %s: %w", name, err)
	}
	if err := r.unlock(); err != nil {
		return nil, fmt.Errorf("cannot remove the locks of %s: %w", name, err)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, quarantines)); err != nil {
		return nil, fmt.Errorf("cannot clear the quarantine of %s: %w", name, err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, quarantines), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the quarantine of %s: %w", name, err)
	}
	return r, nil
}

// layout is what git needs to see a repository; written by hand it costs no
// process at the start.
var layout = []string{"objects/pack", "objects/info", "refs/heads", "refs/tags"}

func (r *repo) make(ctx context.Context, conf bottle.Gate) error {
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if r.format == formatSHA256 {
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
	}
	config += "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n[transfer]\n\tunpackLimit = 1\n"
	for _, d := range layout {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			return err
		}
	}
	branch := conf.Branch
	if !strings.HasPrefix(branch, "refs/heads/") || !validRef(branch) {
		branch = "refs/heads/main"
	}
	files := map[string]string{"config": config}
	if _, err := os.Stat(filepath.Join(r.dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		files["HEAD"] = "ref: " + branch + "\n"
	}
	if conf.Remotes[r.name].Upstream == "" && len(conf.Shallow) > 0 {
		files["shallow"] = strings.Join(conf.Shallow, "\n") + "\n"
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// unlock removes the locks that a git has left which died with the gate: they would
// refuse every push from then on. No ref's name ends so.
func (r *repo) unlock() error {
	return filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == filepath.Join(r.dir, "objects"), path == filepath.Join(r.dir, quarantines):
			return fs.SkipDir
		case strings.HasSuffix(path, ".lock") && !e.IsDir():
			return os.Remove(path)
		}
		return nil
	})
}

// newQuarantine makes a directory for what one push brings.
func (r *repo) newQuarantine() (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(r.dir, quarantines), "push-")
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(dir, "pack"), 0o700); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// withoutSync is for a git that need not wait for the disk: see keep.
var withoutSync = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.fsync", "GIT_CONFIG_VALUE_0=none"}

// keep returns when what is in a quarantine has reached the disk.
func keep(quarantine string) error {
	files, err := filepath.Glob(filepath.Join(quarantine, "pack", "pack-*"))
	for _, name := range files {
		f, opened := os.Open(name)
		if opened != nil {
			return opened
		}
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return err
}

// admit has the packs of a quarantine join the repository. The index is last:
// until then git does not see the pack.
func (r *repo) admit(quarantine string) error {
	from, to := filepath.Join(quarantine, "pack"), filepath.Join(r.dir, "objects", "pack")
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, last := range []bool{false, true} {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".idx") != last || !strings.HasPrefix(e.Name(), "pack-") {
				continue
			}
			if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// refs are the repository's branches and tags.
func (r *repo) refs(ctx context.Context) (map[string]string, error) {
	list, err := r.git.out(ctx, "", "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for line := range strings.Lines(list) {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		ids[name] = id
	}
	return ids, nil
}

// point has HEAD point where upstream's does, where it leads to nothing else.
func (r *repo) point(ctx context.Context, head string, refs map[string]string) error {
	now, err := os.ReadFile(filepath.Join(r.dir, "HEAD"))
	if err != nil {
		return err
	}
	if _, leads := refs[strings.TrimSpace(strings.TrimPrefix(string(now), "ref: "))]; leads || refs[head] == "" || !strings.HasPrefix(head, "refs/heads/") || !validRef(head) {
		return nil
	}
	_, err = r.git.out(ctx, "", "symbolic-ref", "HEAD", head)
	return err
}

// update sets refs, all of them or none, each only where it is what it was. What
// upstream has taken is so, whatever was here.
func (r *repo) update(ctx context.Context, commands []*command, taken bool) error {
	var in strings.Builder
	in.WriteString("start\n")
	for _, c := range commands {
		old := " " + c.Old
		if taken {
			old = ""
		}
		fmt.Fprintf(&in, "update %s %s%s\n", c.Ref, c.New, old)
	}
	in.WriteString("prepare\ncommit\n")
	_, err := r.git.out(ctx, in.String(), "update-ref", "--stdin")
	return err
}

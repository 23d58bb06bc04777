// Package npm fetches one npm package, or one file of it, with the host's own npm, so
// that the operator's registry, proxy and credentials hold, and npm checks what
// it got. It installs nothing and runs no script of a package's.
package npm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	slash "path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Errors that callers act on.
var (
	// ErrUnavailable: there is no npm on this host, or its registry does not answer.
	ErrUnavailable = errors.New("npm cannot be used")
	// ErrNoVersion: the registry answers, and has no such package or version.
	ErrNoVersion = errors.New("no such package or version")
)

// lookup bounds the question which version there is: it decides whether npm can
// be used at all.
const lookup = 25 * time.Second

// Exact versions and plain names only: npm would take URLs, git repositories
// and folders in the same place.
var (
	exact = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`) })
	plain = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*$`) })
)

// CheckVersion says what is wrong with a version.
func CheckVersion(v string) error {
	if len(v) > 64 || !exact().MatchString(v) {
		return fmt.Errorf("%q is not an exact version such as 1.2.3", v)
	}
	return nil
}

// Wanted is one file of one version of a package.
type Wanted struct {
	Package string // such as @scope/name
	Version string // exact; empty: the newest
	Suffix  string // of the version that was made for this machine, such as -linux-x64
	File    string // as the package's archive names it, such as package/tool; empty: the archive
}

// Fetch returns the path in cacheDir of the file that is wanted, and the version
// it has, without the suffix. A version that is there already is not asked for
// again, and once there a file is never changed. npm gets env besides its own
// environment, and its words go to log. The errors are ErrUnavailable, ErrNoVersion and those of the disk, each in one line.
func Fetch(ctx context.Context, w Wanted, cacheDir string, env []string, log io.Writer) (path, version string, err error) {
	if !plain().MatchString(w.Package) {
		return "", "", fmt.Errorf("cannot fetch %q: it is not a package's name", w.Package)
	}
	if w.Version != "" {
		if err := CheckVersion(w.Version); err != nil {
			return "", "", fmt.Errorf("cannot fetch %s: %w", w.Package, err)
		}
		if path = w.cached(cacheDir); exists(path) {
			return path, w.Version, nil
		}
	}
	if err := os.MkdirAll(cacheDir, 0o700); err != nil {
		return "", "", fmt.Errorf("cannot make the cache for npm packages: %w", err)
	}
	sweep(cacheDir)
	// A folder of its own: the operator's folder may hold an .npmrc of an agent's making.
	dir, err := os.MkdirTemp(cacheDir, tempPrefix)
	if err != nil {
		return "", "", fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	n := npm{dir: dir, env: env, log: log}
	if w.Version, err = n.version(ctx, w.Package, w.Version); err != nil {
		return "", "", err
	}
	if path = w.cached(cacheDir); exists(path) {
		return path, w.Version, nil
	}
	archive, err := n.pack(ctx, w.Package+"@"+w.Version+w.Suffix)
	if err != nil {
		return "", "", err
	}
	if w.File == "" {
		err = os.Rename(archive, path)
	} else {
		err = unpack(archive, w.File, path, dir)
	}
	if err != nil {
		return "", "", fmt.Errorf("cannot unpack %s@%s: %w", w.Package, w.Version, err)
	}
	return path, w.Version, nil
}

const tempPrefix = "fetch-"

// abandoned is how old a temporary folder is that no fetch can be using.
const abandoned = 24 * time.Hour

// sweep removes what killed fetches left, hundreds of megabytes each.
func sweep(cacheDir string) {
	left, _ := filepath.Glob(filepath.Join(cacheDir, tempPrefix+"*"))
	for _, dir := range left {
		if fi, err := os.Lstat(dir); err == nil && time.Since(fi.ModTime()) > abandoned {
			os.RemoveAll(dir)
		}
	}
}

// cached is where the file is kept.
func (w Wanted) cached(cacheDir string) string {
	name := strings.ReplaceAll(strings.TrimPrefix(w.Package, "@"), "/", "+")
	file := ".tgz"
	if w.File != "" {
		file = "+" + slash.Base(w.File)
	}
	return filepath.Join(cacheDir, name+"@"+w.Version+w.Suffix+file)
}

func exists(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode().IsRegular()
}

// npm runs the host's npm in a folder.
type npm struct {
	dir string
	env []string
	log io.Writer
}

func (n npm) version(ctx context.Context, pkg, wanted string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	if wanted == "" {
		wanted = "latest"
	}
	out, err := n.run(ctx, "view", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=10000", pkg+"@"+wanted, "version")
	if err != nil {
		return "", fmt.Errorf("cannot look up %s: %w", pkg, err)
	}
	var version string
	if err := json.Unmarshal(out, &version); err != nil || exact().FindString(version) == "" {
		return "", fmt.Errorf("cannot look up %s@%s: %w", pkg, wanted, ErrNoVersion)
	}
	return version, nil
}

// pack downloads a package's archive; npm checks its integrity.
func (n npm) pack(ctx context.Context, spec string) (string, error) {
	out, err := n.run(ctx, "pack", "--pack-destination", n.dir, spec)
	if err != nil {
		return "", fmt.Errorf("cannot download %s: %w", spec, err)
	}
	var packed []struct{ Filename string }
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		return "", fmt.Errorf("cannot download %s: npm's answer is not understood", spec)
	}
	// Some versions of npm name @scope/name-1.tgz here, and write scope-name-1.tgz.
	archives, err := filepath.Glob(filepath.Join(n.dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("cannot download %s: npm wrote no archive", spec)
	}
	return archives[0], nil
}

// run returns what npm prints as JSON.
func (n npm) run(ctx context.Context, args ...string) ([]byte, error) {
	program, err := exec.LookPath("npm")
	if err != nil {
		return nil, fmt.Errorf("%w: it is not installed", ErrUnavailable)
	}
	cmd := exec.CommandContext(ctx, program, append(args, "--json", "--ignore-scripts", "--no-update-notifier")...)
	cmd.Dir, cmd.Env = n.dir, append(os.Environ(), n.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, n.log
	// npm's own children may hold the pipes open after it was killed.
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, fmt.Errorf("%w: its registry does not answer", ErrUnavailable)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, n.explain(out.Bytes(), err)
	}
	return out.Bytes(), nil
}

// explain reads the error that npm prints as JSON.
func (n npm) explain(out []byte, err error) error {
	var said struct {
		Error struct{ Code, Summary string }
	}
	if json.Unmarshal(out, &said) != nil || said.Error.Code == "" {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	reason, _, _ := strings.Cut(strings.TrimSpace(said.Error.Summary), "\n")
	switch said.Error.Code {
	case "E404", "ETARGET", "ENOVERSIONS":
		return fmt.Errorf("%w (%s)", ErrNoVersion, said.Error.Code)
	}
	return fmt.Errorf("%w: %s: %s", ErrUnavailable, said.Error.Code, reason)
}

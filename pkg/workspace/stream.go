package workspace

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const version = 1

// chunkSize bounds an entry of the repeated kinds, so that neither side holds
// more than that in memory. maxHeader bounds repo.json.
const (
	chunkSize = 1 << 20
	maxHeader = 64 << 20
	maxPath   = 4000 // bytes; PATH_MAX less a prefix
)

// kinds are the entries of a section in the order they must come in.
var kinds = map[string]int{
	"repo.json": 0, "pack": 1, "tree": 2, "index": 3,
	"skip-worktree": 4, "assume-unchanged": 5, "intent-to-add": 6,
}

// head is workspace.json.
type head struct {
	Version int    `json:"version"`
	Subdir  string `json:"subdir"` // slash-separated; "" for the top
	// InPlace says that the files are there: no tree entries come, and an empty
	// .git waits.
	InPlace bool `json:"in_place,omitempty"`
}

// repo is repo.json: one repository, but for its objects, files and index.
type repo struct {
	Path       string            `json:"path"`     // below the workspace; "" for the outermost
	Plain      bool              `json:"plain"`    // no repository on the host: make one, with a first commit
	Format     string            `json:"format"`   // sha1 or sha256
	Branch     string            `json:"branch"`   // refs/heads/…; "" where HEAD is detached
	Head       string            `json:"head"`     // object ID; "" before the first commit
	Switched   *ref              `json:"switched"` // of a detached HEAD: what the reflog says of its checkout
	Refs       []ref             `json:"refs"`
	Shallow    []string          `json:"shallow"` // object IDs
	Config     []setting         `json:"config"`
	Exclude    []byte            `json:"exclude"`    // info/exclude
	Sparse     []byte            `json:"sparse"`     // info/sparse-checkout
	Attributes []byte            `json:"attributes"` // info/attributes
	State      map[string][]byte `json:"state"`      // MERGE_HEAD and the like
}

type ref struct {
	Name string `json:"name"`
	OID  string `json:"oid"`
}

type setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// switching begins what a reflog says of a checkout. git status reads it to
// say where HEAD was detached.
const switching = "checkout: moving from "

// isSwitch says whether it is what a reflog says of a checkout.
func (f ref) isSwitch() bool {
	return strings.HasPrefix(f.Name, switching) && strings.IndexFunc(f.Name, unicode.IsControl) < 0 && utf8.ValidString(f.Name) && isOID(f.OID)
}

// stateFiles say that a merge, cherry-pick or revert is under way.
var stateFiles = []string{"MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "CHERRY_PICK_HEAD", "REVERT_HEAD"}

func (r *repo) check() error {
	if r.Path != "" {
		if err := checkPath(r.Path); err != nil {
			return err
		}
	}
	if r.Format != "sha1" && r.Format != "sha256" {
		return fmt.Errorf("unknown object format %q", r.Format)
	}
	if r.Branch != "" && (!strings.HasPrefix(r.Branch, "refs/heads/") || !validRef(r.Branch)) {
		return fmt.Errorf("%q is no branch", r.Branch)
	}
	if r.Head != "" && !isOID(r.Head) || r.Head == "" && r.Branch == "" {
		return errors.New("HEAD names nothing")
	}
	for _, f := range r.Refs {
		if !validRef(f.Name) || !isOID(f.OID) {
			return fmt.Errorf("%q is no ref", f.Name)
		}
	}
	for _, o := range r.Shallow {
		if !isOID(o) {
			return fmt.Errorf("%q is no object ID", o)
		}
	}
	for _, c := range r.Config {
		if !allowed(c) {
			return fmt.Errorf("setting %q is not carried", c.Key)
		}
	}
	if s := r.Switched; s != nil && !s.isSwitch() {
		return fmt.Errorf("%q is no checkout", s.Name)
	}
	for name := range r.State {
		if !contains(stateFiles, name) {
			return fmt.Errorf("%q is not carried", name)
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// checkPath refuses what must not be a path of a working tree: anything that
// leads out of it, or into a .git as some file system may see it.
func checkPath(p string) error {
	if p == "" || len(p) > maxPath || strings.ContainsRune(p, 0) || path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("%q is not a path below the workspace", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." || isDotGit(part) {
			return fmt.Errorf("%q is not a path below the workspace", p)
		}
	}
	return nil
}

// isDotGit says whether a name means .git on Linux, macOS (which ignores some
// code points) or Windows (trailing dots and spaces, streams, short names).
func isDotGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	name, _, _ = strings.Cut(name, ":")
	name, _, _ = strings.Cut(name, "\\")
	name = strings.TrimRight(name, " .")
	return name == ".git" || name == "git~1"
}

func isOID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// validRef is git's own rule for the names of refs, below refs/.
func validRef(name string) bool {
	if !strings.HasPrefix(name, "refs/") || strings.HasSuffix(name, ".") || len(name) > 1000 ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.ContainsAny(name, " ~^:?*[\\\x7f") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return strings.IndexFunc(name, func(r rune) bool { return r < ' ' }) < 0
}

// writeEntry writes one small entry.
func writeEntry(tw *tar.Writer, name string, data []byte) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(data))}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

func writeJSON(tw *tar.Writer, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxHeader {
		return fmt.Errorf("%s would be %d bytes long", name, len(data))
	}
	return writeEntry(tw, name, data)
}

// chunks cuts what is written to it into entries of one name.
type chunks struct {
	tw   *tar.Writer
	name string
	buf  []byte
}

func (c *chunks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(chunkSize-len(c.buf), len(p))
		c.buf = append(c.buf, p[:k]...)
		p = p[k:]
		if len(c.buf) == chunkSize {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (c *chunks) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	err := writeEntry(c.tw, c.name, c.buf)
	c.buf = c.buf[:0]
	return err
}

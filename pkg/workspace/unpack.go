package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrTruncated is returned for a stream that ends too early.
var ErrTruncated = errors.New("the stream was cut off")

// Unpack builds in dir, which must be empty (of a stream without files: its .git),
// what Pack streamed. It believes
// nothing of the stream that would lead out of dir, and needs git. On an error
// dir holds some part of the workspace.
func Unpack(ctx context.Context, r io.Reader, dir string) error {
	_, err := unpack(ctx, r, dir, false)
	return err
}

// UnpackMarked is Unpack, and returns the ID of a commit of the outermost
// repository as it then is, with what is not committed; empty where git cannot
// make one.
func UnpackMarked(ctx context.Context, r io.Reader, dir string) (start string, err error) {
	return unpack(ctx, r, dir, true)
}

func unpack(ctx context.Context, r io.Reader, dir string, marked bool) (start string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot unpack the workspace: %w", err)
		}
	}()
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, tr: tar.NewReader(r), dir: dir, files: newFiles(root), past: map[string]bool{}}
	defer u.abandon()
	if err := u.all(); err != nil || !marked {
		return "", err
	}
	if start, err = u.mark(); err != nil {
		return "", context.Cause(ctx) // a workspace is one without that, too
	}
	return start, nil
}

type unpacker struct {
	ctx   context.Context
	tr    *tar.Reader
	dir   string
	files *files
	past  map[string]bool // sections seen
	top   git             // of the outermost section

	inPlace bool // the files are there

	// of the section that is being read:
	repo    *repo
	g       git
	kind    string
	feed    *feed // the git that takes entries of that kind
	indexed bool
}

func (u *unpacker) all() error {
	h, err := u.next()
	if err != nil {
		return err
	}
	var top head
	if h.Name != "workspace.json" {
		return fmt.Errorf("it begins with %q", h.Name)
	}
	if err := u.json(h, &top); err != nil {
		return err
	}
	if top.Version != version {
		return fmt.Errorf("its version is %d, and this program knows %d: use programs of one release", top.Version, version)
	}
	u.inPlace = top.InPlace
	if err := u.empty(); err != nil {
		return err
	}
	for {
		h, err := u.next()
		if err != nil {
			return err
		}
		if h.Name == "end" {
			return u.finish()
		}
		if err := u.entry(h); err != nil {
			return err
		}
	}
}

// empty makes sure that nothing is in the way.
func (u *unpacker) empty() error {
	dir := u.dir
	if u.inPlace {
		dir = filepath.Join(dir, ".git")
	}
	left, err := os.ReadDir(dir)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s is not empty", dir)
	}
	return err
}

func (u *unpacker) next() (*tar.Header, error) {
	if u.ctx.Err() != nil {
		return nil, context.Cause(u.ctx)
	}
	h, err := u.tr.Next()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return h, err
}

func (u *unpacker) entry(h *tar.Header) error {
	kind, rel, _ := strings.Cut(h.Name, "/")
	rank, known := kinds[kind]
	switch {
	case !known || (rel == "") != (kind != "tree"):
		return fmt.Errorf("unexpected entry %q", h.Name)
	case kind == "repo.json":
		return u.begin(h)
	case u.repo == nil || rank < kinds[u.kind]:
		return fmt.Errorf("entry %q is out of order", h.Name)
	}
	if kind != u.kind {
		if err := u.closeFeed(); err != nil {
			return err
		}
		u.kind = kind
	}
	if kind == "tree" && u.inPlace {
		return fmt.Errorf("unexpected entry %q", h.Name)
	}
	if kind == "tree" {
		if err := u.files.add(u.repo.Path, rel, h, u.tr); err != nil {
			return err
		}
		return nil
	}
	if u.repo.Plain {
		return fmt.Errorf("entry %q in a folder that is no repository", h.Name)
	}
	return u.take(h)
}

// begin ends one section and starts the next.
func (u *unpacker) begin(h *tar.Header) error {
	if err := u.finish(); err != nil {
		return err
	}
	r := &repo{}
	if err := u.json(h, r); err != nil {
		return err
	}
	if r.Plain {
		r.Head = ""
	}
	if err := r.check(); err != nil {
		return err
	}
	if (r.Path != "") != (len(u.past) > 0) || u.past[r.Path] || r.Plain && r.Path != "" || u.inPlace && (r.Plain || r.Path != "") {
		return fmt.Errorf("unexpected section %q", r.Path)
	}
	u.past[r.Path] = true
	u.repo, u.kind, u.indexed = r, "repo.json", false
	if err := u.files.mkdir(r.Path); err != nil {
		return err
	}
	u.g = trusted(filepath.Join(u.dir, r.Path))
	if r.Path == "" {
		u.top = u.g
	}
	return u.init()
}

// json reads a whole entry; unknown fields come from another release.
func (u *unpacker) json(h *tar.Header, v any) error {
	data, err := u.bytes(h, maxHeader)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

func (u *unpacker) bytes(h *tar.Header, max int64) ([]byte, error) {
	if h.Typeflag != tar.TypeReg || h.Size > max {
		return nil, fmt.Errorf("entry %q is of the wrong kind or size", h.Name)
	}
	data, err := io.ReadAll(u.tr)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return data, err
}

// take hands an entry to the git command of its kind.
func (u *unpacker) take(h *tar.Header) error {
	data, err := u.bytes(h, chunkSize)
	if err != nil {
		return err
	}
	if u.feed == nil {
		if u.feed, err = u.g.feed(u.ctx, commands[u.kind]...); err != nil {
			return err
		}
	}
	u.indexed = u.indexed || u.kind == "index" || u.kind == "intent-to-add"
	if _, err := u.feed.Write(data); err != nil {
		u.feed = nil
		return err
	}
	return nil
}

var commands = map[string][]string{
	"pack":             {"index-pack", "--stdin"},
	"index":            {"update-index", "-z", "--index-info"},
	"skip-worktree":    {"update-index", "--skip-worktree", "-z", "--stdin"},
	"assume-unchanged": {"update-index", "--assume-unchanged", "-z", "--stdin"},
	"intent-to-add":    {"add", "--force", "--intent-to-add", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul"},
}

func (u *unpacker) closeFeed() error {
	if u.feed == nil {
		return nil
	}
	f := u.feed
	u.feed = nil
	return f.close()
}

func (u *unpacker) abandon() {
	if u.feed != nil {
		u.feed.abandon()
	}
}

// finish completes the section: the index learns of the files.
func (u *unpacker) finish() error {
	if u.repo == nil {
		return nil
	}
	if err := u.closeFeed(); err != nil {
		return err
	}
	switch {
	case u.repo.Plain:
		return u.firstCommit()
	case u.indexed:
		// Exit code 1 says that files differ, which is as it was outside.
		err := u.g.run(u.ctx, nil, nil, "update-index", "-q", "--unmerged", "--refresh")
		if err != nil && exitCode(err) != 1 {
			return err
		}
	}
	return nil
}

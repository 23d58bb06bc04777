package state

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// Names of the files in a bottle's state directory.
const (
	MetadataFile = "metadata.json"
	ComposeFile  = "docker-compose.yml"
	SessionFile  = "session.json"
	BringupLog   = "bringup.log"
	TeardownLog  = "teardown.log"
	ComposeLog   = "compose.log"
	WorkBundle   = "work.bundle"
	Conversation = "conversation.jsonl"
	Transcript   = "transcript.md"
	WorkDiff     = "work.diff"
	PreserveFile = ".preserve"
)

// ErrNotFound is the error for a slug that has no state directory; ErrExists
// that of a slug that is taken.
var (
	ErrNotFound = errors.New("no such bottle")
	ErrExists   = errors.New("the name is taken")
)

const maxMetadata = 1 << 20

// StateDir returns the state directory of a slug, whether it exists or not.
func (h *Home) StateDir(slug string) string { return filepath.Join(h.Dir, "state", slug) }

// HistoryDir returns where a bottle's remains go.
func (h *Home) HistoryDir(slug string) string { return filepath.Join(h.Dir, "history", slug) }

// NewSlug returns agent and four random base32 characters.
func NewSlug(agent string) string { return agent + "-" + strings.ToLower(rand.Text()[:4]) }

// Create claims b's slug and records b: the state directory appears whole, with
// its metadata in it and its lock held, or not at all. Of several claimers one
// wins, the others get ErrExists.
func (h *Home) Create(b bottle.Bottle) (*Lock, error) {
	if err := bottle.CheckSlug(b.Slug); err != nil {
		return nil, err
	}
	names, err := lockNames(h.Dir, shared)
	if err != nil {
		return nil, err
	}
	defer names.Unlock()
	dir, err := os.MkdirTemp(filepath.Join(h.Dir, "state"), spool.TempPrefix+"new-")
	if err != nil {
		return nil, fmt.Errorf("cannot make the state directory: %w", err)
	}
	lock, err := h.furnish(dir, b)
	if err == nil {
		// A state directory is never empty, so this takes nobody's place.
		if err = os.Rename(dir, h.StateDir(b.Slug)); errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
			err = fmt.Errorf("%s: %w", b.Slug, ErrExists)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		if lock != nil {
			lock.Unlock()
		}
		return nil, err
	}
	if err := spool.Sync(filepath.Dir(dir)); err != nil {
		defer lock.Unlock()
		return nil, errors.Join(err, h.Forget(b.Slug))
	}
	return lock, nil
}

// furnish puts lock and metadata into a directory that nobody sees yet.
func (h *Home) furnish(dir string, b bottle.Bottle) (*Lock, error) {
	lock, err := take(filepath.Join(dir, "lock"), exclusive, unix.F_OFD_SETLK)
	if err != nil {
		return nil, err
	}
	return lock, saveIn(dir, b)
}

// shelve moves the history of an earlier bottle of that name aside. The caller
// holds the slug's lock, so nobody else does. A bottle's metadata lie in its
// state or in its history, never in both: where both are, they are of two.
func (h *Home) shelve(slug string) error {
	for _, dir := range []string{h.StateDir(slug), h.HistoryDir(slug)} {
		if _, err := os.Lstat(filepath.Join(dir, MetadataFile)); err != nil {
			return nil // a first one, or a Retire that was cut short
		}
	}
	for n := 1; ; n++ {
		shelf := fmt.Sprintf("%s.%d", h.HistoryDir(slug), n)
		if _, err := os.Lstat(shelf); err == nil {
			continue
		}
		if err := os.Rename(h.HistoryDir(slug), shelf); err != nil {
			return fmt.Errorf("cannot move the history of an earlier %s aside: %w", slug, err)
		}
		return nil
	}
}

// Slugs returns the slugs that have a state directory, sorted.
func (h *Home) Slugs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Dir, "state"))
	if err != nil {
		return nil, fmt.Errorf("cannot list bottles: %w", err)
	}
	var slugs []string
	for _, e := range entries {
		if e.IsDir() && bottle.CheckSlug(e.Name()) == nil {
			slugs = append(slugs, e.Name())
		}
	}
	return slugs, nil
}

// Exists says whether a bottle has a state directory.
func (h *Home) Exists(slug string) bool {
	_, err := os.Stat(h.StateDir(slug))
	return !errors.Is(err, fs.ErrNotExist)
}

// Bottle reads a bottle's metadata. The error is ErrNotFound (Missing) where there is no
// state directory, and another where the metadata cannot be read.
func (h *Home) Bottle(slug string) (bottle.Bottle, error) {
	if bottle.CheckSlug(slug) != nil {
		return bottle.Bottle{}, ErrNotFound
	}
	if !h.Exists(slug) {
		return bottle.Bottle{}, h.noSuch(slug)
	}
	var b bottle.Bottle
	data, err := spool.ReadFile(h.StateDir(slug), MetadataFile, maxMetadata)
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		return bottle.Bottle{}, fmt.Errorf("cannot read the metadata of %s: %w", slug, err)
	}
	b.Slug, b.StateDir = slug, h.StateDir(slug) // where it lies decides, not what it says
	return b, nil
}

// Save writes a bottle's metadata, durably. Fields that a newer version wrote
// stay as they are.
func (h *Home) Save(b bottle.Bottle) error { return saveIn(h.StateDir(b.Slug), b) }

func saveIn(dir string, b bottle.Bottle) error {
	data, err := json.Marshal(b)
	if err == nil {
		data, err = withUnknown(dir, data)
	}
	if err != nil {
		return fmt.Errorf("cannot encode the metadata of %s: %w", b.Slug, err)
	}
	return spool.WriteFile(filepath.Join(dir, MetadataFile), append(data, '\n'), 0o600)
}

// Keep names a file of a state directory that outlives it: From is its path
// there, To its name in the history.
type Keep struct{ From, To string }

// Preserved says whether reapers must keep their hands off a bottle.
func (h *Home) Preserved(slug string) bool {
	_, err := os.Lstat(filepath.Join(h.StateDir(slug), PreserveFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// Release gives up what Preserved says.
func (h *Home) Release(slug string) error {
	err := os.Remove(filepath.Join(h.StateDir(slug), PreserveFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Retire moves files of a bottle's state directory into its history and removes
// the rest. Files that are not there are passed over, so that a Retire that was
// cut short can be done again; the metadata go last, so that until then the
// bottle is known. An earlier bottle's history under that name is moved out of
// the way, to SLUG.1, SLUG.2 and so on.
func (h *Home) Retire(slug string, keep []Keep) error {
	if err := h.shelve(slug); err != nil {
		return err
	}
	history := h.HistoryDir(slug)
	if err := os.MkdirAll(history, 0o700); err != nil {
		return fmt.Errorf("cannot keep the history of %s: %w", slug, err)
	}
	for _, k := range append(slices.Clone(keep), Keep{MetadataFile, MetadataFile}) {
		err := os.Rename(filepath.Join(h.StateDir(slug), k.From), filepath.Join(history, k.To))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot keep the history of %s: %w", slug, err)
		}
	}
	if err := errors.Join(spool.Sync(history), spool.Sync(filepath.Dir(history))); err != nil {
		return fmt.Errorf("cannot keep the history of %s: %w", slug, err)
	}
	return h.Forget(slug)
}

// Forget removes a bottle's state directory: at once for all who look, then
// file by file.
func (h *Home) Forget(slug string) error {
	names, err := lockNames(h.Dir, shared) // a sweeper would take what is under way for a dead one's
	if err != nil {
		return err
	}
	defer names.Unlock()
	if err := discard(h.StateDir(slug)); err != nil {
		return fmt.Errorf("cannot remove the state of %s: %w", slug, err)
	}
	return nil
}

// discard removes a directory: at once for all who look, then file by file. The
// caller holds the lock of names.
func discard(dir string) error {
	gone, err := os.MkdirTemp(filepath.Dir(dir), spool.TempPrefix+"gone-")
	if err != nil {
		return err
	}
	err = os.Rename(dir, filepath.Join(gone, filepath.Base(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(gone))
}

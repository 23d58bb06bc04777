package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// Past is a bottle that is gone.
type Past struct {
	Bottle bottle.Bottle
	Dir    string    // of its history
	Ended  time.Time // when it was stopped
}

// History returns the bottles that are gone and whose history is kept, the
// newest first. One whose metadata cannot be read has its slug alone.
func (h *Home) History() ([]Past, error) {
	root := filepath.Join(h.Dir, "history")
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("cannot list the history: %w", err)
	}
	var list []Past
	for _, e := range entries {
		slug, ok := shelved(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		if p, ok := h.past(slug, filepath.Join(root, e.Name())); ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Past) int { return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(a.Dir, b.Dir)) })
	return list, nil
}

// shelved is the slug of a history's directory: SLUG, or SLUG.N of an earlier
// bottle of that name.
func shelved(name string) (slug string, ok bool) {
	slug, number, is := strings.Cut(name, ".")
	if is {
		if n, err := strconv.Atoi(number); err != nil || n < 1 {
			return "", false
		}
	}
	return slug, bottle.CheckSlug(slug) == nil
}

// past reads one history. Without metadata it is not one yet: whoever makes it
// moves these there last.
func (h *Home) past(slug, dir string) (Past, bool) {
	p := Past{Dir: dir, Bottle: bottle.Bottle{Slug: slug, Agent: "?", Bottle: "?", Program: "?", Workspace: "?"}}
	info, err := os.Lstat(filepath.Join(dir, MetadataFile))
	if err != nil {
		return p, false
	}
	p.Ended = info.ModTime()
	var b bottle.Bottle
	data, err := spool.ReadFile(dir, MetadataFile, maxMetadata)
	if err == nil && json.Unmarshal(data, &b) == nil {
		p.Bottle = b
		p.Bottle.Slug = slug
		if !b.StoppedAt.IsZero() {
			p.Ended = b.StoppedAt
		}
	}
	p.Bottle.History, p.Bottle.StateDir = dir, ""
	if bundle := filepath.Join(dir, WorkBundle); exists(bundle) {
		p.Bottle.Bundle = bundle
	}
	p.Bottle.Pushed = pushed(dir)
	return p, true
}

// PushedBundle is the name in a history of what was pushed to a remote without
// an upstream.
func PushedBundle(remote string) string { return pushedPrefix + remote + pushedSuffix }

const pushedPrefix, pushedSuffix = "pushed-", ".bundle"

// pushed are the bundles of that name in a history, by their remotes.
func pushed(dir string) map[string]string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var bundles map[string]string
	for _, e := range entries {
		rest, is := strings.CutPrefix(e.Name(), pushedPrefix)
		remote, whole := strings.CutSuffix(rest, pushedSuffix)
		if !is || !whole {
			continue
		}
		if bundles == nil {
			bundles = map[string]string{}
		}
		bundles[remote] = filepath.Join(dir, e.Name())
	}
	return bundles
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Prune removes what of the history is beyond the bounds of config.yaml, the
// oldest first, and returns the slugs. The newest stays in any case: it may have
// been made this minute, by a clock that went wrong since. The state of a bottle
// that exists is no history, and neither is what a stop has moved there so far.
func (h *Home) Prune(now time.Time) (slugs []string, err error) {
	list, err := h.History()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	keep := h.Config.History
	var failed []error
	for i, p := range list[1:] {
		tooMany := keep.Bottles > 0 && i+1 >= keep.Bottles
		tooOld := keep.Days > 0 && now.Sub(p.Ended) > time.Duration(keep.Days)*24*time.Hour
		if !tooMany && !tooOld {
			continue
		}
		switch gone, err := h.prune(p); {
		case err != nil:
			failed = append(failed, fmt.Errorf("cannot remove the history of %s: %w", p.Bottle.Slug, err))
		case gone:
			slugs = append(slugs, p.Bottle.Slug)
		}
	}
	return slugs, errors.Join(failed...)
}

// prune removes one history while nobody can claim a name: a bottle of that name
// may be about to leave its own there, or has begun to.
func (h *Home) prune(p Past) (gone bool, err error) {
	names, err := lockNames(h.Dir, exclusive)
	if err != nil {
		return false, err
	}
	defer names.Unlock()
	if exists(h.StateDir(p.Bottle.Slug)) {
		return false, nil
	}
	return true, discard(p.Dir)
}

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// Sweep removes what killed programs left in the home besides bottles:
// half-made and half-removed state directories, and temporary files. It waits
// until nobody claims a name.
func (h *Home) Sweep() error {
	names, err := lockNames(h.Dir, exclusive)
	if err != nil {
		return err
	}
	defer names.Unlock()
	var failed []error
	for _, dir := range []string{h.Dir, filepath.Join(h.Dir, "state"), filepath.Join(h.Dir, "history")} {
		failed = append(failed, sweepDir(dir))
	}
	return errors.Join(failed...)
}

func sweepDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot sweep %s: %w", dir, err)
	}
	var failed []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), spool.TempPrefix) {
			failed = append(failed, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(failed...)
}

// SweepBottle removes the temporary files that killed programs left in a
// bottle's state directory, except where its containers write. The caller
// holds its lock.
func (h *Home) SweepBottle(slug string) error {
	if err := bottle.CheckSlug(slug); err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(h.StateDir(slug), "*", "in"))
	if err != nil {
		return err
	}
	decisions, err := filepath.Glob(filepath.Join(h.StateDir(slug), "*", "in", decisionsDir))
	if err != nil {
		return err
	}
	dirs = append(dirs, decisions...)
	var failed []error
	for _, dir := range append(dirs, h.StateDir(slug)) {
		if err := spool.Sweep(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

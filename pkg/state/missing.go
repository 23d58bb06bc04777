package state

import (
	"slices"
	"strings"

	"bottle/pkg/bottle"
)

// Missing is an ErrNotFound that knows which slugs were perhaps meant.
type Missing struct {
	Near []string // sorted, at most three
}

func (Missing) Error() string { return ErrNotFound.Error() }

func (Missing) Unwrap() error { return ErrNotFound }

const mostNear = 3

// NoSuch is the error for a slug that is none of all: those are near that begin
// with it.
func NoSuch(slug string, all []string) error {
	if bottle.CheckSlug(slug) != nil {
		return ErrNotFound
	}
	var near []string
	for _, s := range all {
		if strings.HasPrefix(s, slug) && bottle.CheckSlug(s) == nil {
			near = append(near, s)
		}
	}
	slices.Sort(near)
	near = slices.Compact(near)
	return Missing{near[:min(len(near), mostNear)]}
}

func (h *Home) noSuch(slug string) error {
	all, _ := h.Slugs() // only to be of help
	return NoSuch(slug, all)
}

package lifecycle

import "bottle/pkg/state"

// NewSlug returns a slug that is probably free, for who must know it before the
// bottle exists.
func NewSlug(agent string) string { return state.NewSlug(agent) }

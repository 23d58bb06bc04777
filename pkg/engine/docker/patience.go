package docker

import (
	"context"
	"fmt"
	"time"

	"bottle/pkg/engine"
)

// answerTime is how long an engine is waited for that is asked what takes it a
// second at most. One that has locked itself up takes requests for ever.
const answerTime = 90 * time.Second

// endings is how many times that is waited for the end of a container, which has its
// own time to end in, and to the engine's clearing up behind it.
const endings = 4

// prompt makes such a call: ErrSilent where the engine has not answered in time.
// What has no answer may happen all the same.
func (e *Engine) prompt(ctx context.Context, call func(context.Context) error) error {
	return within(ctx, e.patience, call)
}

func within(ctx context.Context, d time.Duration, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w for %v", engine.ErrSilent, d)
	}
	return err
}

package operator

import (
	"context"
	"errors"
	"os"
	"time"

	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/tokenref"
)

// lookAgain is how often a clock is looked at: a machine that slept has missed
// its timers.
const lookAgain = 30 * time.Second

// KeepFresh resolves the aging references of a bottle anew when they are due,
// until the returned function is called, which returns the last error. There is
// no daemon: it goes on for as long as somebody watches the session.
func KeepFresh(m *lifecycle.Manager, slug string) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(lookAgain)
		defer tick.Stop()
		var last error
		for {
			if due := m.RenewAt(slug); !due.IsZero() && !time.Now().Round(0).Before(due) {
				if err := renew(ctx, m, slug); !errors.Is(err, context.Canceled) {
					last = err
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- last
				return
			}
		}
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// renew resolves what ages and hands it over.
func renew(ctx context.Context, m *lifecycle.Manager, slug string) error {
	names, err := m.Aging(slug)
	if err != nil || len(names) == 0 {
		return err
	}
	return HandOver(ctx, m, slug, names)
}

// HandOver resolves references of a bottle by the names of their values, from
// its manifest as it is now, and hands them to its sidecars.
func HandOver(ctx context.Context, m *lifecycle.Manager, slug string, names []string) error {
	man, values, err := Values(ctx, m, slug, names)
	if err != nil {
		return err
	}
	return m.Renew(ctx, slug, names, values.ByName(man))
}

// Values resolves references of a bottle by the names of their values, and no
// others, from its manifest as it is now.
func Values(ctx context.Context, m *lifecycle.Manager, slug string, names []string) (manifest.Manifest, manifest.Values, error) {
	if len(names) == 0 {
		return manifest.Manifest{}, manifest.Values{}, nil // nothing is asked of a manifest, which may be gone
	}
	b, err := m.Home.Bottle(slug)
	if err != nil {
		return manifest.Manifest{}, manifest.Values{}, err
	}
	man, err := manifest.Load(m.Home.Dir, b.Agent)
	if err != nil {
		return man, manifest.Values{}, err
	}
	man = manifest.Only(man, names)
	values, err := manifest.Resolve(ctx, man, tokenref.Resolver{Lookup: os.LookupEnv})
	return man, values, err
}

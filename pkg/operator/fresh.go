package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
	"bottle/pkg/state"
	"bottle/pkg/tokenref"
)

// lookAgain is how often a clock is looked at: a machine that slept has missed
// its timers.
const lookAgain = 30 * time.Second

// tryAgain is how long a reference that could not be resolved is left alone by
// who was not asked to: its command may take long, or ask somebody.
const tryAgain = 5 * time.Minute

// KeepFresh resolves the aging references of all bottles anew when they are due,
// until the returned function is called. There is no daemon: it goes on for as
// long as a program does that shows something. Commands get no terminal, since
// that is taken. tell gets a line for each failure that is news.
func KeepFresh(m *lifecycle.Manager, tell func(string)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookAgain)
		defer tick.Stop()
		for {
			renewDue(ctx, m, tokenref.Resolver{Lookup: os.LookupEnv, Alone: true}, tell)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// Notes are lines that are kept until somebody can read them.
type Notes struct {
	mu    sync.Mutex
	lines []string
}

// Add keeps a line.
func (n *Notes) Add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

// Tell writes the lines for the operator.
func (n *Notes) Tell(c *cli.Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, line := range n.lines {
		tellNote(c, line)
	}
}

func tellNote(c *cli.Call, line string) {
	fmt.Fprintf(c.Err, "%s: %s\n", c.App.Name, cli.Inert(line))
}

// RenewDue resolves the aging references of all bottles anew that are due. It
// comes last in a program that has done what it was asked to. A failure is told
// and changes nothing.
func RenewDue(ctx context.Context, c *cli.Call, m *lifecycle.Manager) {
	renewDue(ctx, m, Resolver(c), func(line string) { tellNote(c, line) })
}

// Resolver lets commands ask on the terminal where this program could.
func Resolver(c *cli.Call) tokenref.Resolver {
	return tokenref.Resolver{Lookup: os.LookupEnv, Alone: !c.CanAsk()}
}

func renewDue(ctx context.Context, m *lifecycle.Manager, look tokenref.Resolver, tell func(string)) {
	slugs, err := m.Home.Slugs()
	if err != nil {
		return // whoever lists them is told
	}
	look = look.Once() // bottles may share a reference
	for _, slug := range slugs {
		due := m.RenewAt(slug)
		if due.IsZero() || time.Now().Round(0).Before(due) || ctx.Err() != nil {
			continue
		}
		if line := renewOne(ctx, m, slug, look); line != "" {
			tell(line)
		}
	}
}

// renewOne renews what is due of a bottle, unless another program is at it. It
// returns a line where something failed that had not before.
func renewOne(ctx context.Context, m *lifecycle.Manager, slug string, look tokenref.Resolver) string {
	if b, err := m.Home.Bottle(slug); err != nil || b.Status != bottle.Running || m.Home.Busy(slug) {
		return ""
	}
	lock, err := m.Home.TryLockRenewal(slug)
	if err != nil {
		return ""
	}
	defer lock.Unlock()
	now, last := time.Now().Round(0), m.Home.Renewal(slug)
	due, err := m.Due(slug, now)
	if err != nil {
		return ""
	}
	if age := now.Sub(last.Tried); age >= 0 && age < tryAgain {
		due = slices.DeleteFunc(due, func(name string) bool { return slices.Contains(last.Failed, name) })
	}
	if len(due) == 0 || m.Takes(ctx, slug) != nil {
		return ""
	}
	failed := renewNames(ctx, m, slug, due, look)
	isLocked := func(name string) bool { return errors.Is(failed[name], state.ErrLocked) }
	if ctx.Err() != nil || slices.ContainsFunc(due, isLocked) {
		return "" // the next look comes soon
	}
	recordRenewal(m, slug, now, due, failed)
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		if !slices.Contains(last.Failed, name) {
			return goesOn(slug, failed[name].Error()) + "; bottle-start --renew " + slug + " tries again"
		}
	}
	return ""
}

func goesOn(slug, why string) string {
	return fmt.Sprintf("a credential of %s could not be renewed, the old one goes on: %s", slug, why)
}

// recordRenewal keeps what failed, of what was tried and of what failed before.
func recordRenewal(m *lifecycle.Manager, slug string, now time.Time, tried []string, failed map[string]error) {
	names := slices.DeleteFunc(m.Home.Renewal(slug).Failed, func(name string) bool { return slices.Contains(tried, name) })
	for name := range failed {
		names = append(names, name)
	}
	slices.Sort(names)
	// It is advice: without it, somebody is told twice.
	_ = m.Home.PutRenewal(slug, state.Renewal{Tried: now.UTC().Truncate(time.Second), Failed: names})
}

// Renew resolves all references of a bottle anew that its sidecars use, by look,
// and says how many those are. One that cannot be resolved leaves its old value in force,
// and the others are handed over all the same.
func Renew(ctx context.Context, m *lifecycle.Manager, slug string, look tokenref.Resolver) (int, error) {
	if _, err := m.Home.Bottle(slug); err != nil {
		return 0, err
	}
	lock, err := m.Home.LockRenewal(ctx, slug)
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	if err := m.Takes(ctx, slug); err != nil {
		return 0, err
	}
	names, err := m.Renewable(slug)
	if err != nil {
		return 0, err
	}
	failed := renewNames(ctx, m, slug, names, look)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	recordRenewal(m, slug, time.Now(), names, failed)
	return len(names) - len(failed), notRenewed(slug, failed)
}

// notRenewed is what the operator sees of a renewal that he asked for.
func notRenewed(slug string, failed map[string]error) error {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		err := failed[name]
		if errors.Is(err, state.ErrLocked) || errors.Is(err, lifecycle.ErrNotUp) || engine.Away(err) {
			return err
		}
		if text := err.Error(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return cli.Error{Code: cli.Failed, Msg: goesOn(slug, strings.Join(all, "; ")), Hint: "mend that, and run bottle-start --renew " + slug + " again"}
}

// renewNames resolves references by the names of their values, each by itself,
// hands over what there is, and returns what failed, by name.
func renewNames(ctx context.Context, m *lifecycle.Manager, slug string, names []string, look tokenref.Resolver) (failed map[string]error) {
	failed = map[string]error{}
	values := map[string]string{}
	for _, name := range names {
		value, err := resolveOne(ctx, m, slug, name, look)
		if err != nil {
			failed[name] = err
			continue
		}
		values[name] = value
	}
	if len(values) == 0 || ctx.Err() != nil {
		return failed
	}
	here := slices.Sorted(maps.Keys(values))
	if err := m.Renew(ctx, slug, here, values); err != nil {
		for _, name := range here {
			failed[name] = err
		}
	}
	return failed
}

// resolveOne resolves one reference by the name of its value.
func resolveOne(ctx context.Context, m *lifecycle.Manager, slug, name string, look tokenref.Resolver) (value string, err error) {
	if name == bottle.ProxyLogin {
		way, err := Way(ctx, m, look)
		if err == nil && way.Login == "" {
			err = errors.New("neither config.yaml nor your environment has a login for the proxy any more")
		}
		if err == nil {
			err = m.CheckLogin(slug, *way.Proxy)
		}
		return way.Login, err
	}
	man, found, err := resolve(ctx, m, slug, []string{name}, look)
	if err != nil {
		return "", err
	}
	if value = found.ByName(man)[name]; value == "" {
		return "", fmt.Errorf("the policy of %s rests on %s: %w", slug, name, lifecycle.ErrGiven)
	}
	return value, nil
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
	return resolve(ctx, m, slug, names, tokenref.Resolver{Lookup: os.LookupEnv})
}

func resolve(ctx context.Context, m *lifecycle.Manager, slug string, names []string, look tokenref.Resolver) (manifest.Manifest, manifest.Values, error) {
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
	values, err := manifest.Resolve(ctx, man, look)
	return man, values, err
}

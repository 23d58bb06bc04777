package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/frame"
	"bottle/pkg/plan"
)

// A resume goes by its own bottle's containers, however many others there are.
func TestAResumeTakesNoOtherBottlesContainers(t *testing.T) {
	l := newLab(t)
	l.started(t)
	var slugs []string
	for range 2 {
		b, err := l.Up(t.Context(), l.spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		slugs = append(slugs, b.Slug)
	}
	for _, slug := range slugs {
		l.fake.Remove(t.Context(), plan.ContainerName(slug, plan.EgressService))
		if _, err := l.again(slug); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := List(t.Context(), l.Home, l.fake); err != nil || len(list) != 2 || list[0].Status != bottle.Running || list[1].Status != bottle.Running {
		t.Errorf("%+v, %v", list, err)
	}
}

// obedient is an engine that does nothing for who is gone.
type obedient struct{ *enginetest.Fake }

func (o obedient) Stop(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.Fake.Stop(ctx, name)
}

// Who is interrupted in a resume leaves nothing of the bottle running.
func TestAnInterruptedResumeStopsWhatItStarted(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	for _, service := range []string{plan.AgentService, plan.EgressService} {
		l.fake.Stop(t.Context(), plan.ContainerName(b.Slug, service))
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.play = func(x engine.Exec) (int, error) { // when all is up, and the session begins
		asked, answers := json.NewDecoder(x.Stdin), json.NewEncoder(x.Stdout)
		for {
			var ask frame.Ask
			if asked.Decode(&ask) != nil {
				return 1, nil
			}
			if ask.Start != nil {
				cancel()
				return 1, nil
			}
			tellRows(ask.Rows, answers)
			answers.Encode(frame.Answer{Done: true})
		}
	}
	l.Manager.Engine = obedient{l.fake}
	if _, err := l.Resume(ctx, Again{Slug: b.Slug}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	list, err := List(t.Context(), l.Home, l.fake)
	if err != nil || len(list) != 1 || list[0].Status != bottle.Stopped || len(list[0].Services) > 0 || !strings.Contains(list[0].Reason, "interrupted") {
		t.Errorf("%+v, %v", list, err)
	}
}

// A bottle that was kept is an ordinary one again, once it is resumed.
func TestAResumedBottleIsKeptNoMore(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{Keep: true}, nil); err != nil || !l.Home.Preserved(b.Slug) {
		t.Fatalf("%v, kept: %t", err, l.Home.Preserved(b.Slug))
	}
	if _, err := l.again(b.Slug); err != nil || l.Home.Preserved(b.Slug) {
		t.Errorf("%v, kept: %t", err, l.Home.Preserved(b.Slug))
	}
}

// An image that is gone is made again for a container that is gone.
func TestAResumeMakesTheImageThatIsGone(t *testing.T) {
	l := newLab(t)
	l.started(t)
	b := l.bottle(t)
	p, err := l.loadPlan(b.Slug)
	if err != nil {
		t.Fatal(err)
	}
	egress := p.Find(plan.EgressService)
	l.fake.Remove(t.Context(), egress.Name)
	l.fake.RemoveImage(t.Context(), egress.Image)
	if now, err := l.again(b.Slug); err != nil || now.Status != bottle.Running {
		t.Errorf("%+v, %v", now, err)
	}
}

// pausing is an engine whose agents are paused.
type pausing struct{ *enginetest.Fake }

func (p pausing) List(ctx context.Context, home string) ([]engine.Container, error) {
	list, err := p.Fake.List(ctx, home)
	for i := range list {
		if list[i].Service == plan.AgentService {
			list[i].State = "paused"
		}
	}
	return list, err
}

// What a resume cannot go on with is told as what it is, and nothing is done.
func TestBottlesThatAreNotResumed(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(l *lab, b bottle.Bottle) error
		want error
	}{
		"paused": {func(l *lab, _ bottle.Bottle) error {
			l.Manager.Engine = pausing{l.fake}
			return nil
		}, ErrPaused},
		"of another engine": {func(l *lab, b bottle.Bottle) error {
			for _, service := range []string{plan.AgentService, plan.EgressService} {
				l.fake.Remove(t.Context(), plan.ContainerName(b.Slug, service))
			}
			l.fake.RemoveVolume(t.Context(), plan.VolumeName(b.Slug, plan.WorkVolume))
			l.fake.RemoveVolume(t.Context(), plan.VolumeName(b.Slug, plan.HomeVolume))
			b.Engine = "another"
			return l.Home.Save(b)
		}, ErrElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.started(t)
			b, err := l.Up(t.Context(), l.spec, nil)
			if err == nil {
				err = c.harm(l, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			l.fake.Calls = nil
			if _, err := l.again(b.Slug); !errors.Is(err, c.want) || len(l.fake.Calls) > 0 {
				t.Errorf("%v, and it did %q", err, l.fake.Calls)
			}
		})
	}
}

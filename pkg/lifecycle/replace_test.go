package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// rebuilt has the lab's bottle make its image anew, and returns whether it was
// answered.
func (l *lab) rebuilt(slug, text string) (answered bool, err error) {
	err = l.Rebuild(context.Background(), Again{Slug: slug, Env: map[string]string{"KEY": "another-value"}, Spec: func(context.Context) (Spec, error) { return l.spec, nil }},
		text, func() error { answered = true; return nil }, nil)
	return answered, err
}

// agentImage is what the agent's container is planned as.
func (l *lab) agentImage(t *testing.T, slug string) string {
	t.Helper()
	p, err := l.loadPlan(slug)
	if err != nil {
		t.Fatal(err)
	}
	return p.Find(plan.AgentService).Image
}

func TestABottleGoesOverToItsNewImage(t *testing.T) {
	l := newLab(t)
	last := l.started(t)
	b := l.bottle(t)
	first := l.agentImage(t, b.Slug)
	var images []string
	for _, text := range []string{"FROM bottle\nENV TOOL=/x\nRUN one\n", "FROM bottle\nRUN two\n"} {
		last.Resume = false
		if answered, err := l.rebuilt(b.Slug, text); err != nil || !answered {
			t.Fatalf("%v, answered %t", err, answered)
		}
		image := l.agentImage(t, b.Slug)
		images = append(images, image)
		if has, _ := l.fake.HasImage(t.Context(), image); !has || image == first || !last.Resume || last.Env["KEY"] != "another-value" {
			t.Errorf("image %s there: %t; the session was started as %+v", image, has, last)
		}
		if list, _ := List(t.Context(), l.Home, l.fake); len(list) != 1 || list[0].Status != bottle.Running || list[0].Reason != "" {
			t.Errorf("listed as %+v", list)
		}
		data, err := os.ReadFile(filepath.Join(b.StateDir, "agent", "in", DockerfileInForce))
		if err != nil || string(data) != text || l.Home.Preserved(b.Slug) {
			t.Errorf("in force: %q, %v; preserved: %t", data, err, l.Home.Preserved(b.Slug))
		}
	}
	if has, _ := l.fake.HasImage(t.Context(), images[0]); has {
		t.Error("the image before is still there")
	}
	if has, _ := l.fake.HasImage(t.Context(), first); !has {
		t.Error("the image that all bottles have is gone")
	}
	if _, err := l.Down(t.Context(), b.Slug, DownOptions{Discard: true}, nil); err != nil {
		t.Fatal(err)
	}
	if has, _ := l.fake.HasImage(t.Context(), images[1]); has {
		t.Error("the bottle is gone, and its own image is not")
	}
}

func TestABottleStaysAsItWasWhereItsNewImageFails(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		harm     func(l *lab)
		answered bool
		is       error
	}{
		"no Dockerfile":    {"FROM debian\n", func(*lab) {}, false, nil},
		"a step fails":     {"FROM bottle\nRUN one\n", func(l *lab) { l.fake.Fail = failAt("Commit") }, false, nil},
		"a wall falls":     {"FROM bottle\nRUN one\n", func(l *lab) { l.fallingWall() }, true, ErrWentBack},
		"it does not come": {"FROM bottle\nRUN one\n", func(l *lab) { l.fake.Fail = failFor("Create", "-agent-1") }, true, ErrWentBack},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.started(t)
			b, err := l.Up(t.Context(), l.spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			first := l.agentImage(t, b.Slug)
			if err := l.preserve(b.Slug); err != nil { // it was kept before
				t.Fatal(err)
			}
			c.harm(l)
			answered, err := l.rebuilt(b.Slug, c.text)
			if err == nil || answered != c.answered || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("%v, answered %t", err, answered)
			}
			l.fake.Fail = nil
			if image := l.agentImage(t, b.Slug); image != first || !l.Home.Preserved(b.Slug) {
				t.Errorf("the image is %s; preserved: %t", image, l.Home.Preserved(b.Slug))
			}
			if list, _ := List(t.Context(), l.Home, l.fake); len(list) != 1 || list[0].Status != bottle.Running {
				t.Errorf("listed as %+v", list)
			}
			for _, call := range l.fake.Calls {
				if tag, ok := strings.CutPrefix(call, "Commit "); ok && tag != "" && !slices.ContainsFunc(l.fake.Calls, func(c string) bool { return strings.HasPrefix(c, "RemoveImage bottle-rebuilt:") }) {
					t.Errorf("its image stays: %q", l.fake.Calls)
				}
			}
		})
	}
}

func failAt(call string) func(string, string) error { return failFor(call, "") }

// failFor fails the first call of that name for a thing whose name ends so.
func failFor(call, suffix string) func(string, string) error {
	failed := false
	return func(c, name string) error {
		if c == call && strings.HasSuffix(name, suffix) && !failed {
			failed = true
			return errors.New("it fails")
		}
		return nil
	}
}

// fallingWall lets the next self-test fail, and no other.
func (l *lab) fallingWall() {
	stands, fell := l.play, false
	l.play = func(x engine.Exec) (int, error) {
		if fell || x.Stdin == nil || x.Cmd[len(x.Cmd)-1] != "hold" {
			return stands(x)
		}
		fell = true
		return answer(x, "A1")
	}
}

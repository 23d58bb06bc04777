package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"bottle/pkg/dockerfile"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// Bounds of what one Dockerfile may take.
const (
	rebuildTime   = 30 * time.Minute
	rebuildOutput = 8 << 20 // bytes of its words; what comes after is dropped
)

// BuildError is a step of a Dockerfile that failed. The bottle is as it was.
type BuildError struct {
	Line int      // of the step, from 1
	Err  error    // why
	Tail []string // the last lines of what it said; the agent's own words
}

func (e *BuildError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *BuildError) Unwrap() error { return e.Err }

// rebuild carries out a Dockerfile, a container a step, each behind the agent's
// own walls: the engine's builder stands outside of them.
type rebuild struct {
	*Manager
	plan *plan.Plan
	log  *journal

	image string            // what the next step runs in
	tag   string            // what each becomes
	made  bool              // tag exists, and is of this build
	vars  map[string]string // ENV and ARG, and what the image has
	env   map[string]string // ENV alone
	args  map[string]string // ARG alone
	user  string
	dir   string
}

// buildImage makes the image of a Dockerfile out of the one that the bottle was
// started with, and returns it with the variables that it sets. Where its first
// steps are those of inForce, which the bottle runs now, only the rest is
// carried out.
func (m *Manager) buildImage(ctx context.Context, p *plan.Plan, text, inForce string, log *journal) (tag string, env map[string]string, err error) {
	steps, err := dockerfile.Parse(text)
	if err != nil {
		return "", nil, err
	}
	first := p.First()
	digest := sha256.Sum256([]byte(first.Image + "\n" + text))
	r := &rebuild{Manager: m, plan: p, log: log, image: first.Image, dir: "/", env: map[string]string{}, args: map[string]string{},
		tag: plan.RebuiltImage(p.Slug, hex.EncodeToString(digest[:])[:16])}
	given, err := m.Engine.ImageEnv(ctx, first.Image)
	if err != nil {
		return "", nil, err
	}
	r.vars = map[string]string{"PATH": defaultPath}
	maps.Copy(r.vars, given)
	done := carried(steps, inForce)
	if done > 0 {
		r.image = p.Find(plan.AgentService).Image
	}
	ctx, cancel := context.WithTimeout(ctx, rebuildTime)
	defer cancel()
	for i, s := range steps {
		if err = r.step(ctx, s, i >= done); err != nil {
			break
		}
	}
	if err == nil && r.made {
		err = r.places(ctx)
	}
	clearing, stop := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer stop()
	err = errors.Join(err, m.Engine.Remove(clearing, plan.ContainerName(p.Slug, plan.BuildService)))
	switch {
	case err != nil && r.made:
		return "", nil, errors.Join(err, m.Engine.RemoveImage(clearing, r.tag))
	case err != nil:
		return "", nil, err
	}
	return r.image, r.env, nil
}

// places refuses an image that has a link where the engine would put something of
// ours: it follows links, and could be led to where the agent puts its own.
func (r *rebuild) places(ctx context.Context) error {
	for _, p := range r.plan.Places() {
		is, err := r.Engine.IsLink(ctx, plan.ContainerName(r.plan.Slug, plan.BuildService), p)
		if err != nil {
			return err
		}
		if is {
			return fmt.Errorf("the image has a link at %s, where this container needs a directory of its own", p)
		}
	}
	return nil
}

// defaultPath is what an engine gives a container whose image says nothing.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// carried is how many of the steps the Dockerfile in force has carried out: all
// of its own, or none.
func carried(steps []dockerfile.Step, inForce string) int {
	old, err := dockerfile.Parse(inForce)
	if err != nil || len(old) > len(steps) {
		return 0
	}
	for i := range old {
		if old[i].Text != steps[i].Text {
			return 0
		}
	}
	return len(old)
}

// step takes one instruction in, and carries it out if it is new.
func (r *rebuild) step(ctx context.Context, s dockerfile.Step, isNew bool) error {
	failed := func(err error) error {
		if err == nil {
			return nil
		}
		return &BuildError{Line: s.Line, Err: err, Tail: r.log.Tail()}
	}
	word, err := dockerfile.Expand(s.Word, r.lookup)
	if err != nil {
		return failed(err)
	}
	switch s.Op {
	case dockerfile.Env, dockerfile.Arg:
		return failed(r.set(s))
	case dockerfile.User:
		r.user = word
		return nil
	case dockerfile.Workdir:
		if !path.IsAbs(word) {
			word = path.Join(r.dir, word)
		}
		r.dir = path.Clean(word) // an engine makes what is missing
		return nil
	}
	if !isNew {
		return nil
	}
	r.log.step("line %d: %s", s.Line, firstLine(s.Text))
	if s.Op == dockerfile.Copy {
		if !path.IsAbs(word) {
			return failed(fmt.Errorf("%q is not an absolute path", word))
		}
		return failed(r.run(ctx, plan.Step{Argv: []string{"/bin/sh", "-c", place, "sh", path.Clean(word), fmt.Sprintf("%04o", s.Mode)}},
			strings.NewReader(s.Body)))
	}
	argv := s.Argv
	if args := r.arguments(); len(args) > 0 { // an ARG is in no image's environment
		argv = slices.Concat([]string{"/usr/bin/env", "--"}, args, argv)
	}
	return failed(r.run(ctx, plan.Step{Argv: argv, User: r.user, Dir: r.dir, Env: maps.Clone(r.env)}, strings.NewReader("")))
}

// place writes its standard input to the file $1 with the mode $2.
const place = `set -e; mkdir -p "$(dirname "$1")"; rm -f "$1"; cat > "$1"; chmod "$2" "$1"`

func (r *rebuild) lookup(name string) (string, bool) {
	v, ok := r.vars[name]
	return v, ok
}

func (r *rebuild) set(s dockerfile.Step) error {
	fresh := map[string]string{}
	for _, v := range s.Vars { // those of one instruction do not see one another
		value, err := dockerfile.Expand(v.Value, r.lookup)
		if err != nil {
			return err
		}
		fresh[v.Name] = value
	}
	maps.Copy(r.vars, fresh)
	if s.Op == dockerfile.Env {
		maps.Copy(r.env, fresh)
	} else {
		maps.Copy(r.args, fresh)
	}
	return nil
}

// arguments are the variables that ARG alone has set, NAME=value, sorted.
func (r *rebuild) arguments() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(r.args)) {
		if _, is := r.env[name]; !is {
			list = append(list, name+"="+r.args[name])
		}
	}
	return list
}

// run carries out one command and makes an image of what it leaves.
func (r *rebuild) run(ctx context.Context, s plan.Step, in io.Reader) error {
	s.Image = r.image
	c := r.plan.Build(s)
	err := whole(ctx, func(ctx context.Context) error {
		if err := r.Engine.Remove(ctx, c.Name); err != nil { // of the step before, or of a build that was killed
			return err
		}
		return r.Engine.Create(ctx, c)
	})
	if err != nil {
		return err
	}
	said := &capped{w: r.log, left: rebuildOutput}
	ended, err := r.Engine.StartAttached(ctx, c.Name, engine.Streams{Stdin: in, Stdout: said, Stderr: said})
	if err != nil {
		return err
	}
	switch end := <-ended; {
	case ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("it took more than %s", rebuildTime)
	case end.Err != nil:
		return end.Err
	case end.Code != 0:
		return fmt.Errorf("the command ended with %d", end.Code)
	}
	return whole(ctx, func(ctx context.Context) error {
		err := r.Engine.Commit(ctx, c.Name, r.tag)
		if err == nil {
			r.image, r.made = r.tag, true
		}
		return err
	})
}

// capped passes on so many bytes and drops the rest.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	kept := p[:min(len(p), c.left)]
	c.left -= len(kept)
	if _, err := c.w.Write(kept); err != nil {
		return 0, err
	}
	return len(p), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

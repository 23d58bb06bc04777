package enginetest

import (
	"context"
	"fmt"
	"io"
	"maps"

	"bottle/pkg/engine"
)

func (f *Fake) HasImage(_ context.Context, ref string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.images[ref], nil
}

func (f *Fake) Build(_ context.Context, tag string, content io.Reader, _ engine.BuildWay, _ io.Writer) error {
	if err := f.begin("Build", tag); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[tag] = true
	return nil
}

func (f *Fake) ImageEnv(_ context.Context, ref string) (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.images[ref] {
		return nil, fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	return maps.Clone(f.envs[ref]), nil
}

func (f *Fake) Commit(_ context.Context, name, tag string) error {
	if err := f.begin("Commit", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err == nil {
		f.images[tag], f.envs[tag] = true, c.Env
	}
	return err
}

func (f *Fake) RemoveImage(_ context.Context, tag string) error {
	if err := f.begin("RemoveImage", tag); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if c.Image == tag {
			return fmt.Errorf("image %s: %w", tag, engine.ErrConflict)
		}
	}
	delete(f.images, tag)
	return nil
}

package docker

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"

	"bottle/pkg/engine"
)

// HasImage implements engine.Engine.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	_, err := e.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, wrap("look for image "+ref, err)
}

// Build implements engine.Engine, with the builder that every engine has.
func (e *Engine) Build(ctx context.Context, tag string, context io.Reader, way engine.BuildWay, log io.Writer) error {
	o := build.ImageBuildOptions{Tags: []string{tag}, Remove: true, ForceRemove: true, Version: build.BuilderV1, BuildArgs: map[string]*string{}}
	if way.Container != "" {
		o.NetworkMode = "container:" + way.Container
	}
	for name, value := range way.Env {
		o.BuildArgs[name] = &value
	}
	resp, err := e.api.ImageBuild(ctx, context, o)
	if err != nil {
		return wrap("build image "+tag, err)
	}
	defer resp.Body.Close()
	if err := jsonmessage.DisplayJSONMessagesStream(resp.Body, log, 0, false, nil); err != nil {
		return fmt.Errorf("cannot build image %s: %w", tag, err)
	}
	return nil
}

// ImageEnv implements engine.Engine.
func (e *Engine) ImageEnv(ctx context.Context, ref string) (map[string]string, error) {
	found, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return nil, wrap("look at image "+ref, err)
	}
	env := map[string]string{}
	if found.Config != nil {
		for _, entry := range found.Config.Env {
			name, value, _ := strings.Cut(entry, "=")
			env[name] = value
		}
	}
	return env, nil
}

// Commit implements engine.Engine.
func (e *Engine) Commit(ctx context.Context, name, tag string) error {
	_, err := e.api.ContainerCommit(ctx, name, container.CommitOptions{Reference: tag})
	return wrap("make image "+tag+" of "+name, err)
}

// RemoveImage implements engine.Engine.
func (e *Engine) RemoveImage(ctx context.Context, tag string) error {
	_, err := e.api.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
	return wrap("remove image "+tag, ignoreMissing(err))
}

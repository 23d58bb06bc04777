package docker

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/pkg/jsonmessage"
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
func (e *Engine) Build(ctx context.Context, tag string, context io.Reader, log io.Writer) error {
	resp, err := e.api.ImageBuild(ctx, context, build.ImageBuildOptions{
		Tags: []string{tag}, Remove: true, ForceRemove: true, Version: build.BuilderV1,
	})
	if err != nil {
		return wrap("build image "+tag, err)
	}
	defer resp.Body.Close()
	if err := jsonmessage.DisplayJSONMessagesStream(resp.Body, log, 0, false, nil); err != nil {
		return fmt.Errorf("cannot build image %s: %w", tag, err)
	}
	return nil
}

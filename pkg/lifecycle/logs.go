package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"unicode"

	"bottle/pkg/plan"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// saveLogs writes what all containers of the bottle said, with times, to one
// file, in the form of docker-compose logs.
func (m *Manager) saveLogs(ctx context.Context, slug string, containers []string, log *journal) error {
	containers = slices.DeleteFunc(slices.Clone(containers), func(name string) bool {
		return name == plan.ContainerName(slug, plan.CaptureService) || name == plan.ContainerName(slug, plan.CheckService) // the engine keeps no log of them
	})
	parts := make([]bytes.Buffer, len(containers))
	var steps []func(context.Context) error
	for i, name := range containers {
		steps = append(steps, func(ctx context.Context) error {
			return m.Engine.Logs(ctx, name, &bounded{w: &parts[i], left: 32 << 20})
		})
	}
	failed := all(ctx, steps)
	var whole bytes.Buffer
	for i, name := range containers {
		for line := range bytes.Lines(parts[i].Bytes()) {
			fmt.Fprintf(&whole, "%s | %s\n", name, inert(bytes.TrimRight(line, "\r\n")))
		}
	}
	return errors.Join(failed, spool.WriteFile(filepath.Join(m.Home.StateDir(slug), state.ComposeLog), whole.Bytes(), 0o600))
}

// inert replaces what a terminal would act on, or a person misread: logs are
// looked at with cat, and agents write into theirs.
func inert(line []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, line)
}

// errTooLarge is the error of a bounded writer that is full.
var errTooLarge = errors.New("it is larger than the bound")

// bounded passes on so many bytes, then fails.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, errTooLarge
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	return n, err
}

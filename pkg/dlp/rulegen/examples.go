package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// overlay replaces two files of gitleaks' generator: the one that tries a rule
// with its examples writes them out, the one that makes random keys always makes
// the same.
//
//go:embed overlay
var overlay embed.FS

const (
	module    = "github.com/zricethezav/gitleaks/v8"
	generator = "cmd/generate/config"
)

var replaced = map[string]string{
	"cmd/generate/config/utils/validate.go": "overlay/validate.go.txt",
	"cmd/generate/secrets/regen.go":         "overlay/regen.go.txt",
}

// writeExamples runs gitleaks' generator and writes the examples of all rules,
// compressed: as text they would be taken for what they look like.
func writeExamples(path string) error {
	dir, err := os.MkdirTemp("", "rulegen")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out, err := examples(dir)
	if err != nil {
		return err
	}
	lines := slices.Sorted(strings.Lines(string(out)))
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(z, strings.Join(lines, "")); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644)
}

// examples builds the generator in a copy of gitleaks' source and returns what
// it writes.
func examples(dir string) ([]byte, error) {
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, fmt.Errorf("cannot find gitleaks' source: %w", err)
	}
	root := filepath.Join(dir, "gitleaks")
	if err := os.CopyFS(root, os.DirFS(strings.TrimSpace(string(source)))); err != nil {
		return nil, err
	}
	for file, with := range replaced {
		data, err := overlay.ReadFile(with)
		if err != nil {
			return nil, err
		}
		to := filepath.Join(root, file)
		if err := os.Remove(to); err != nil { // it is read-only, as all of the module cache
			return nil, err
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return nil, err
		}
	}
	// It reads a template beside its source, and writes the table that we do not need.
	run := exec.Command("go", "run", ".", filepath.Join(dir, "rules.toml"))
	run.Dir = filepath.Join(root, generator)
	var problems bytes.Buffer
	run.Stderr = &problems
	out, err := run.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot run gitleaks' generator: %w\n%s", err, problems.Bytes())
	}
	return out, nil
}

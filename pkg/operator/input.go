package operator

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"bottle/pkg/cli"
)

// maxLine bounds a line of standard input in bytes: a proposal has 64 KiB, escaped.
const maxLine = 1 << 20

// EachLine gives each line of standard input to take, whose error ends it, until ctx
// ends.
func EachLine(ctx context.Context, c *cli.Call, take func(line string) error) error {
	lines := bufio.NewScanner(c.Input(ctx))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := take(lines.Text()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return Explain("", fmt.Errorf("cannot read standard input: %w", err))
	}
	return nil
}

// slugOf takes the slug out of a line of input: the line itself, its first
// field where tabs or blanks follow, or the slug of a JSON object.
func slugOf(line string) string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "{") {
		var b struct {
			Slug string `json:"slug"`
		}
		if json.Unmarshal([]byte(line), &b) == nil && b.Slug != "" {
			return b.Slug
		}
		return line
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	return first
}

package operator

import (
	"encoding/json"
	"strings"
)

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

package image

import (
	"bytes"
	"fmt"
	"strings"
)

// Own reads an operator's agents/NAME.Dockerfile and returns its steps. It
// replaces the last step of the agent's image, so it starts from the tools'
// image: its first instruction may be "FROM bottle", and no other FROM is taken,
// since the engine would dial whatever registry that names. The agent's own
// program lies in the context, so an agent that needs one is put in place by
//
//	COPY claude /usr/local/bin/claude
//
// VOLUME is not taken: what lies in such a place would be no part of the
// workspace, and would go uncaptured. Errors name the line.
func Own(dockerfile []byte) (string, error) {
	text := strings.ReplaceAll(string(bytes.TrimPrefix(dockerfile, []byte("\ufeff"))), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	continued, first := false, true
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") {
			if d := directive(trimmed); d != "" && first {
				return "", fmt.Errorf("line %d: the directive %q is not taken here", i+1, d)
			}
			continue
		}
		if trimmed == "" {
			continue
		}
		if !continued {
			from, err := fromBottle(trimmed, first)
			if err != nil {
				return "", fmt.Errorf("line %d: %w", i+1, err)
			}
			if from {
				lines[i] = ""
			}
			if strings.EqualFold(strings.Fields(trimmed)[0], "VOLUME") {
				return "", fmt.Errorf("line %d: VOLUME is not taken: what the agent writes there would not be captured", i+1)
			}
			first = false
		}
		continued = strings.HasSuffix(trimmed, `\`)
	}
	if continued {
		return "", fmt.Errorf("line %d: the last instruction does not end", len(lines))
	}
	return strings.Join(lines, "\n"), nil
}

// fromBottle says whether an instruction is the FROM that may stand first.
func fromBottle(instruction string, first bool) (bool, error) {
	words := strings.Fields(instruction)
	if !strings.EqualFold(words[0], "FROM") {
		return false, nil
	}
	if !first || len(words) != 2 || words[1] != "bottle" {
		return false, fmt.Errorf(`only "FROM bottle", as the first instruction, is taken: it stands for the image with the tools`)
	}
	return true, nil
}

// directive returns the name of a parser directive. One that names a syntax
// would have the engine fetch a builder; one that changes the escape character
// would have this file read otherwise than by us.
func directive(comment string) string {
	name, _, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(comment, "#")), "=")
	name = strings.ToLower(strings.TrimSpace(name))
	if ok && (name == "syntax" || name == "escape" || name == "check") {
		return name
	}
	return ""
}

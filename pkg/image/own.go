package image

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Own reads an operator's agents/NAME.Dockerfile and returns its steps. It
// replaces the last step of the agent's image, so it starts from the tools'
// image: its first instruction may be "FROM bottle", and no other image is
// taken, by FROM or by --from, since the engine would dial whatever registry
// that names. The agent's own program lies in the context, so an agent that
// needs one is put in place by
//
//	COPY claude /usr/local/bin/claude
//
// VOLUME is not taken: what lies in such a place would be no part of the
// workspace, and would go uncaptured. Where builders differ in how they read a
// line, it is refused. Errors name the line.
func Own(dockerfile []byte) (string, error) {
	text := strings.ReplaceAll(string(bytes.TrimPrefix(dockerfile, []byte("\ufeff"))), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	var instruction strings.Builder // its lines so far, as a builder joins them
	began, first := -1, true
	for i, line := range lines {
		if err := unclear(line); err != nil {
			return "", fmt.Errorf("line %d: %w", i+1, err)
		}
		trimmed := strings.Trim(line, " \t")
		if strings.HasPrefix(trimmed, "#") {
			if d := directive(trimmed); d != "" && first {
				return "", fmt.Errorf("line %d: the directive %q is not taken here", i+1, d)
			}
			continue
		}
		if trimmed == "" {
			continue
		}
		if began < 0 {
			began = i
		}
		part, continued := strings.CutSuffix(strings.TrimRight(line, " \t"), `\`)
		instruction.WriteString(part)
		if continued {
			continue
		}
		from, err := images(strings.Fields(instruction.String()), first)
		if err != nil {
			return "", fmt.Errorf("line %d: %w", began+1, err)
		}
		if from {
			clear(lines[began : i+1])
		}
		instruction.Reset()
		began, first = -1, false
	}
	if began >= 0 {
		return "", fmt.Errorf("line %d: the last instruction does not end", len(lines))
	}
	return strings.Join(lines, "\n"), nil
}

// unclear says why one builder may read a line otherwise than another: some go
// on after two backslashes, and what counts as blank differs.
func unclear(line string) error {
	for _, r := range line {
		if unicode.IsControl(r) && r != '\t' {
			return fmt.Errorf("the character %U is not taken", r)
		}
	}
	blank := strings.TrimSpace(line) != strings.Trim(line, " \t")
	switch {
	case blank:
		return errors.New("it begins or ends with a blank that is neither a space nor a tab")
	case strings.HasSuffix(strings.TrimRight(line, " \t"), `\\`):
		return errors.New("it ends with two backslashes")
	}
	return nil
}

// images says whether an instruction is the FROM that may stand first, and
// refuses every other image.
func images(words []string, first bool) (bool, error) {
	if len(words) > 1 && strings.EqualFold(words[0], "ONBUILD") {
		words = words[1:]
	}
	switch {
	case len(words) == 0: // a lone backslash
		return false, nil
	case strings.EqualFold(words[0], "FROM"):
		if !first || len(words) != 2 || words[1] != "bottle" {
			return false, errors.New(`only "FROM bottle", as the first instruction, is taken: it stands for the image with the tools`)
		}
		return true, nil
	case strings.EqualFold(words[0], "VOLUME"):
		return false, errors.New("VOLUME is not taken: what the agent writes there would not be captured")
	}
	for _, flag := range words[1:] {
		if !strings.HasPrefix(flag, "--") {
			break
		}
		if strings.Contains(strings.ToLower(flag), "from") {
			return false, fmt.Errorf("%q is not taken: there is no other image to copy from", flag)
		}
	}
	return false, nil
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

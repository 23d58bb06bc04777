// Package tokenref reads and resolves the references by which an operator names
// a secret: a variable of the environment, a file, a command. It is for the
// host alone; a value that it returns belongs into memory and pipes, never into
// a file, an argv or a log.
package tokenref

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Ref is a reference. The zero Ref names nothing.
type Ref struct {
	env  string
	file string
	cmd  []string
	text string
}

// The forms of a reference.
const (
	filePrefix = "file:"
	cmdPrefix  = "cmd:"
)

var (
	variable = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })
	maxRef   = 4096
)

// Parse reads a reference:
//
//	NAME       a variable of the operator's environment
//	file:PATH  the content of a file; PATH is absolute, or begins with ~/
//	cmd:WORDS  what a command prints
//
// A command runs without a shell. Its words are parted by blanks; '…' and "…"
// keep blanks, and nothing else is special: no variable, no backslash, no glob.
func Parse(s string) (Ref, error) {
	r := Ref{text: s}
	switch {
	case len(s) > maxRef:
		return Ref{}, fmt.Errorf("a token_ref has at most %d bytes", maxRef)
	case strings.ContainsAny(s, "\x00\n\r"):
		return Ref{}, errors.New("a token_ref is one line")
	case strings.HasPrefix(s, filePrefix):
		r.file = strings.TrimPrefix(s, filePrefix)
		if !strings.HasPrefix(r.file, "/") && !strings.HasPrefix(r.file, "~/") {
			return Ref{}, fmt.Errorf("%q: the path must be absolute, or begin with ~/", s)
		}
	case strings.HasPrefix(s, cmdPrefix):
		words, err := split(strings.TrimPrefix(s, cmdPrefix))
		if err != nil {
			return Ref{}, fmt.Errorf("%q: %w", s, err)
		}
		if len(words) == 0 || words[0] == "" {
			return Ref{}, fmt.Errorf("%q: there is no command", s)
		}
		r.cmd = words
	case variable().MatchString(s):
		r.env = s
	default:
		return Ref{}, fmt.Errorf("%q is neither a variable's name nor file:PATH nor cmd:COMMAND", s)
	}
	return r, nil
}

// Set says whether the reference names something.
func (r Ref) Set() bool { return r.text != "" }

// String is the reference as it was written.
func (r Ref) String() string { return r.text }

// Name is what the value is called where the reference itself has no business,
// as in a sidecar's policy: env:NAME, or file: or cmd: and a hash. One reference
// has one name.
func (r Ref) Name() string {
	sum := sha256.Sum256([]byte(r.text))
	hash := hex.EncodeToString(sum[:6])
	switch {
	case r.env != "":
		return "env:" + r.env
	case r.file != "":
		return filePrefix + hash
	case r.cmd != nil:
		return cmdPrefix + hash
	}
	return ""
}

// split parts a command into its words.
func split(s string) (words []string, err error) {
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

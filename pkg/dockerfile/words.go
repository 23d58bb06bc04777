package dockerfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

var (
	varName  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })
	userName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$`)
	})
)

func checkUser(name string) error {
	if !userName().MatchString(name) {
		return fmt.Errorf("%q is not a user", clip(name))
	}
	return nil
}

func oneWord(rest string) (string, error) {
	words, err := split(rest)
	if err != nil {
		return "", err
	}
	if len(words) != 1 || words[0] == "" {
		return "", fmt.Errorf("one word is expected, and there are %d", len(words))
	}
	return words[0], nil
}

// variables reads KEY=value …, or the old form KEY value. An ARG without a value
// has none here: nobody gives one from outside.
func variables(rest string, arg bool) ([]Var, error) {
	words, err := split(rest)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, errors.New("there is no variable")
	}
	if !arg && !strings.Contains(words[0], "=") && len(words) > 1 {
		words = []string{words[0] + "=" + strings.Join(words[1:], " ")}
	}
	var vars []Var
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%s has no value", clip(name))
		}
		if !varName().MatchString(name) {
			return nil, fmt.Errorf("%q is not a variable's name", clip(name))
		}
		vars = append(vars, Var{name, value})
	}
	return vars, nil
}

// split cuts a line into words as a shell does: quotes group and go, a backslash
// keeps what follows. A $ that is not to be looked at keeps its backslash for
// Expand.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	keep := func(c byte) {
		if c == '$' || c == '\\' {
			word.WriteByte('\\')
		}
		word.WriteByte(c)
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'':
			keep(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\':
			if i++; i == len(line) {
				return nil, errors.New("it ends with a backslash")
			}
			if quote == '"' && !strings.ContainsRune("\"\\$", rune(line[i])) {
				keep('\\')
			}
			keep(line[i])
			inWord = true
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c does not end", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\\(.)|\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})|\$`)
})

// Expand puts in the values of variables for $NAME and ${NAME} in a Step's Word
// or a Var's Value, and takes backslashes away. What lookup does not know is an
// error, as is any other use of $.
func Expand(word string, lookup func(name string) (string, bool)) (string, error) {
	var failed error
	out := reference().ReplaceAllStringFunc(word, func(ref string) string {
		if ref[0] == '\\' {
			return ref[1:]
		}
		name := strings.Trim(ref, "${}")
		if name == "" {
			failed = fmt.Errorf("in %q, $ is taken before a variable's name alone", clip(word))
			return ""
		}
		value, ok := lookup(name)
		if !ok {
			failed = fmt.Errorf("the variable %s is not set", name)
		}
		return value
	})
	return out, failed
}

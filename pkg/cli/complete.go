package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// completeWord is the first argument by which a shell asks what could stand at
// the cursor:
//
//	PROGRAM __complete SHELL PROGRAM [WORD…] WORD
//
// where SHELL is bash, zsh or fish, and the last word is the one under way. The
// answer is a line a candidate; for zsh and fish, a tab and its help follow.
const completeWord = "__complete"

// Candidate is a word that a shell offers.
type Candidate struct {
	Value string
	Help  string // one line, optional
}

// Completions are what can stand behind flags, by their first names, and as
// arguments, by the name "". Of a flag that takes no value it is what the arguments
// are where that is given. A function is given the arguments before the cursor.
type Completions map[string]func(args []string) []Candidate

// Words offers the same words always.
func Words(words ...string) func([]string) []Candidate {
	return func([]string) []Candidate {
		var all []Candidate
		for _, w := range words {
			all = append(all, Candidate{Value: w})
		}
		return all
	}
}

// complete prints what fits. words are a shell's name, the program's, and those up
// to the cursor.
func (a App) complete(out io.Writer, words []string) {
	if len(words) < 3 {
		return
	}
	shell, words := words[0], words[2:]
	if shell == "bash" {
		words = rejoin(words)
	}
	last := words[len(words)-1]
	skip := 0
	if shell == "bash" && strings.HasPrefix(last, "-") {
		skip = strings.IndexByte(last, '=') + 1 // bash replaces what stands behind it
	}
	for _, c := range a.candidates(words[:len(words)-1], last) {
		if !strings.HasPrefix(c.Value, last) {
			continue
		}
		line := Inert(c.Value[skip:])
		if c.Help != "" && shell != "bash" {
			line += "\t" + Inert(c.Help)
		}
		fmt.Fprintln(out, line)
	}
}

// rejoin puts together what bash parts at "=".
func rejoin(words []string) []string {
	var joined []string
	for i := 0; i < len(words); i++ {
		if words[i] != "=" || len(joined) == 0 || !strings.HasPrefix(joined[len(joined)-1], "-") {
			joined = append(joined, words[i])
			continue
		}
		joined[len(joined)-1] += "="
		if i+1 < len(words) {
			i++
			joined[len(joined)-1] += words[i]
		}
	}
	return joined
}

// candidates are what can follow the words before, where last begins the next.
func (a App) candidates(before []string, last string) []Candidate {
	known := a.known()
	var args, used []string
	of := "" // whose arguments they are
	for i := 0; i < len(before); i++ {
		w := before[i]
		if w == "--" {
			if a.Command {
				return nil
			}
			return a.offerArgs(of, append(args, before[i+1:]...))
		}
		if w == "-" || !strings.HasPrefix(w, "-") {
			args = append(args, w)
			continue
		}
		written, _, inline := strings.Cut(w, "=")
		f := known[strings.TrimLeft(written, "-")]
		used = append(used, f.name)
		if !f.takesValue && a.Complete[f.name] != nil {
			of = f.name
		}
		if !f.takesValue || inline {
			continue
		}
		if i+1 == len(before) {
			return a.offer(f.name, args, "")
		}
		i++
	}
	if !strings.HasPrefix(last, "-") {
		return a.offerArgs(of, args)
	}
	if written, _, inline := strings.Cut(last, "="); inline {
		f := known[strings.TrimLeft(written, "-")]
		return a.offer(f.name, args, written+"=")
	}
	return a.offerFlags(used)
}

// offer asks the program.
func (a App) offer(flag string, args []string, prefix string) (all []Candidate) {
	list := a.Complete[flag]
	if list == nil {
		return nil
	}
	for _, c := range list(args) {
		all = append(all, Candidate{Value: prefix + c.Value, Help: c.Help})
	}
	return all
}

// offerArgs leaves out what stands there already.
func (a App) offerArgs(of string, args []string) []Candidate {
	return slices.DeleteFunc(a.offer(of, args, ""), func(c Candidate) bool { return slices.Contains(args, c.Value) })
}

// offerFlags are those that may be given still.
func (a App) offerFlags(used []string) []Candidate {
	var fit []Candidate
	for _, f := range a.flags() {
		name := f.Names()[0]
		_, repeated := f.(*urfave.StringSliceFlag)
		if slices.Contains(used, name) && !repeated {
			continue
		}
		_, usage := describe(f)
		fit = append(fit, Candidate{Value: "--" + name, Help: usage})
	}
	return fit
}

// describe returns a flag as --help shows it: its names, and what it does.
func describe(f urfave.Flag) (names, usage string) {
	names, usage, _ = strings.Cut(f.String(), "\t")
	return strings.TrimSpace(names), strings.TrimSpace(usage)
}

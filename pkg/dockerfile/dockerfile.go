// Package dockerfile reads the Dockerfile that an agent asks for. What it takes
// is a small part of the language, which bottle carries out itself: no builder
// reads the text, so nothing of it can mean more there than it does here.
//
//	FROM bottle                # the image that the bottle was started with
//	RUN apt-get install -y jq  # or ["exec", "form"], or <<EOF with a script
//	ENV KEY=value …            # for what follows, and for the agent
//	ARG KEY=value              # for what follows
//	USER name                  # for what follows
//	WORKDIR /path              # made where it is missing
//	COPY <<'EOF' /path         # inline text; --chmod=0755 is known
//	EOF
//
// Everything else is refused with its line: other images, files from anywhere,
// flags, parser directives.
package dockerfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Base is the one image that FROM may name: what the bottle was started with.
const Base = "bottle"

// Bounds of a text that is read.
const (
	MaxSize  = 64 << 10 // bytes
	MaxSteps = 100
)

// Op is an instruction.
type Op string

// The instructions that are taken besides FROM.
const (
	Run     Op = "RUN"
	Env     Op = "ENV"
	Arg     Op = "ARG"
	User    Op = "USER"
	Workdir Op = "WORKDIR"
	Copy    Op = "COPY"
)

// Step is one instruction after FROM. Which fields are set depends on Op.
type Step struct {
	Op   Op
	Line int      // its first, from 1
	Text string   // as it was written, with its inline text
	Argv []string // Run: what is executed
	Vars []Var    // Env, Arg: in the order of the text
	Word string   // User, Workdir, Copy: the name or path
	Body string   // Copy, and Run of a script: the inline text
	Mode uint32   // Copy: permission bits
}

// Var is a variable and its value. In the value, $NAME and ${NAME} stand for
// variables that were set before (Expand).
type Var struct{ Name, Value string }

// Error is a mistake, with its line.
type Error struct {
	Line int
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Parse reads a Dockerfile and returns its steps. Its errors are *Error.
func Parse(text string) ([]Step, error) {
	if len(text) > MaxSize {
		return nil, &Error{1, fmt.Sprintf("the text has more than %d bytes", MaxSize)}
	}
	p := parser{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	if err := p.legible(); err != nil {
		return nil, err
	}
	var steps []Step
	from := false
	for p.next() {
		words := strings.Fields(p.text)
		op := strings.ToUpper(words[0])
		if !from {
			if op != "FROM" || len(words) != 2 || words[1] != Base {
				return nil, p.errorf(`the first instruction must be "FROM %s": no other image is taken`, Base)
			}
			from = true
			continue
		}
		s, err := p.step(Op(op), strings.TrimSpace(p.text[len(words[0]):]))
		if err != nil {
			return nil, p.errorf("%w", err)
		}
		if steps = append(steps, s); len(steps) > MaxSteps {
			return nil, p.errorf("there are more than %d instructions", MaxSteps)
		}
	}
	switch {
	case p.err != nil:
		return nil, p.err
	case !from:
		return nil, &Error{1, fmt.Sprintf(`there is no "FROM %s"`, Base)}
	}
	return steps, nil
}

// parser goes through the lines of a text.
type parser struct {
	lines []string
	at    int    // the next line, from 0
	began int    // the line at which the instruction begins, from 1
	text  string // the instruction, its continued lines joined
	err   error
}

func (p *parser) errorf(format string, args ...any) error {
	return &Error{p.began, fmt.Errorf(format, args...).Error()}
}

// legible refuses what a person would not see as it is.
func (p *parser) legible() error {
	for i, line := range p.lines {
		if !utf8.ValidString(line) {
			return &Error{i + 1, "it is not UTF-8"}
		}
		for _, r := range line {
			if r != '\t' && !unicode.IsPrint(r) {
				return &Error{i + 1, fmt.Sprintf("the character %U is not taken", r)}
			}
		}
	}
	return nil
}

// next reads the next instruction; false at the end, or when p.err is set.
func (p *parser) next() bool {
	p.text, p.began = "", 0
	for p.at < len(p.lines) {
		line := p.lines[p.at]
		p.at++
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			if d := directive(trimmed); d != "" {
				p.err = &Error{p.at, fmt.Sprintf("the directive %q is not taken", d)}
				return false
			}
			continue
		}
		if p.began == 0 {
			p.began = p.at
		}
		part, goesOn := strings.CutSuffix(strings.TrimRight(line, " \t"), `\`)
		p.text += part
		if goesOn {
			continue
		}
		if strings.TrimSpace(p.text) == "" { // backslashes and nothing else
			p.text, p.began = "", 0
			continue
		}
		return true
	}
	if p.began != 0 {
		p.err = p.errorf("the last instruction does not end")
	}
	return false
}

// directive returns the name of a parser directive. Nobody acts on one here, and
// whoever writes one believes that somebody does.
func directive(comment string) string {
	name, _, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(comment, "#")), "=")
	name = strings.ToLower(strings.TrimSpace(name))
	if ok && slices.Contains([]string{"syntax", "escape", "check"}, name) {
		return name
	}
	return ""
}

func (p *parser) step(op Op, rest string) (Step, error) {
	begin := p.began
	s := Step{Op: op, Line: begin}
	var err error
	switch op {
	case Run:
		err = p.run(&s, rest)
	case Copy:
		err = p.copy(&s, rest)
	case Env, Arg:
		s.Vars, err = variables(rest, op == Arg)
	case User, Workdir:
		if s.Word, err = oneWord(rest); err == nil && op == User {
			err = checkUser(s.Word)
		}
	case "FROM":
		err = errors.New("FROM stands once, as the first instruction")
	default:
		err = fmt.Errorf("%s is not taken: only FROM, RUN, ENV, ARG, USER, WORKDIR and COPY <<EOF are", clip(string(op)))
	}
	s.Text = strings.Join(p.lines[begin-1:p.at], "\n")
	return s, err
}

// clip keeps an error a line.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// shell runs the shell form.
var shell = []string{"/bin/sh", "-c"}

func (p *parser) run(s *Step, rest string) (err error) {
	switch {
	case rest == "":
		return errors.New("RUN has no command")
	case strings.HasPrefix(rest, "--"):
		return fmt.Errorf("RUN's flag %s is not taken", clip(strings.Fields(rest)[0]))
	case strings.HasPrefix(rest, "<<"):
		here, more, err := hereDoc(rest)
		if err == nil && more != "" {
			err = errors.New("after RUN <<EOF the line must end")
		}
		if err == nil {
			s.Body, err = p.body(here, false)
		}
		s.Argv = append(slices.Clone(shell), s.Body)
		return err
	case strings.HasPrefix(rest, "["):
		if json.Unmarshal([]byte(rest), &s.Argv) == nil {
			if len(s.Argv) == 0 || s.Argv[0] == "" {
				return errors.New("RUN has no command")
			}
			return nil
		}
	}
	s.Argv = append(slices.Clone(shell), rest)
	return nil
}

func (p *parser) copy(s *Step, rest string) (err error) {
	s.Mode = 0o644
	for strings.HasPrefix(rest, "--") {
		flag, more, _ := strings.Cut(rest, " ")
		mode, ok := strings.CutPrefix(flag, "--chmod=")
		bits, err := strconv.ParseUint(mode, 8, 32)
		if !ok || err != nil || bits > 0o777 {
			return fmt.Errorf("COPY's flag %s is not taken: only --chmod=MODE is, with bits of 0777", clip(flag))
		}
		s.Mode, rest = uint32(bits), strings.TrimSpace(more)
	}
	if !strings.HasPrefix(rest, "<<") {
		return errors.New("COPY takes inline text alone: COPY <<'EOF' /path")
	}
	here, more, err := hereDoc(rest)
	if err != nil {
		return err
	}
	if s.Word, err = oneWord(more); err != nil {
		return err
	}
	if strings.HasSuffix(s.Word, "/") || !path.IsAbs(s.Word) && !strings.HasPrefix(s.Word, "$") {
		return errors.New("COPY's target must be the absolute path of a file")
	}
	s.Body, err = p.body(here, true)
	return err
}

// here is the beginning of an inline text.
type here struct {
	end    string // the line that ends it
	quoted bool
	tabs   bool // leading tabs go
}

var hereWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^<<(-?)(?:'([A-Za-z_][A-Za-z0-9_]*)'|"([A-Za-z_][A-Za-z0-9_]*)"|([A-Za-z_][A-Za-z0-9_]*))(?:[ \t]+|$)`)
})

func hereDoc(rest string) (h here, more string, err error) {
	m := hereWord().FindStringSubmatch(rest)
	if m == nil {
		return h, "", errors.New("the inline text must begin with <<EOF or <<'EOF'")
	}
	h = here{end: m[2] + m[3] + m[4], quoted: m[4] == "", tabs: m[1] != ""}
	return h, rest[len(m[0]):], nil
}

// body reads an inline text. Where builders would put values in, it is refused:
// here it is taken as it stands.
func (p *parser) body(h here, literal bool) (string, error) {
	var b strings.Builder
	for p.at < len(p.lines) {
		line := p.lines[p.at]
		p.at++
		if h.tabs {
			line = strings.TrimLeft(line, "\t")
		}
		if line == h.end {
			return b.String(), nil
		}
		if literal && !h.quoted && strings.Contains(line, "$") {
			return "", fmt.Errorf("the inline text holds a $, and nothing is put in for it: write <<'%s'", h.end)
		}
		b.WriteString(line + "\n")
	}
	return "", fmt.Errorf("the inline text does not end with a line %s", h.end)
}

package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// Bounds of a transcript: of a line of the conversation that is looked at, and
// of what is shown of a tool's input or result, in bytes.
const (
	maxLine = 16 << 20
	maxShow = 4000
)

// block is one part of a message.
type block struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	Name    string          `json:"name"`
	Input   json.RawMessage `json:"input"`
	Content json.RawMessage `json:"content"`
}

// blocksOf are the parts of a content, which may be a text alone.
func blocksOf(content json.RawMessage) (blocks []block) {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return []block{{Type: "text", Text: text}}
	}
	if json.Unmarshal(content, &blocks) != nil {
		return nil
	}
	return blocks
}

// Who speaks in a transcript.
const (
	operator = "Operator"
	theAgent = "Agent"
)

// eachLine shows each line of conversations as an agent's file has it.
func eachLine(conversations io.Reader, w io.Writer, show func(t *transcript, line []byte)) error {
	out := &transcript{w: bufio.NewWriter(w)}
	in := bufio.NewReader(conversations)
	for {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("cannot read a conversation: %w", err)
		}
		show(out, line)
		if err != nil {
			return out.w.Flush()
		}
	}
}

// readLine returns the next line, empty where it is too long to be looked at.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// transcript writes Markdown. Errors stay in w until it is flushed.
type transcript struct {
	w   *bufio.Writer
	who string // whose words came last
}

// says shows what somebody said, if it is anything.
func (t *transcript) says(who, when, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	t.speaker(who, when)
	fmt.Fprintf(t.w, "%s\n\n", fenced(prose(text)))
}

func (t *transcript) speaker(who, when string) {
	if who == t.who {
		return
	}
	t.who = who
	fmt.Fprintf(t.w, "## %s, %s\n\n", who, stamp(when))
}

// stamp leaves of a time what times are made of: it stands in a heading.
func stamp(when string) string {
	const longest = len("2026-11-29T23:32:24.420000000+00:00")
	when = when[:min(len(when), longest)]
	if other := strings.Trim(when, "0123456789TZ:.+-"); other != "" {
		return when[:strings.Index(when, other)]
	}
	return when
}

// code shows text as a block of code, by indenting it: nothing in it ends that.
func (t *transcript) code(what, text string) {
	fmt.Fprintf(t.w, "*%s*\n\n", prose(strings.NewReplacer("*", "", "\n", " ").Replace(what)))
	cut := ""
	if len(text) > maxShow {
		text, cut = strings.ToValidUTF8(text[:maxShow], ""), "    … and more\n"
	}
	for line := range strings.Lines(text) {
		fmt.Fprintf(t.w, "    %s\n", plain(strings.TrimRight(line, "\r\n")))
	}
	fmt.Fprintf(t.w, "%s\n", cut)
}

// callText is what a tool is called with: a command alone, or all of it.
func callText(input json.RawMessage) string {
	var shell struct{ Command, Cmd string }
	if json.Unmarshal(input, &shell) == nil && shell.Command+shell.Cmd != "" {
		return shell.Command + shell.Cmd
	}
	var text bytes.Buffer
	if json.Indent(&text, input, "", "  ") != nil {
		return ""
	}
	return text.String()
}

// plain leaves nothing that a terminal would act on, or a person misread.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// lively is what a reader of Markdown would fetch, run, or take for our heading.
var lively = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]{0,3}#|^[ \t]*(=+|-+)[ \t]*$|!\[|<[A-Za-z/!?]`)
})

// prose is a text as Markdown in which nothing is fetched and no turn is faked.
// What is fetched becomes an entity: a backslash before it would be undone by one
// of the agent's own.
func prose(text string) string {
	return lively().ReplaceAllStringFunc(plain(text), func(s string) string {
		switch at := strings.IndexAny(s, "#=-![<"); s[at] {
		case '!':
			return "&#33;" + s[at+1:]
		case '<':
			return "&lt;" + s[at+1:]
		default:
			return s[:at] + `\` + s[at:]
		}
	})
}

// fence is a line that begins or ends a block of code in Markdown.
var fence = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("^( {0,3})(`{3,}|~{3,})(.*)$") })

// fenced ends the block of code that a text leaves open, which would take in whatever
// is said next. One that is indented may belong to a list, with whose end it ends: it
// is not one any more.
func fenced(text string) string {
	var b strings.Builder
	open := ""
	for line := range strings.Lines(text) {
		if m := fence().FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			indent, marks, rest := m[1], m[2], m[3]
			switch {
			case open != "":
				if strings.HasPrefix(marks, open) && strings.TrimSpace(rest) == "" {
					open = ""
				}
			case indent != "":
				line = indent + `\` + line[len(indent):]
			case marks[0] == '~' || !strings.Contains(rest, "`"):
				open = marks
			}
		}
		b.WriteString(line)
	}
	if open != "" {
		b.WriteString("\n" + open)
	}
	return b.String()
}

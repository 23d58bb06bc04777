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

// claudeLine is as much of a line of Claude Code's conversations as is shown.
type claudeLine struct {
	Type      string `json:"type"`
	Meta      bool   `json:"isMeta"`
	Side      bool   `json:"isSidechain"`
	Timestamp string `json:"timestamp"`
	Message   struct {
		Content json.RawMessage `json:"content"`
	} `json:"message"`
}

// claudeBlock is one part of a message.
type claudeBlock struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	Name    string          `json:"name"`
	Input   json.RawMessage `json:"input"`
	Content json.RawMessage `json:"content"`
}

// Transcript shows what the operator and the agent said, and what tools were
// called with and answered.
func (claude) Transcript(conversations io.Reader, w io.Writer) error {
	out := &transcript{w: bufio.NewWriter(w)}
	in := bufio.NewReader(conversations)
	for {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("cannot read a conversation: %w", err)
		}
		var l claudeLine
		if json.Unmarshal(line, &l) == nil && !l.Meta && !l.Side && (l.Type == "user" || l.Type == "assistant") {
			out.message(l)
		}
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

func (t *transcript) message(l claudeLine) {
	for _, b := range claudeBlocks(l.Message.Content) {
		switch b.Type {
		case "text":
			if strings.TrimSpace(b.Text) != "" {
				t.speaker(map[string]string{"user": "Operator", "assistant": "Agent"}[l.Type], l.Timestamp)
				fmt.Fprintf(t.w, "%s\n\n", prose(b.Text))
			}
		case "tool_use":
			t.speaker("Agent", l.Timestamp)
			t.code("calls "+b.Name, callText(b.Input))
		case "tool_result":
			for _, part := range claudeBlocks(b.Content) {
				t.code("answered", part.Text)
			}
		}
	}
}

// claudeBlocks are the parts of a content, which may be a text alone.
func claudeBlocks(content json.RawMessage) (blocks []claudeBlock) {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return []claudeBlock{{Type: "text", Text: text}}
	}
	if json.Unmarshal(content, &blocks) != nil {
		return nil
	}
	return blocks
}

// callText is what a tool is called with: a command alone, or all of it.
func callText(input json.RawMessage) string {
	var shell struct{ Command string }
	if json.Unmarshal(input, &shell) == nil && shell.Command != "" {
		return shell.Command
	}
	var text bytes.Buffer
	if json.Indent(&text, input, "", "  ") != nil {
		return ""
	}
	return text.String()
}

func (t *transcript) speaker(who, when string) {
	if who == t.who {
		return
	}
	t.who = who
	fmt.Fprintf(t.w, "## %s, %s\n\n", who, plain(when))
}

// code shows text as a block of code, by indenting it: nothing in it ends that.
func (t *transcript) code(what, text string) {
	fmt.Fprintf(t.w, "*%s*\n\n", prose(strings.ReplaceAll(what, "*", "")))
	cut := ""
	if len(text) > maxShow {
		text, cut = strings.ToValidUTF8(text[:maxShow], ""), "    … and more\n"
	}
	for line := range strings.Lines(text) {
		fmt.Fprintf(t.w, "    %s\n", plain(strings.TrimRight(line, "\r\n")))
	}
	fmt.Fprintf(t.w, "%s\n", cut)
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
func prose(text string) string {
	return lively().ReplaceAllStringFunc(plain(text), func(s string) string {
		at := strings.IndexAny(s, "#=-![<")
		return s[:at] + `\` + s[at:]
	})
}

package agent

import (
	"encoding/json"
	"io"
	"strings"
)

// codexLine is as much of a line of Codex's rollouts as is shown.
type codexLine struct {
	Timestamp string `json:"timestamp"`
	Type      string `json:"type"`
	Payload   struct {
		Type      string          `json:"type"`
		Role      string          `json:"role"`
		Content   json.RawMessage `json:"content"`
		Name      string          `json:"name"`
		Namespace string          `json:"namespace"`
		Arguments string          `json:"arguments"` // a function's, as JSON
		Input     string          `json:"input"`     // of a tool that takes a text
		Output    json.RawMessage `json:"output"`
	} `json:"payload"`
}

// Transcript shows what the operator and the agent said, and what tools were
// called with and answered.
func (codex) Transcript(conversations io.Reader, w io.Writer) error {
	return eachLine(conversations, w, func(t *transcript, line []byte) {
		var l codexLine
		if json.Unmarshal(line, &l) == nil && l.Type == "response_item" {
			l.show(t)
		}
	})
}

func (l codexLine) show(t *transcript) {
	p := l.Payload
	switch p.Type {
	case "message":
		for _, b := range blocksOf(p.Content) {
			switch {
			case p.Role == "assistant":
				t.says(theAgent, l.Timestamp, b.Text)
			case p.Role == "user" && !codexOwn(b.Text):
				t.says(operator, l.Timestamp, b.Text)
			}
		}
	case "function_call", "custom_tool_call":
		t.speaker(theAgent, l.Timestamp)
		name := p.Name
		if p.Namespace != "" {
			name = p.Namespace + " " + name
		}
		t.code("calls "+name, p.Input+callText(json.RawMessage(p.Arguments)))
	case "function_call_output", "custom_tool_call_output":
		for _, b := range blocksOf(p.Output) {
			t.code("answered", b.Text)
		}
	}
}

// codexOwn says whether a text is one that Codex itself puts into its user's mouth.
func codexOwn(text string) bool {
	for _, head := range []string{"<environment_context>", "<user_instructions>", "<turn_aborted>", "<user_shell_command>", "# AGENTS.md instructions"} {
		if strings.HasPrefix(strings.TrimSpace(text), head) {
			return true
		}
	}
	return false
}

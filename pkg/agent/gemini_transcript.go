package agent

import (
	"encoding/json"
	"io"
	"strings"
)

// geminiLine is as much of a line of Gemini CLI's conversations as is shown.
type geminiLine struct {
	ID        string          `json:"id"`
	Timestamp string          `json:"timestamp"`
	Type      string          `json:"type"`
	Content   json.RawMessage `json:"content"`
	Calls     []struct {
		Name   string          `json:"name"`
		Args   json.RawMessage `json:"args"`
		Result []struct {
			Response struct {
				Response struct {
					Output string `json:"output"`
					Error  string `json:"error"`
				} `json:"response"`
			} `json:"functionResponse"`
		} `json:"result"`
	} `json:"toolCalls"`
}

// Transcript shows what the operator and the agent said, and what tools were
// called with and answered. A message is written again when its tools have
// answered.
func (gemini) Transcript(conversations io.Reader, w io.Writer) error {
	said := ""
	return eachLine(conversations, w, func(t *transcript, line []byte) {
		var l geminiLine
		if json.Unmarshal(line, &l) != nil || l.Type != "user" && l.Type != "gemini" {
			return
		}
		l.show(t, l.ID == said)
		said = l.ID
	})
}

func (l geminiLine) show(t *transcript, again bool) {
	who := map[string]string{"user": operator, "gemini": theAgent}[l.Type]
	for _, b := range blocksOf(l.Content) {
		if !again && !strings.HasPrefix(b.Text, "<session_context>") {
			t.says(who, l.Timestamp, b.Text)
		}
	}
	for _, c := range l.Calls {
		t.speaker(theAgent, l.Timestamp)
		t.code("calls "+c.Name, callText(c.Args))
		for _, r := range c.Result {
			t.code("answered", r.Response.Response.Output+r.Response.Response.Error)
		}
	}
}

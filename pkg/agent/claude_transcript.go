package agent

import (
	"encoding/json"
	"io"
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

// Transcript shows what the operator and the agent said, and what tools were
// called with and answered.
func (claude) Transcript(conversations io.Reader, w io.Writer) error {
	return eachLine(conversations, w, func(t *transcript, line []byte) {
		var l claudeLine
		if json.Unmarshal(line, &l) == nil && !l.Meta && !l.Side && (l.Type == "user" || l.Type == "assistant") {
			l.show(t)
		}
	})
}

func (l claudeLine) show(t *transcript) {
	for _, b := range blocksOf(l.Message.Content) {
		switch b.Type {
		case "text":
			t.says(map[string]string{"user": operator, "assistant": theAgent}[l.Type], l.Timestamp, b.Text)
		case "tool_use":
			t.speaker(theAgent, l.Timestamp)
			t.code("calls "+b.Name, callText(b.Input))
		case "tool_result":
			for _, part := range blocksOf(b.Content) {
				t.code("answered", part.Text)
			}
		}
	}
}

package agent

import (
	"encoding/json"
	"io"
)

// opencodeLine is a message as the plugin writes it down.
type opencodeLine struct {
	Role  string `json:"role"`
	Time  string `json:"time"`
	Parts []struct {
		Type   string          `json:"type"`
		Text   string          `json:"text"`
		Tool   string          `json:"tool"`
		Input  json.RawMessage `json:"input"`
		Output string          `json:"output"`
	} `json:"parts"`
}

// Transcript shows what the operator and the agent said, and what tools were
// called with and answered.
func (opencode) Transcript(conversations io.Reader, w io.Writer) error {
	return eachLine(conversations, w, func(t *transcript, line []byte) {
		var l opencodeLine
		who := map[string]string{"user": operator, "assistant": theAgent}
		if json.Unmarshal(line, &l) != nil || who[l.Role] == "" {
			return
		}
		for _, p := range l.Parts {
			switch p.Type {
			case "text":
				t.says(who[l.Role], l.Time, p.Text)
			case "tool":
				t.speaker(theAgent, l.Time)
				t.code("calls "+p.Tool, callText(p.Input))
				t.code("answered", p.Output)
			}
		}
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// messagesAPI is Anthropic's.
var messagesAPI = speech{read: readMessages, users: byUser, answer: answerMessages}

// fields are what requests by several APIs have alike.
type fields struct {
	Model    string            `json:"model"`
	Stream   bool              `json:"stream"`
	Messages []json.RawMessage `json:"messages"`
	Input    json.RawMessage   `json:"input"`
	Contents []json.RawMessage `json:"contents"`
}

func readMessages(_ string, body []byte) (asked, error) {
	var f fields
	err := json.Unmarshal(body, &f)
	return asked{f.Model, f.Stream, f.Messages}, err
}

func byUser(turn json.RawMessage) bool {
	var who struct{ Role string }
	return json.Unmarshal(turn, &who) == nil && who.Role == "user"
}

// blocks is the content of the answer to a conversation of n messages.
func (l line) blocks(n int) (blocks []map[string]any, reason string) {
	reason = "end_turn"
	if l.Say != "" {
		blocks = append(blocks, map[string]any{"type": "text", "text": l.Say})
	}
	if l.Tool != "" {
		reason = "tool_use"
		blocks = append(blocks, map[string]any{"type": "tool_use", "id": fmt.Sprintf("toolu_%024d", n), "name": l.Tool, "input": l.Input})
	}
	return blocks, reason
}

func answerMessages(w http.ResponseWriter, l line, q asked) {
	blocks, reason := l.blocks(len(q.turns))
	usage := map[string]int{"input_tokens": 1, "output_tokens": 1}
	message := map[string]any{"id": fmt.Sprintf("msg_%d", len(q.turns)), "type": "message", "role": "assistant", "model": q.model, "usage": usage, "content": blocks, "stop_reason": reason}
	if !q.stream {
		answered(w, message)
		return
	}
	send := func(kind string, fields map[string]any) {
		fields["type"] = kind
		event(w, kind, fields)
	}
	message["content"], message["stop_reason"] = []any{}, nil
	send("message_start", map[string]any{"message": message})
	for i, b := range blocks {
		start, delta := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": b["text"]}
		if b["type"] == "tool_use" {
			start = map[string]any{"type": "tool_use", "id": b["id"], "name": b["name"], "input": map[string]any{}}
			delta = map[string]any{"type": "input_json_delta", "partial_json": string(l.Input)}
		}
		send("content_block_start", map[string]any{"index": i, "content_block": start})
		send("content_block_delta", map[string]any{"index": i, "delta": delta})
		send("content_block_stop", map[string]any{"index": i})
	}
	send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": reason}, "usage": usage})
	send("message_stop", map[string]any{})
}

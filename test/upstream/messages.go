package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// The Messages API of a model's provider, as a script has it: what is answered
// depends on what was said last, and on what was said before.

// scriptFile is the script, in the directory of files: a JSON array of lines.
const scriptFile = "messages.json"

// line is one line of the script. The first whose texts are all found speaks.
type line struct {
	Last    string          `json:"last"`    // in the user's last message, which tool results are too
	History string          `json:"history"` // anywhere in the conversation
	Say     string          `json:"say"`
	Tool    string          `json:"tool"`  // the tool to call, besides
	Input   json.RawMessage `json:"input"` // what with
}

// asked is as much of a request as the script looks at.
type asked struct {
	Model    string            `json:"model"`
	Stream   bool              `json:"stream"`
	Messages []json.RawMessage `json:"messages"`
}

const maxAsked = 32 << 20

// messages answers as the script says, where there is one.
func (d *diary) messages(w http.ResponseWriter, r *http.Request, kind string) bool {
	script, err := os.ReadFile(filepath.Join(d.files, scriptFile))
	if d.files == "" || err != nil || r.URL.Path != "/v1/messages" {
		return false
	}
	var lines []line
	var q asked
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAsked))
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err == nil {
		err = json.Unmarshal(script, &lines)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	l := pick(lines, q)
	d.note(entry{Kind: kind, From: r.RemoteAddr, Host: r.Host, Method: r.Method, Path: r.URL.RequestURI(), Header: headerLines(r),
		Detail: fmt.Sprintf("%d messages: %s%s", len(q.Messages), l.Say, l.Tool)})
	l.answer(w, q)
	return true
}

// pick is the line that fits.
func pick(lines []line, q asked) line {
	var all strings.Builder
	last := ""
	for _, m := range q.Messages {
		all.Write(m)
		var who struct{ Role string }
		if json.Unmarshal(m, &who) == nil && who.Role == "user" { // reminders may follow it
			last = string(m)
		}
	}
	for _, l := range lines {
		if strings.Contains(last, l.Last) && strings.Contains(all.String(), l.History) {
			return l
		}
	}
	return line{Say: "nothing in the script fits"}
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

func (l line) answer(w http.ResponseWriter, q asked) {
	blocks, reason := l.blocks(len(q.Messages))
	usage := map[string]int{"input_tokens": 1, "output_tokens": 1}
	message := map[string]any{"id": fmt.Sprintf("msg_%d", len(q.Messages)), "type": "message", "role": "assistant", "model": q.Model, "usage": usage, "content": blocks, "stop_reason": reason}
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(message)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(kind string, fields map[string]any) {
		fields["type"] = kind
		data, err := json.Marshal(fields)
		if err != nil {
			panic(err) // maps of text
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data)
	}
	message["content"], message["stop_reason"] = []any{}, nil
	event("message_start", map[string]any{"message": message})
	for i, b := range blocks {
		start, delta := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": b["text"]}
		if b["type"] == "tool_use" {
			start = map[string]any{"type": "tool_use", "id": b["id"], "name": b["name"], "input": map[string]any{}}
			delta = map[string]any{"type": "input_json_delta", "partial_json": string(l.Input)}
		}
		event("content_block_start", map[string]any{"index": i, "content_block": start})
		event("content_block_delta", map[string]any{"index": i, "delta": delta})
		event("content_block_stop", map[string]any{"index": i})
	}
	event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": reason}, "usage": usage})
	event("message_stop", map[string]any{})
}

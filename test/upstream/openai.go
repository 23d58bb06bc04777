package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// OpenAI's two APIs.
var (
	responsesAPI = speech{read: readResponses, users: byUserOrTool, answer: answerResponses}
	chatAPI      = speech{read: readMessages, users: byUserOrTool, answer: answerChat}
)

func readResponses(_ string, body []byte) (asked, error) {
	var f fields
	if err := json.Unmarshal(body, &f); err != nil {
		return asked{}, err
	}
	var turns []json.RawMessage
	if json.Unmarshal(f.Input, &turns) != nil {
		turns = []json.RawMessage{f.Input} // a text alone
	}
	return asked{f.Model, f.Stream, turns}, nil
}

func byUserOrTool(turn json.RawMessage) bool {
	var who struct{ Role, Type string }
	return json.Unmarshal(turn, &who) == nil && (who.Role == "user" || who.Role == "tool" || strings.HasSuffix(who.Type, "_output"))
}

// items are the output of a response to a conversation of n items.
func (l line) items(n int) (items []map[string]any) {
	if l.Say != "" {
		items = append(items, map[string]any{"type": "message", "id": fmt.Sprintf("msg_%d", n), "role": "assistant", "status": "completed",
			"content": []any{map[string]any{"type": "output_text", "text": l.Say, "annotations": []any{}}}})
	}
	if l.Tool != "" {
		call := map[string]any{"type": "function_call", "id": fmt.Sprintf("fc_%d", n), "call_id": fmt.Sprintf("call_%d", n),
			"name": l.Tool, "arguments": string(l.Input), "status": "completed"}
		if l.Text != "" {
			call["type"], call["input"] = "custom_tool_call", l.Text
			delete(call, "arguments")
		}
		items = append(items, call)
	}
	return items
}

func answerResponses(w http.ResponseWriter, l line, q asked) {
	items := l.items(len(q.turns))
	usage := map[string]any{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
		"input_tokens_details": map[string]int{"cached_tokens": 0}, "output_tokens_details": map[string]int{"reasoning_tokens": 0}}
	doc := map[string]any{"id": fmt.Sprintf("resp_%d", len(q.turns)), "object": "response", "created_at": 1, "model": q.model, "status": "completed", "output": items, "usage": usage}
	if !q.stream {
		answered(w, doc)
		return
	}
	at := 0
	send := func(kind string, fields map[string]any) {
		fields["type"], fields["sequence_number"] = kind, at
		at++
		event(w, kind, fields)
	}
	begun := map[string]any{"id": doc["id"], "object": "response", "created_at": 1, "model": q.model, "status": "in_progress", "output": []any{}}
	send("response.created", map[string]any{"response": begun})
	for i, item := range items {
		send("response.output_item.added", map[string]any{"output_index": i, "item": item})
		at := map[string]any{"output_index": i, "content_index": 0, "item_id": item["id"]}
		switch item["type"] {
		case "message":
			at["delta"] = l.Say
			send("response.output_text.delta", at)
		case "function_call":
			at["arguments"], at["delta"] = item["arguments"], item["arguments"]
			send("response.function_call_arguments.delta", at)
			send("response.function_call_arguments.done", at)
		}
		send("response.output_item.done", map[string]any{"output_index": i, "item": item})
	}
	send("response.completed", map[string]any{"response": doc})
}

func answerChat(w http.ResponseWriter, l line, q asked) {
	message, reason := map[string]any{"role": "assistant", "content": l.Say}, "stop"
	if l.Tool != "" {
		reason = "tool_calls"
		message["tool_calls"] = []any{map[string]any{"index": 0, "id": fmt.Sprintf("call_%d", len(q.turns)), "type": "function",
			"function": map[string]any{"name": l.Tool, "arguments": string(l.Input)}}}
	}
	doc := map[string]any{"id": fmt.Sprintf("chatcmpl-%d", len(q.turns)), "created": 1, "model": q.model}
	usage := map[string]int{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
	send := func(key string, part map[string]any, reason any) {
		doc["choices"] = []any{map[string]any{"index": 0, key: part, "finish_reason": reason}}
		if q.stream {
			event(w, "", doc)
		} else {
			answered(w, doc)
		}
	}
	if !q.stream {
		doc["object"], doc["usage"] = "chat.completion", usage
		send("message", message, reason)
		return
	}
	doc["object"] = "chat.completion.chunk"
	send("delta", message, nil)
	doc["usage"] = usage
	send("delta", map[string]any{}, reason)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

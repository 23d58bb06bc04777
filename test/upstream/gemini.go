package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
)

// geminiAPI is Google's, in which the path says how to answer.
var geminiAPI = speech{read: readGemini, users: byUser, answer: answerGemini}

func readGemini(p string, body []byte) (asked, error) {
	var f fields
	err := json.Unmarshal(body, &f)
	model, how, _ := strings.Cut(path.Base(p), ":")
	return asked{model, how == "streamGenerateContent", f.Contents}, err
}

func answerGemini(w http.ResponseWriter, l line, q asked) {
	var parts []any
	if l.Say != "" {
		parts = append(parts, map[string]any{"text": l.Say})
	}
	if l.Tool != "" {
		parts = append(parts, map[string]any{"functionCall": map[string]any{"id": fmt.Sprintf("call-%d", len(q.turns)), "name": l.Tool, "args": l.Input}})
	}
	doc := map[string]any{"responseId": fmt.Sprintf("r%d", len(q.turns)), "modelVersion": q.model,
		"usageMetadata": map[string]int{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
		"candidates":    []any{map[string]any{"index": 0, "finishReason": "STOP", "content": map[string]any{"role": "model", "parts": parts}}}}
	if q.stream {
		event(w, "", doc)
		return
	}
	answered(w, doc)
}

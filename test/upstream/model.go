package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The models' APIs, as one script has them: what is answered depends on what was
// said last, and on what was said before.

// scriptFile is the script, in the directory of files: a JSON array of lines.
const scriptFile = "messages.json"

// line is one line of the script. The first whose texts are all found speaks.
type line struct {
	Last    string          `json:"last"`    // in the user's last message, which tool results are too
	History string          `json:"history"` // anywhere in the conversation
	Say     string          `json:"say"`
	Tool    string          `json:"tool"`  // the tool to call, besides
	Input   json.RawMessage `json:"input"` // what with: an object
	Text    string          `json:"text"`  // or, where it takes one, a text
	After   string          `json:"after"` // a file beside the script: nothing is said before it is there
}

// await waits until the line may be said, or nobody listens any more.
func (d *diary) await(ctx context.Context, l line) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for l.After != "" && ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(d.files, filepath.Base(l.After))); err == nil {
			return
		}
		<-tick.C
	}
}

// asked is what the script looks at of a request.
type asked struct {
	model  string
	stream bool
	turns  []json.RawMessage
}

// speech is one provider's way to be asked and to answer.
type speech struct {
	read   func(path string, body []byte) (asked, error)
	users  func(turn json.RawMessage) bool // it is the user's, or a tool's result
	answer func(w http.ResponseWriter, l line, q asked)
}

// speeches are those that are known, by what their paths end in.
var speeches = map[string]speech{
	"/v1/messages":           messagesAPI,
	"/v1/responses":          responsesAPI,
	"/v1/chat/completions":   chatAPI,
	":generateContent":       geminiAPI,
	":streamGenerateContent": geminiAPI,
}

func speechFor(path string) (speech, bool) {
	for end, s := range speeches {
		if strings.HasSuffix(path, end) {
			return s, true
		}
	}
	return speech{}, false
}

const maxAsked = 32 << 20

// modelled answers as the script says, where there is one.
func (d *diary) modelled(w http.ResponseWriter, r *http.Request, kind string) bool {
	s, known := speechFor(r.URL.Path)
	if !known || d.files == "" {
		return false
	}
	script, err := os.ReadFile(filepath.Join(d.files, scriptFile))
	if err != nil {
		return false
	}
	var lines []line
	var q asked
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAsked))
	if err == nil {
		q, err = s.read(r.URL.Path, body)
	}
	if err == nil {
		err = json.Unmarshal(script, &lines)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return true
	}
	l := pick(lines, q, s.users)
	d.note(entry{Kind: kind, From: r.RemoteAddr, Host: r.Host, Method: r.Method, Path: r.URL.RequestURI(), Header: headerLines(r),
		Detail: fmt.Sprintf("%d messages: %s%s", len(q.turns), l.Say, l.Tool)})
	d.await(r.Context(), l)
	s.answer(w, l, q)
	return true
}

// pick is the line that fits.
func pick(lines []line, q asked, users func(json.RawMessage) bool) line {
	var all strings.Builder
	last := ""
	for _, m := range q.turns {
		all.Write(m)
		if users(m) { // reminders may follow it
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

// answered sends a document that is not streamed.
func answered(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(doc)
}

// event sends one event of a stream; one without a name has data alone.
func event(w http.ResponseWriter, name string, doc any) {
	w.Header().Set("Content-Type", "text/event-stream")
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps of text
	}
	if name != "" {
		fmt.Fprintf(w, "event: %s\n", name)
	}
	fmt.Fprintf(w, "data: %s\n\n", data)
}

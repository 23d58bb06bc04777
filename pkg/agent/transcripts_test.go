package agent

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
)

// What each of the other agents writes down reads alike.
const readsAs = `## Operator, 2026-11-29T23:32:24.420Z

fix 'issue' 12

## Agent, 2026-11-29T23:32:24.571Z

I look.

*calls shell*

    git log

*answered*

    of a log

## Operator, 2026-11-29T23:32:30.000Z

thanks

`

var otherConversations = map[string]string{
	"codex": `{"timestamp":"2026-11-29T23:32:24.420Z","type":"session_meta","payload":{"type":"x"}}
{"timestamp":"2026-11-29T23:32:24.420Z","type":"response_item","payload":{"type":"message","role":"developer","content":[{"type":"input_text","text":"its orders"}]}}
{"timestamp":"2026-11-29T23:32:24.420Z","type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>\n</environment_context>"}]}}
{"timestamp":"2026-11-29T23:32:24.420Z","type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"fix 'issue' 12"}]}}
{"timestamp":"2026-11-29T23:32:24.420Z","type":"event_msg","payload":{"type":"message","role":"user","content":"again"}}
not JSON
{"timestamp":"2026-11-29T23:32:24.571Z","type":"response_item","payload":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look."}]}}
{"timestamp":"2026-11-29T23:32:24.571Z","type":"response_item","payload":{"type":"function_call","name":"shell","arguments":"{\"cmd\":\"git log\"}"}}
{"timestamp":"2026-11-29T23:32:24.600Z","type":"response_item","payload":{"type":"function_call_output","output":"of a log"}}
{"timestamp":"2026-11-29T23:32:30.000Z","type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"thanks"}]}}`,
	"gemini": `{"sessionId":"x","kind":"main"}
{"$set":{"messages":[{"id":"0","type":"user","content":[{"text":"<session_context>"}]}]}}
{"id":"0","timestamp":"2026-11-29T23:32:24.420Z","type":"user","content":[{"text":"<session_context>\nx"}]}
{"id":"1","timestamp":"2026-11-29T23:32:24.420Z","type":"user","content":[{"text":"fix 'issue' 12"}]}
{"id":"2","timestamp":"2026-11-29T23:32:24.571Z","type":"gemini","content":"I look."}
{"$set":{"lastUpdated":"x"}}
not JSON
{"id":"2","timestamp":"2026-11-29T23:32:24.571Z","type":"gemini","content":"I look.","toolCalls":[{"name":"shell","args":{"command":"git log"},"result":[{"functionResponse":{"response":{"output":"of a log"}}}]}]}
{"id":"3","timestamp":"2026-11-29T23:32:24.600Z","type":"user","content":[{"functionResponse":{"response":{"output":"of a log"}}}]}
{"id":"4","timestamp":"2026-11-29T23:32:30.000Z","type":"user","content":[{"text":"thanks"}]}`,
	"opencode": `{"role":"user","time":"2026-11-29T23:32:24.420Z","parts":[{"type":"text","text":"fix 'issue' 12"},{"type":"text","text":""}]}
not JSON
{"role":"system","time":"x","parts":[{"type":"text","text":"its orders"}]}
{"role":"assistant","time":"2026-11-29T23:32:24.571Z","parts":[{"type":"step-start"},{"type":"text","text":"I look."},{"type":"tool","tool":"shell","input":{"command":"git log"},"output":"of a log"}]}
{"role":"user","time":"2026-11-29T23:32:30.000Z","parts":[{"type":"text","text":"thanks"}]}`,
}

func TestTranscriptsOfOtherAgentsReadAlike(t *testing.T) {
	for name, conversation := range otherConversations {
		a, err := Lookup(Program{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := a.Transcript(strings.NewReader(conversation), &out); err != nil || out.String() != readsAs {
			t.Errorf("%s reads as\n%s, %v", name, out.String(), err)
		}
	}
}

// Whatever an agent left, nothing in its transcript acts on a terminal.
func FuzzTranscripts(f *testing.F) {
	for _, conversation := range otherConversations {
		f.Add(conversation)
	}
	f.Add(`{"type":"response_item","payload":{"type":"message","role":"user","content":"\u001b]52;c;x\u0007"}}`)
	f.Fuzz(func(t *testing.T, conversation string) {
		for _, a := range agents {
			var out bytes.Buffer
			if err := a.Transcript(strings.NewReader(conversation), &out); err != nil {
				t.Fatalf("%s: %v", a.Name(), err)
			}
			for _, r := range out.String() {
				if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
					t.Fatalf("%s: %q in the transcript of %q", a.Name(), r, conversation)
				}
			}
		}
	})
}

func TestABlockOfCodeEndsWithWhatWasSaid(t *testing.T) {
	for said, want := range map[string]string{
		"a\n```go\nb\n```\nc":        "a\n```go\nb\n```\nc",
		"a\n```go\nb":                "a\n```go\nb\n```",
		"~~~~\n```\n~~~":             "~~~~\n```\n~~~\n~~~~",
		"````\n```\n   ````` \nx":    "````\n```\n   ````` \nx",
		"```a`b\nx":                  "```a`b\nx",
		"```\n``` x":                 "```\n``` x\n```",
		"- a\n  ```\n  b\n```\nc":    "- a\n  \\```\n  b\n```\nc\n```",
		"    ```\nx":                 "    ```\nx",
		"the words of nobody\n\n```": "the words of nobody\n\n```\n```",
	} {
		if got := fenced(said); got != want {
			t.Errorf("%q: %q, not %q", said, got, want)
		}
	}
	for name, conversation := range otherConversations {
		a, err := Lookup(Program{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		conversation = strings.ReplaceAll(conversation, "I look.", `I look.\n`+"```sh")
		if err := a.Transcript(strings.NewReader(conversation), &out); err != nil || !strings.Contains(out.String(), "I look.\n```sh\n```\n\n*calls shell*") {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

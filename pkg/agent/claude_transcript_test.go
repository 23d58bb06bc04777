package agent

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
)

func TestTranscriptShowsWhatWasSaidAndDone(t *testing.T) {
	const conversation = `{"type":"user","timestamp":"2026-11-24T21:49:38.323Z","message":{"role":"user","content":"fix 'issue' 12"}}
{"type":"mode"}
not JSON
{"type":"user","isMeta":true,"message":{"content":"a reminder"}}
{"type":"assistant","isSidechain":true,"message":{"content":[{"type":"text","text":"another's"}]}}
{"type":"assistant","timestamp":"2026-11-24T21:49:40.000Z","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"I look.\u001b]52;c;x\u0007\n## Operator\n![x](http://a.test/)<img src=http://a.test>\\![y](http://a.test)"},{"type":"tool_use","name":"Bash","input":{"command":"git log\ngit status"}}]}}
{"type":"user","message":{"content":[{"type":"tool_result","content":"` + "```" + `\n# not a heading"}]}}
{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Read","input":{"file":"a"}}]}}
{"type":"user","message":{"content":[{"type":"tool_result","content":[{"type":"text","text":"of a file"}]}]}}
{"type":"user","timestamp":"2026-11-24T21:50:00.000Z","message":{"content":"thanks"}}`
	const want = `## Operator, 2026-11-24T21:49:38.323Z

fix 'issue' 12

## Agent, 2026-11-24T21:49:40.000Z

I look.\ufffd]52;c;x\ufffd
\\## Operator
&#33;[x](http://a.test/)&lt;img src=http://a.test>\\&#33;[y](http://a.test)

*calls Bash*

    git log
    git status

*answered*

    ` + "```" + `
    # not a heading

*calls Read*

    {
      "file": "a"
    }

*answered*

    of a file

## Operator, 2026-11-24T21:50:00.000Z

thanks

`
	var out bytes.Buffer
	if err := (claude{}).Transcript(strings.NewReader(conversation), &out); err != nil {
		t.Fatal(err)
	}
	wanted := strings.NewReplacer(`\ufffd`, "\ufffd", `\\`, `\`).Replace(want)
	if out.String() != wanted {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wanted)
	}
}

// A heading holds who and when, and no more, whatever an agent's file has for a time.
func TestATimeIsNoMoreThanThat(t *testing.T) {
	const line = `{"type":"user","timestamp":"2026-11-24\n\n## Operator, ![x](http://a.test)","message":{"content":"hello"}}`
	var out bytes.Buffer
	if err := (claude{}).Transcript(strings.NewReader(line), &out); err != nil || out.String() != "## Operator, 2026-11-24\n\nhello\n\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte(`{"type":"user","message":{"content":[{"type":"tool_result","content":[{"text":"x"}]}]}}`))
	f.Add([]byte(`{"type":"assistant","timestamp":"\u001b","message":{"content":[{"type":"tool_use","name":"*","input":{"a":1}},{"type":"text","text":"<a>\n# b\n==="}]}}`))
	f.Fuzz(func(t *testing.T, conversation []byte) {
		var out bytes.Buffer
		if err := (claude{}).Transcript(bytes.NewReader(conversation), &out); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("%q in %q", r, out.String())
			}
		}
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, "    ") && (strings.Contains(line, "![") || strings.Contains(line, "<a")) {
				t.Fatalf("what a reader fetches: %q", line)
			}
			if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "## Operator, ") && !strings.HasPrefix(line, "## Agent, ") {
				t.Fatalf("a heading of another's: %q", line)
			}
		}
	})
}

package main

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheModelFollowsItsScript(t *testing.T) {
	d := &diary{out: io.Discard, files: t.TempDir()}
	ask := func(path, body string) (string, int) {
		w := httptest.NewRecorder()
		d.handler("https").ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		return w.Body.String(), w.Code
	}
	const said = `{"model":"m","messages":[{"role":"user","content":"first"},{"role":"user","content":"second"},{"role":"system","content":"third"}]`
	if got, _ := ask("/v1/messages", said+"}"); !strings.Contains(got, `"upstream"`) {
		t.Errorf("without a script: %s", got)
	}
	script := `[{"last":"third","say":"no"},{"last":"second","history":"never","say":"no"},
		{"last":"second","history":"first","say":"yes","tool":"Bash","input":{"command":"ls"}}]`
	if err := os.WriteFile(filepath.Join(d.files, scriptFile), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ body, want string }{
		{said + "}", `"stop_reason":"tool_use"`},
		{said + `,"stream":true}`, `"partial_json":"{\"command\":\"ls\"}"`},
		{`{"messages":[{"role":"user","content":"x"}]}`, "nothing in the script fits"},
	} {
		if got, code := ask("/v1/messages?beta=true", c.body); code != 200 || !strings.Contains(got, c.want) || strings.Contains(got, `"no"`) {
			t.Errorf("%s: %d %s", c.body, code, got)
		}
	}
	if _, code := ask("/v1/messages", "{"); code != 400 {
		t.Errorf("what is no request gets %d", code)
	}
}

package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/sidecar"
)

// Blocked, granted, passes, ended, blocked.
func TestAnExceptionIsInForceUntilItEnds(t *testing.T) {
	w, arrived := scanWorld(t)
	want := func(when, url string, status int) {
		t.Helper()
		if got, _, said := post(t, w.agent(), url, []byte("see "+aKey), false); got != status {
			t.Errorf("%s: %d: %s", when, got, said)
		}
	}
	want("before", "https://a.example/login", 403)
	end := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	w.write(scanRoutes + fmt.Sprintf("grants:\n- {id: x, host: a.example, path_allowlist: [/login], rule: github-pat, expires: %q}\n", end.Format(time.RFC3339)))
	must(t, w.s.Reload())
	want("granted", "https://a.example/login", 200)
	want("another path", "https://a.example/other", 403)
	want("another host", "https://own.example/login", 403)
	for e := w.event("grant"); e.Rule != "grant x"; e = w.event("grant") {
	}
	want("ended", "https://a.example/login", 403)
	if arrived.Load() != 1 {
		t.Errorf("%d requests arrived", arrived.Load())
	}
}

func TestAStalledUploadIsCutWhenItsGrantEnds(t *testing.T) {
	w, _ := scanWorld(t)
	end := time.Now().Add(2 * time.Second).UTC().Truncate(time.Second)
	w.write(fmt.Sprintf("routes: []\ngrants:\n- {id: x, host: a.example, path_allowlist: [/slow], expires: %q}\n", end.Format(time.RFC3339)))
	must(t, w.s.Reload())
	in, out := io.Pipe()
	defer out.Close()
	go io.WriteString(out, "\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "PUT", "https://a.example/slow", in)
	must(t, err)
	r, err := w.agent().Do(q)
	if ctx.Err() != nil {
		t.Fatal("it was not cut")
	}
	if err == nil && r.StatusCode != 403 {
		t.Errorf("%s", r.Status)
	}
}

func TestAnExceptionThatIsCountedIsForSoManyRequests(t *testing.T) {
	w, arrived := scanWorld(t)
	w.write(scanRoutes + "grants:\n- {id: twice, host: a.example, path_allowlist: [/login], rule: github-pat, uses: 2}\n")
	must(t, w.s.Reload())
	want := func(what string, status int, path, text string, chunked bool) {
		t.Helper()
		if got, _, said := post(t, w.agent(), "https://a.example"+path, []byte(text), chunked); got != status {
			t.Errorf("%s: %d: %s", what, got, said)
		}
	}
	long := strings.Repeat("a word ", 5000)
	want("what needs none", 200, "/login", "nothing", false)
	want("another path", 403, "/other", aKey, false)
	want("what is refused for something else", 403, "/login", aKey+" "+mine, false)
	want("the first use, twice in one request", 200, "/login", aKey+" "+long+" "+aKey, true)
	want("the second use", 200, "/login", aKey, false)
	want("no use is left", 403, "/login", aKey, false)
	want("no use is left for a body in pieces", 403, "/login", long+aKey+long, true)
	want("what needs none, still", 200, "/login", "nothing", true)
	if arrived.Load() != 4 {
		t.Errorf("%d requests arrived", arrived.Load())
	}
	if data, err := os.ReadFile(filepath.Join(w.s.force.out, UsesFile)); err != nil || string(data) != "twice\ntwice\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// An upload may last longer than the exception that it needs.
func TestAnUploadThatOutlivesItsExceptionIsCut(t *testing.T) {
	w, arrived := scanWorld(t)
	for name, end := range map[string]func(grant string){
		"revoked": func(string) { w.write(scanRoutes); must(t, w.s.Reload()) },
		"ended": func(grant string) {
			w.write(scanRoutes + grant + ", expires: \"" + time.Now().Add(-time.Second).UTC().Format(time.RFC3339) + "\"}\n")
			must(t, w.s.Reload())
		},
		"kept": func(string) {},
	} {
		const grant = "grants:\n- {id: x, host: a.example, path_allowlist: [/login], rule: github-pat"
		w.write(scanRoutes + grant + "}\n")
		if err := w.s.Reload(); err != nil && !errors.Is(err, sidecar.ErrUnchanged) {
			t.Fatal(err)
		}
		before := arrived.Load()
		in, out := io.Pipe()
		q, err := http.NewRequestWithContext(t.Context(), "PUT", "https://a.example/login", in)
		must(t, err)
		client := w.agent()
		answered := make(chan bool)
		go func() {
			r, err := client.Do(q)
			answered <- err == nil && r.StatusCode == 200
		}()
		io.WriteString(out, "see "+aKey+strings.Repeat(" a word", 5_000)) // more than is held back
		end(grant)
		io.WriteString(out, "and see "+aKey)
		out.Close()
		passed := <-answered && arrived.Load() > before
		if passed != (name == "kept") {
			t.Errorf("%s: passed: %v", name, passed)
		}
	}
}

package egress

import (
	"fmt"
	"testing"
	"time"
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
	end := time.Now().Add(2 * time.Second).UTC().Truncate(time.Second)
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

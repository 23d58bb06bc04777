package egress

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
)

// refusing is a world whose egress asks, and has stopped when asked is called.
type refusing struct {
	*world
	out string
}

func newRefusing(t *testing.T) refusing {
	out := t.TempDir()
	return refusing{newWorldWith(t, Config{Out: out}), out}
}

func (w refusing) request(method, url string, status int) {
	w.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	must(w.t, err)
	resp, err := w.agent().Do(req)
	must(w.t, err)
	resp.Body.Close()
	if resp.StatusCode != status {
		w.t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// asked are the proposals, once all refusals were looked at: by summary.
func (w refusing) asked() map[string]bottle.Pending {
	w.t.Helper()
	for len(w.s.denied.refused) > 0 { // what is left is being looked at
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w.s.Drain(ctx)
	var told map[string]bottle.Pending
	data, err := os.ReadFile(filepath.Join(w.out, sidecar.PendingFile))
	must(w.t, err)
	must(w.t, json.Unmarshal(data, &told))
	files, err := os.ReadDir(filepath.Join(w.out, sidecar.ProposalsDir))
	must(w.t, err)
	all := map[string]bottle.Pending{}
	for _, f := range files {
		id := strings.TrimSuffix(f.Name(), ".json")
		data, err := os.ReadFile(filepath.Join(w.out, sidecar.ProposalsDir, f.Name()))
		must(w.t, err)
		p, err := proposal.Parse(data, proposal.Egress, id)
		must(w.t, err)
		all[proposal.Summary(p)] = told[id]
	}
	return all
}

func TestARefusalBecomesOneProposalAHostAndFirstSegment(t *testing.T) {
	w := newRefusing(t)
	for _, r := range []struct{ method, url string }{
		{"GET", "https://new.example/v1/a"}, {"POST", "https://new.example/v1/b?q=secret"}, {"GET", "https://new.example/v2"},
		{"GET", "https://new.example/"}, {"GET", "http://new.example/v1/a"}, {"DELETE", "https://other.example/v1"},
	} {
		w.request(r.method, r.url, 403)
	}
	asked := w.asked()
	want := []string{"http://new.example  /v1  GET", "new.example  /v1  GET", "new.example  /v2  GET", "new.example  ENTIRE HOST  GET", "other.example  /v1  DELETE"}
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, want) {
		t.Errorf("asked: %q", got)
	}
	p := asked["new.example  /v1  GET"]
	if p.Count != 2 || p.Method != "POST" || p.First.IsZero() || p.Last.Before(p.First) || p.Waiting {
		t.Errorf("pending: %+v", p)
	}
}

func TestWhatIsMalformedOrNotForAHostIsNotAskedFor(t *testing.T) {
	w := newRefusing(t)
	w.request("GET", "http://192.0.2.1/x", 403)
	w.request("TRACE", "http://new.example/x", 405)
	w.request("GET", "http://new.example/%2e%2e/x", 403)
	w.request("GET", "http://new.example/a%5cb/x", 403)
	conn := w.open(w.s.Ports().Proxy)
	fmt.Fprint(conn, "GET http://bad.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")
	buf := make([]byte, 100)
	if n, _ := conn.Read(buf); !strings.Contains(string(buf[:n]), " 400 ") {
		t.Fatalf("%q", buf[:n])
	}
	for summary := range w.asked() {
		t.Errorf("asked: %q", summary)
	}
}

func TestWhatIsSilencedIsNotAskedFor(t *testing.T) {
	w := newRefusing(t)
	w.setPolicy(policy.Policy{Silenced: []policy.Silence{{Host: "new.example", Path: "/v1"}}})
	w.request("GET", "https://new.example/v1/a", 403)
	w.request("GET", "https://new.example/v10", 403)
	if got := slices.Collect(maps.Keys(w.asked())); len(got) != 1 || got[0] != "new.example  /v10  GET" {
		t.Errorf("asked: %q", got)
	}
}

// Who rejects what nobody waits for has the next one told why.
func TestARefusalTellsWhyTheOperatorRejectedItsLike(t *testing.T) {
	w := newRefusing(t)
	for reason, want := range map[string]string{"": "the operator rejected it before", "use the mirror": "the operator rejected it before: use the mirror"} {
		w.setPolicy(policy.Policy{Silenced: []policy.Silence{{Host: "new.example", Path: "/v1", Reason: reason}}})
		for path, told := range map[string]bool{"/v1/a": true, "/v2": false} {
			resp, err := w.agent().Get("https://new.example" + path)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			must(t, err)
			if text := string(body); resp.StatusCode != 403 || strings.HasSuffix(text, "; "+want+"\n") != told || strings.Contains(resp.Status, want) != told {
				t.Errorf("%s: %s: %q", path, resp.Status, text)
			}
		}
	}
}

// What is behind a refused CONNECT nobody has seen: the grant is for that port
// of that host, and whatever is there.
func TestAPortThatNoRouteNamesIsAskedFor(t *testing.T) {
	w := newRefusing(t)
	w.setPolicy(policy.Policy{Silenced: []policy.Silence{{Host: "quiet.example", Port: 9443, Path: "/"}}})
	for _, target := range []string{"new.example:8443", "new.example:8443", "new.example:80", "quiet.example:9443", "quiet.example:9444", "192.0.2.1:8443", "bad.example:0443"} {
		conn := w.open(w.s.Ports().Proxy)
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, " 40") {
			t.Errorf("%s: %q", target, line)
		}
	}
	asked := w.asked()
	want := []string{"http://new.example  ENTIRE HOST", "https://new.example:8443  ENTIRE HOST", "https://quiet.example:9444  ENTIRE HOST"}
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, want) {
		t.Errorf("asked: %q", got)
	}
	if p := asked["https://new.example:8443  ENTIRE HOST"]; p.Count != 2 || p.Method != "CONNECT" {
		t.Errorf("pending: %+v", p)
	}
}

func TestAFloodOfRefusalsIsBounded(t *testing.T) {
	w := newRefusing(t)
	for i := range 300 {
		w.request("GET", fmt.Sprintf("http://h%d.example/", i), 403)
	}
	if got := len(w.asked()); got != deniedPerMinute {
		t.Errorf("%d proposals", got)
	}
}

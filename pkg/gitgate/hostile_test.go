package gitgate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnlyItsOwnRepositoriesAnswerAndOnlyGit(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	const refs = "/info/refs?service=git-upload-pack"
	for path, want := range map[string]int{
		"/origin.git" + refs: 200, "/other.git" + refs: 403, "/Origin.git" + refs: 403, "/origin.git/../other.git" + refs: 403,
		"/%6frigin.git" + refs: 403, "/x/../origin.git" + refs: 403, "/origin.git/.." + refs: 403, "//origin.git" + refs: 403,
		"/origin.git%2f..%2fx.git" + refs: 403, "/origin" + refs: 403, "/.git" + refs: 403, "/origin.git/info/refs": 403,
		"/origin.git/info/refs?service=git-upload-archive": 403, "/origin.git/info/refs?service=git-upload-pack&x=--upload-pack=id": 403,
		"/origin.git/HEAD": 403, "/origin.git/objects/info/packs": 403, "/origin.git/config": 403, "/--upload-pack=id.git" + refs: 403, "/": 403,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: git-gate\r\nConnection: close\r\n\r\n", path)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if conn.Close(); r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
	}
}

// ask posts a push and returns what is answered.
func (g *gate) ask(body io.Reader) (int, string) {
	g.t.Helper()
	r, err := http.Post(g.url+"/origin.git/git-receive-pack", "application/x-git-receive-pack-request", body)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(text)
}

func packet(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

func TestRequestsThatAreNotGitsAreRefused(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	for name, body := range map[string]string{
		"no packet":     "GET /",
		"a length of 1": "0001",
		"cut off":       "00ff" + zero,
		"no ids":        packet("a b refs/heads/x\x00report-status") + "0000",
		"an option":     packet("--exec=id "+one+" refs/heads/x\x00report-status") + "0000",
		"certificates":  packet("push-cert\x00x") + "0000",
		"push options":  packet(zero+" "+one+" refs/heads/x\x00report-status push-options") + "0000",
		"sha256":        packet(zero+" "+one+" refs/heads/x\x00report-status object-format=sha256") + "0000",
		"twice":         packet(zero+" "+one+" refs/heads/x\x00report-status") + packet(zero+" "+one+" refs/heads/x") + "0000",
		"too many refs": packet(zero+" "+one+" refs/heads/x\x00report-status") + strings.Repeat(packet("shallow "+one), 30000) + "0000",
	} {
		if code, text := g.ask(strings.NewReader(body)); code != http.StatusBadRequest {
			t.Errorf("%s: %d %q", name, code, text)
		}
	}
	for name, row := range map[string]struct{ body, want string }{
		"no pack":           {packet(zero+" "+one+" refs/heads/x\x00report-status") + "0000", "there is no pack"},
		"a pack of nothing": {packet(zero+" "+one+" refs/heads/x\x00report-status") + "0000" + "PACK\x00\x00\x00\x02\x00\x00\x00\x00" + "\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e", "missing necessary objects"},
		"a pack of lies":    {packet(zero+" "+one+" refs/heads/x\x00report-status") + "0000" + "PACK\x00\x00\x00\x02\x00\x0f\x00\x00" + strings.Repeat("x", 100), "unpack "},
		"a ref with ..":     {packet(zero+" "+one+" refs/heads/../../x\x00report-status") + "0000", "not a ref"},
		"a ref's lock":      {packet(zero+" "+one+" refs/heads/x.lock\x00report-status") + "0000", "not a ref"},
		"a ref that opens":  {packet(zero+" "+one+" refs/heads/-x\x00report-status") + "0000", "not a ref"},
	} {
		if code, text := g.ask(strings.NewReader(row.body)); code != 200 || !strings.Contains(text, row.want) || strings.Contains(text, "ok refs/") {
			t.Errorf("%s: %d %q", name, code, text)
		}
	}
	if refs := g.inRepo("for-each-ref"); refs != "" {
		t.Errorf("the gate has %q", refs)
	}
	g.noQuarantine()
}

func TestAnOversizePackIsRefusedAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	conf := defaultGate()
	conf.Push.MaxSize = 1 << 20
	g := startGate(t, conf)
	c := newClient(t, g.url+"/origin.git")
	noise := make([]byte, 3<<20)
	for i, x := 0, uint32(7); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	c.commit("noise", string(noise))
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "exceeds maximum allowed size")
	g.noQuarantine()
}

// endless is a pack that never ends, until its reader hangs up.
type endless struct {
	head io.Reader
	stop <-chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	if n, _ := e.head.Read(p); n > 0 {
		return n, nil
	}
	<-e.stop
	return 0, io.ErrUnexpectedEOF
}

// hang begins a push whose pack stops after its head. What it returns is called
// to hang up.
func (g *gate) hang() (hangUp func()) {
	g.t.Helper()
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	head := packet(zero+" "+one+" refs/heads/x\x00report-status") + "0000" + "PACK\x00\x00\x00\x02\x00\x00\x00\x05" + "\x9ex"
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/origin.git/git-receive-pack", &endless{strings.NewReader(head), ctx.Done()})
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestAClientThatIsKilledInTheMiddleLeavesNothing(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	hangUp := g.hang()
	waitFor(t, "the quarantine", func() bool {
		found, _ := filepath.Glob(filepath.Join(g.dir, "repos", "origin.git", quarantines, "push-*"))
		return len(found) == 1
	})
	hangUp()
	waitFor(t, "its end", func() bool { return len(g.pushes()) == 1 })
	g.noQuarantine()
}

// More pushes that say nothing than have a place: they end, and who comes behind
// them is served.
func TestPushesThatGoQuietGiveTheirPlacesBack(t *testing.T) {
	t.Parallel()
	g := newGate(t, defaultGate())
	g.quiet = 2 * time.Second
	g.start()
	for range maxPushes + 2 {
		t.Cleanup(g.hang())
	}
	c := newClient(t, g.url+"/origin.git")
	c.commit("a", "x\n")
	c.git("push", "-q", "origin", "main")
	waitFor(t, "the end of all", func() bool { return len(g.pushes()) == maxPushes+3 })
	g.noQuarantine()
}

// waitFor looks until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s did not come", what)
		}
	}
}

// A gate that died in the middle of a push leaves a quarantine, and its git locks.
func TestWhatADeadGateLeftGoes(t *testing.T) {
	t.Parallel()
	g := newGate(t, defaultGate())
	for _, left := range []string{quarantines + "/push-1/pack/pack-1.pack", "refs/heads/main.lock", "refs/heads/deep/er.lock", "packed-refs.lock"} {
		path := filepath.Join(g.dir, "repos", "origin.git", left)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	g.noQuarantine()
	c := newClient(t, g.url+"/origin.git")
	c.commit("a", "x\n")
	c.git("push", "-q", "origin", "main", "main:deep/er")
}

// A ref to an object that the gate never took in, and one that is named in a pack
// which does not bring it, must not become a way around the scan.
func TestOnlyWhatWasScannedCanBeNamed(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	c.commit("a", "x\n")
	c.git("push", "-q", "origin", "main")
	secret := c.commit("s", formatSecret+"\n")
	if _, err := c.try("push", "origin", "main"); err == nil {
		t.Fatal("the secret passed")
	}
	empty := "PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"
	_, text := g.ask(strings.NewReader(packet(strings.Repeat("0", 40)+" "+secret+" refs/heads/x\x00report-status") + "0000" + empty))
	if strings.Contains(text, "ok refs/") || !strings.Contains(text, "missing necessary objects") {
		t.Errorf("%q", text)
	}
}

func FuzzRequest(f *testing.F) {
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	f.Add([]byte(packet(zero+" "+one+" refs/heads/x\x00report-status side-band-64k") + "0000PACK"))
	f.Add([]byte(packet("shallow "+one) + packet(zero+" "+one+" refs/tags/x\x00") + "0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := readRequest(bufio.NewReader(bytes.NewReader(data)), formatSHA1)
		for _, c := range q.commands {
			if err == nil && (!isID(c.Old) || !isID(c.New) || len(c.New) != 40) {
				t.Fatalf("%+v", c)
			}
			if checkRef(defaultGate().Push, c.PushUpdate) == "" && !(strings.HasPrefix(c.Ref, "refs/heads/") || strings.HasPrefix(c.Ref, "refs/tags/")) {
				t.Fatalf("%q passes", c.Ref)
			}
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x00aaaaaaaaaaaaaaaaaaaa40000 .gitmodules\x00bbbbbbbbbbbbbbbbbbbb"))
	f.Add([]byte("160000 s\x00short"))
	f.Fuzz(func(t *testing.T, data []byte) {
		size := 0
		err := eachEntry(data, 20, func(mode, name, id []byte) { size += len(mode) + 1 + len(name) + 1 + len(id) })
		if err == nil && size != len(data) {
			t.Fatalf("of %d bytes %d were looked at", len(data), size)
		}
	})
}

func FuzzNarrow(f *testing.F) {
	f.Add([]byte("a\x00b\x00"), []byte("x\x00\x00\x00y"), true)
	f.Fuzz(func(t *testing.T, before, behind []byte, big bool) {
		var wide []byte
		for _, c := range []byte(formatSecret) {
			if big {
				wide = append(wide, 0, c)
			} else {
				wide = append(wide, c, 0)
			}
		}
		text := narrow(bytes.Join([][]byte{before, wide, behind}, []byte("\x01\x02")))
		if !bytes.Contains(text, []byte(formatSecret)) {
			t.Fatalf("%q", text)
		}
	})
}

func FuzzGitmodules(f *testing.F) {
	f.Add("submodule.s.url\nhttps://example.com/x\x00submodule.s.path\ns\x00")
	f.Add("submodule.s.url\next::sh -c id\x00")
	f.Fuzz(func(t *testing.T, list string) {
		if checkGitmodules(list) != "" {
			return
		}
		for rec := range strings.SplitSeq(list, "\x00") {
			key, value, _ := strings.Cut(rec, "\n")
			if strings.HasPrefix(key, "submodule.") && strings.HasSuffix(key, ".url") && (strings.Contains(value, "::") || strings.HasPrefix(value, "-") || strings.HasPrefix(value, "/")) {
				t.Fatalf("%q passes", value)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("PK\x03\x04"), uint8(0))
	f.Add([]byte("\x1f\x8b\x08\x00"), uint8(1))
	f.Add([]byte("%PDF x\x9cxx"), uint8(2))
	s, err := newScanner(nil, nil, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, _ uint8) {
		if _, err := s.blob("x", int64(len(data)), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		c := &content{s: s, left: 1 << 20}
		if _, err := c.stream("x", bytes.NewReader(data)); err != nil && len(data) >= 1024 {
			t.Fatal(err)
		}
	})
}

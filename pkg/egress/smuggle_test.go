package egress

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// smuggling are requests that two readers could read in two ways, or that carry
// what a proxy must not pass. Each must be answered once, with this status, and
// closed; none may reach the upstream. ~ stands for the line's end.
var smuggling = map[string]struct {
	status string
	raw    string
}{
	"CL and TE":             {"400", "POST / HTTP/1.1~Host: H~Content-Length: 6~Transfer-Encoding: chunked~~0~~X"},
	"TE and CL":             {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~Content-Length: 3~~1~A~0~~"},
	"two CL":                {"400", "POST / HTTP/1.1~Host: H~Content-Length: 1~Content-Length: 2~~ab"},
	"two equal CL":          {"400", "POST / HTTP/1.1~Host: H~Content-Length: 1~Content-Length: 1~~a"},
	"CL list":               {"400", "POST / HTTP/1.1~Host: H~Content-Length: 1, 1~~a"},
	"CL with sign":          {"400", "POST / HTTP/1.1~Host: H~Content-Length: +1~~a"},
	"CL negative":           {"400", "POST / HTTP/1.1~Host: H~Content-Length: -1~~a"},
	"CL hex":                {"400", "POST / HTTP/1.1~Host: H~Content-Length: 0x1~~a"},
	"CL empty":              {"400", "POST / HTTP/1.1~Host: H~Content-Length:~~a"},
	"CL huge":               {"400", "POST / HTTP/1.1~Host: H~Content-Length: 99999999999999999999~~a"},
	"CL underscore":         {"400", "POST / HTTP/1.1~Host: H~Content_Length: 1~~a"},
	"CL vertical tab":       {"400", "POST / HTTP/1.1~Host: H~Content-Length:\v1~~a"},
	"TE two codings":        {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: gzip, chunked~~0~~"},
	"TE identity":           {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: identity~~"},
	"TE twice":              {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~Transfer-Encoding: chunked~~0~~"},
	"TE then cow":           {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~Transfer-Encoding: cow~~0~~"},
	"TE xchunked":           {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: xchunked~~0~~"},
	"TE quoted":             {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: \"chunked\"~~0~~"},
	"TE tab in front":       {"400", "POST / HTTP/1.1~Host: H~\tTransfer-Encoding: chunked~~0~~"},
	"TE space before colon": {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding : chunked~~0~~"},
	"TE form feed":          {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding:\fchunked~~0~~"},
	"TE folded":             {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding:~ chunked~~0~~"},
	"TE underscore":         {"400", "POST / HTTP/1.1~Host: H~Transfer_Encoding: chunked~~0~~"},
	"TE in 1.0":             {"400", "POST / HTTP/1.0~Host: H~Transfer-Encoding: chunked~~0~~"},
	"TE with parameter":     {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked;q=1~~0~~"},
	"obs-fold":              {"400", "GET / HTTP/1.1~Host: H~X: a~ b~~"},
	"fold as first line":    {"400", "GET / HTTP/1.1~ X: a~Host: H~~"},
	"bare LF in head":       {"400", "GET / HTTP/1.1\nHost: H~~"},
	"bare LF everywhere":    {"400", "GET / HTTP/1.1\nHost: H\n\n"},
	"bare LF ends head":     {"400", "GET / HTTP/1.1~Host: H~\n"},
	"bare CR":               {"400", "GET / HTTP/1.1~Host: H~X: a\rTransfer-Encoding: chunked~~"},
	"CR CR LF":              {"400", "GET / HTTP/1.1~Host: H~X: a\r~~"},
	"empty line first":      {"400", "~GET / HTTP/1.1~Host: H~~"},
	"two Hosts":             {"400", "GET / HTTP/1.1~Host: H~Host: evil.example~~"},
	"two equal Hosts":       {"400", "GET / HTTP/1.1~Host: H~Host: H~~"},
	"no Host":               {"400", "GET / HTTP/1.1~~"},
	"empty Host":            {"400", "GET / HTTP/1.1~Host:~~"},
	"Host list":             {"400", "GET / HTTP/1.1~Host: H, evil.example~~"},
	"Host with path":        {"400", "GET / HTTP/1.1~Host: H/x~~"},
	"Host with user":        {"400", "GET / HTTP/1.1~Host: u@H~~"},
	"Host percent":          {"400", "GET / HTTP/1.1~Host: plain%2eexample~~"},
	"space before colon":    {"400", "GET / HTTP/1.1~Host : H~~"},
	"no colon":              {"400", "GET / HTTP/1.1~Host: H~X~~"},
	"empty name":            {"400", "GET / HTTP/1.1~Host: H~: x~~"},
	"NUL in value":          {"400", "GET / HTTP/1.1~Host: H~X: a\x00b~~"},
	"NUL in name":           {"400", "GET / HTTP/1.1~Host: H~X\x00: a~~"},
	"DEL in value":          {"400", "GET / HTTP/1.1~Host: H~X: a\x7f~~"},
	"non-ASCII name":        {"400", "GET / HTTP/1.1~Host: H~X\xe9: a~~"},
	"NUL in target":         {"400", "GET /\x00 HTTP/1.1~Host: H~~"},
	"fragment":              {"400", "GET /#x HTTP/1.1~Host: H~~"},
	"two spaces":            {"400", "GET  / HTTP/1.1~Host: H~~"},
	"space in target":       {"400", "GET /a b HTTP/1.1~Host: H~~"},
	"tab in line":           {"400", "GET\t/ HTTP/1.1~Host: H~~"},
	"space at the end":      {"400", "GET / HTTP/1.1 ~Host: H~~"},
	"HTTP/0.9":              {"400", "GET /~~"},
	"HTTP/1.2":              {"400", "GET / HTTP/1.2~Host: H~~"},
	"http/1.1":              {"400", "GET / http/1.1~Host: H~~"},
	"HTTP/01.1":             {"400", "GET / HTTP/01.1~Host: H~~"},
	"PRI":                   {"400", "PRI * HTTP/2.0~~SM~~"},
	"method is no token":    {"400", "GE(T / HTTP/1.1~Host: H~~"},
	"target is a word":      {"400", "GET x HTTP/1.1~Host: H~~"},
	"star without OPTIONS":  {"400", "GET * HTTP/1.1~Host: H~~"},
	"URL elsewhere":         {"400", "GET http://H/ HTTP/1.1~Host: H~~"},
	"CONNECT elsewhere":     {"400", "CONNECT H:443 HTTP/1.1~Host: H:443~~"},
	"TLS on a plain port":   {"400", "\x16\x03\x01\x00\xc4\x01"},
	"chunk size sign":       {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~+1~a~0~~"},
	"chunk size 0x":         {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~0x1~a~0~~"},
	"chunk size space":      {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1 ~a~0~~"},
	"chunk size empty":      {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~~a~0~~"},
	"chunk size huge":       {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~ffffffffffffffff1~a~0~~"},
	"chunk size bare LF":    {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1\na~0~~"},
	"chunk extension LF":    {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1;x\na~0~~"},
	"chunk data too long":   {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1~ab~0~~"},
	"chunk data LF":         {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1~a\n0~~"},
	"trailer without colon": {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1~a~0~X~~"},
	"trailer bare LF":       {"400", "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1~a~0~X: y\n~"},
	"head too large":        {"431", "GET / HTTP/1.1~Host: H~X: " + strings.Repeat("a", maxHead) + "~~"},
	"too many headers":      {"431", "GET / HTTP/1.1~Host: H~" + strings.Repeat("X: a~", maxFields) + "~"},
	"half a WebSocket":      {"400", "GET / HTTP/1.1~Host: H~Connection: Upgrade~Upgrade: websocket~~"},
	"two Expects":           {"400", "POST / HTTP/1.1~Host: H~Expect: 100-continue~Expect: x~Content-Length: 1~~a"},
}

// judged are refused as requests of their own; the connection may go on.
var judged = map[string]struct {
	status string
	raw    string
}{
	"TRACE":         {"405", "TRACE / HTTP/1.1~Host: H~~"},
	"h2c":           {"403", "GET / HTTP/1.1~Host: H~Connection: Upgrade, HTTP2-Settings~Upgrade: h2c~HTTP2-Settings: x~~"},
	"Upgrade alone": {"403", "GET / HTTP/1.1~Host: H~Upgrade: x~~"},
	"other Expect":  {"417", "GET / HTTP/1.1~Host: H~Expect: x~~"},
	"other host":    {"403", "GET / HTTP/1.1~Host: evil.example~~"},
	"other port":    {"403", "GET / HTTP/1.1~Host: H:8080~~"},
	"address":       {"403", "GET / HTTP/1.1~Host: 127.0.0.1~~"},
	"egress":        {"403", "GET / HTTP/1.1~Host: egress~~"},
}

func wire(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "\r\n"), "Host: H", "Host: plain.example")
}

// TestSmugglingIsRefusedAndNothingArrives looks at bare bytes: the upstream
// notes whatever comes.
func TestSmugglingIsRefusedAndNothingArrives(t *testing.T) {
	w := newWorld(t)
	var arrived atomic.Int64
	w.raw("plain.example:80", func(_ net.Conn, r *bufio.Reader) {
		n, _ := io.Copy(io.Discard, r)
		arrived.Add(n)
	})
	for name, c := range smuggling {
		got := say(t, w.open(w.s.Ports().HTTP), wire(c.raw)+"GET /second HTTP/1.1\r\nHost: plain.example\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" egress: ") || strings.Count(got, "X-Bottle-Blocked") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, c := range judged {
		raw := wire(c.raw)
		got := say(t, w.open(w.s.Ports().HTTP), raw+strings.Replace(raw, "Host:", "Connection: close\r\nHost:", 1))
		if strings.Count(got, "HTTP/1.1 "+c.status+" egress: ") != 2 || !strings.Contains(got, "\r\nX-Bottle-Blocked: egress\r\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if n := arrived.Load(); n > 0 {
		t.Errorf("%d bytes arrived at the upstream", n)
	}
}

// TestHopByHopFieldsStayHere compares what leaves, byte for byte.
func TestHopByHopFieldsStayHere(t *testing.T) {
	w := newWorld(t)
	heads := make(chan string, 1)
	w.raw("plain.example:80", func(c net.Conn, r *bufio.Reader) {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			head.WriteString(line)
			if err != nil || line == "\r\n" {
				break
			}
		}
		heads <- head.String()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n"+
			"Upgrade: h2\r\nX-Bottle-Blocked: egress\r\nX-Yours: 1\r\nContent-Length: 0\r\n\r\n")
	})
	got := say(t, w.open(w.s.Ports().Proxy), wire("GET http://plain.example?q=1 HTTP/1.1~Host: PLAIN.example:80~Connection: close, X-Private, host, content-length~"+
		"X-Private: 1~Proxy-Connection: keep-alive~Proxy-Authorization: x~Keep-Alive: 3~TE: trailers~X-Kept:\t a b \t~Accept: */*~Content-Length: 0~~"))
	want := wire("GET /?q=1 HTTP/1.1~Host: plain.example~X-Kept: a b~Accept: */*~Content-Length: 0~~")
	if head := <-heads; head != want {
		t.Errorf("left:\n%q\nwant:\n%q", head, want)
	}
	if want := wire("HTTP/1.1 200 OK~X-Yours: 1~Content-Length: 0~Connection: close~~"); got != want {
		t.Errorf("came back:\n%q\nwant:\n%q", got, want)
	}
}

func TestMalformedAnswersAre502(t *testing.T) {
	w := newWorld(t)
	answer := ""
	w.raw("plain.example:80", func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, wire(answer))
	})
	for _, answer = range []string{
		"HTTP/1.1 101 Switching Protocols~Upgrade: x~~raw", "HTTP/2 200 OK~~", "HTTP/1.1 20 OK~~", "HTTP/1.1 200OK~~", "ICY 200 OK~~", "~~", "",
		"HTTP/1.1 200 OK~Content-Length: 1~Content-Length: 2~~a", "HTTP/1.1 200 OK~Content-Length: 1~Transfer-Encoding: chunked~~0~~",
		"HTTP/1.1 200 OK~X: a~ b~~", "HTTP/1.1 200 OK\nX: a~~", "HTTP/1.1 200 OK~X y: a~~", "HTTP/1.1 200 O\x00K~~", "HTTP/1.0 200 OK~Transfer-Encoding: chunked~~0~~",
		"HTTP/1.1 200 OK~Transfer-Encoding: gzip~~", strings.Repeat("HTTP/1.1 100 Continue~~", 50), "HTTP/1.1 200 OK~X: " + strings.Repeat("a", maxHead) + "~~",
	} {
		got := say(t, w.open(w.s.Ports().HTTP), wire("GET / HTTP/1.1~Host: H~Connection: close~~"))
		if i := strings.LastIndex(got, "HTTP/1.1 "); i < 0 || !strings.HasPrefix(got[i:], "HTTP/1.1 502 egress: cannot reach plain.example: ") {
			t.Errorf("%.60q: %q", answer, got)
		}
	}
	for _, answer = range []string{"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n"} {
		got := say(t, w.open(w.s.Ports().HTTP), wire("GET / HTTP/1.0~Host: H~~"))
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "\r\n\r\nok") || strings.Contains(got, "chunked") {
			t.Errorf("%q for HTTP/1.0: %q", answer, got)
		}
	}
}

func TestBodilessAnswersEndAtTheirHead(t *testing.T) {
	w := newWorld(t)
	w.raw("plain.example:80", func(c net.Conn, r *bufio.Reader) {
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, map[string]string{
				"/204": "HTTP/1.1 204 No Content\r\n\r\n", "/304": "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", "/head": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
			}[q.URL.Path])
		}
	})
	got := say(t, w.open(w.s.Ports().HTTP), wire("GET /204 HTTP/1.1~Host: H~~GET /304 HTTP/1.1~Host: H~~HEAD /head HTTP/1.1~Host: H~Connection: close~~"))
	want := wire("HTTP/1.1 204 No Content~~HTTP/1.1 304 Not Modified~Content-Length: 10~~HTTP/1.1 200 OK~Content-Length: 10~Connection: close~~")
	if got != want {
		t.Errorf("%q", got)
	}
	if n := len(w.dialled()); n != 1 {
		t.Errorf("%d connections upstream, want 1", n)
	}
}

// TestEveryCutOfTheStreamGivesTheSameMessage feeds a reader byte by byte.
func TestEveryCutOfTheStreamGivesTheSameMessage(t *testing.T) {
	raw := []byte(wire("POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~5;e~hello~6~ world~0~X: y~~rest"))
	for cut := 1; cut < len(raw); cut++ {
		in := newReader(&pieces{raw[:cut], raw[cut:]})
		head, err := in.head()
		var q request
		if err == nil {
			err = q.parse(head)
		}
		if err != nil || !q.chunked {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		var out bytes.Buffer
		n, err := body{chunked: true, length: -1}.relay(&out, &in, nil, false, nil)
		if err != nil || n != 11 || out.String() != "hello world" {
			t.Fatalf("cut at %d: %d %q %v", cut, n, out.String(), err)
		}
		rest, _ := io.ReadAll(io.MultiReader(bytes.NewReader(in.buffered()), in.src))
		if string(rest) != "rest" {
			t.Fatalf("cut at %d: %q is left", cut, rest)
		}
	}
}

// pieces is a stream that comes in these pieces.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

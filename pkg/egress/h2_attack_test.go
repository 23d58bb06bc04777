package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is a client of HTTP/2 that writes what no library would.
type framed struct {
	*http2.Framer
	t    *testing.T
	conn *tls.Conn
	out  bytes.Buffer
	pack *hpack.Encoder
	read *hpack.Decoder
	last uint32
}

// frames opens a connection by SNI, and says hello.
func (w *world) frames(t *testing.T, sni string) *framed {
	t.Helper()
	return w.framesOver(t, w.open(w.s.Ports().TLS), sni)
}

// hardOfHearing is frames over a connection that has little room for what it does
// not read. It has so from its beginning: a window that shrinks later has the kernel
// drop what comes, and the acknowledgements in it.
func (w *world) hardOfHearing(t *testing.T, sni string) *framed {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		return errors.Join(cerr, err)
	}}
	conn, err := d.Dial("tcp", w.addr(w.s.Ports().TLS))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return w.framesOver(t, conn, sni)
}

func (w *world) framesOver(t *testing.T, under net.Conn, sni string) *framed {
	t.Helper()
	conn := tls.Client(under, &tls.Config{ServerName: sni, RootCAs: w.trust, NextProtos: []string{"h2"}})
	_, err := io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	conn.SetDeadline(time.Time{})
	f := &framed{Framer: http2.NewFramer(conn, conn), t: t, conn: conn}
	f.AllowIllegalWrites, f.AllowIllegalReads = true, true
	f.pack, f.read = hpack.NewEncoder(&f.out), hpack.NewDecoder(4096, nil)
	must(t, f.WriteSettings())
	return f
}

// block packs names and values.
func (f *framed) block(fields ...string) []byte {
	f.out.Reset()
	for i := 0; i < len(fields); i += 2 {
		f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(f.out.Bytes())
}

// begin opens a stream by a head, and returns its number.
func (f *framed) begin(end bool, fields ...string) uint32 {
	if f.last += 2; f.last == 2 {
		f.last = 1
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last, BlockFragment: f.block(fields...), EndStream: end, EndHeaders: true})
	return f.last
}

// answer waits for what becomes of a stream: a status, or "reset", or "closed" with
// all of the connection; then the answer's body.
func (f *framed) answer(stream uint32) (verdict, body string) {
	f.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed", body
		}
		switch x := frame.(type) {
		case *http2.HeadersFrame:
			fields, err := f.read.DecodeFull(x.HeaderBlockFragment())
			must(f.t, err)
			if x.StreamID == stream {
				verdict = fields[0].Value
			}
		case *http2.DataFrame:
			if x.StreamID == stream {
				body += string(x.Data())
			}
		case *http2.RSTStreamFrame:
			if x.StreamID == stream && verdict == "" {
				return "reset", ""
			}
		case *http2.GoAwayFrame:
			if x.ErrCode != http2.ErrCodeNo {
				return "closed", body
			}
		}
		if frame.Header().StreamID == stream && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return verdict, body
		}
	}
}

// ordinary are the pseudo-headers of a request to a.example.
func ordinary(fields ...string) []string {
	return append([]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/"}, fields...)
}

func TestStreamsThatSayTwoThingsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"as it should be":            {ordinary(), "200"},
		"with its Host":              {ordinary("host", "a.example"), "200"},
		"Host alone":                 {[]string{":method", "GET", ":scheme", "https", ":path", "/", "host", "a.example"}, "200"},
		"TE: trailers":               {ordinary("te", "trailers"), "200"},
		"another authority":          {[]string{":method", "GET", ":scheme", "https", ":authority", "b.example", ":path", "/"}, "421"},
		"another port":               {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example:8443", ":path", "/"}, "421"},
		"another Host":               {ordinary("host", "b.example"), "400"},
		"two Hosts":                  {ordinary("host", "a.example", "host", "b.example"), "400"},
		"user information":           {[]string{":method", "GET", ":scheme", "https", ":authority", "b.example@a.example", ":path", "/"}, "reset"},
		"no authority":               {[]string{":method", "GET", ":scheme", "https", ":path", "/"}, "400"},
		"no path":                    {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example"}, "reset"},
		"an empty path":              {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", ""}, "reset"},
		"a URL as the path":          {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "https://b.example/"}, "400"},
		"a path without a slash":     {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "x"}, "reset"},
		"a line in the path":         {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/ HTTP/1.1\r\nHost: b.example\r\n\r\n"}, "reset"},
		"a blank in the path":        {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/ HTTP/1.1"}, "400"},
		"a line in the method":       {[]string{":method", "GET / HTTP/1.1\r\nx: y", ":scheme", "https", ":authority", "a.example", ":path", "/"}, "reset"},
		"a line in the authority":    {[]string{":method", "GET", ":scheme", "https", ":authority", "a.example\r\nx: y", ":path", "/"}, "reset"},
		"a line in a value":          {ordinary("x-a", "b\r\nx-c: d"), "reset"},
		"a NUL in a value":           {ordinary("x-a", "b\x00c"), "reset"},
		"a line in a name":           {ordinary("x-a: b\r\nx-c", "d"), "reset"},
		"a colon in a name":          {ordinary("x-a:", "d"), "reset"},
		"a capital in a name":        {ordinary("X-A", "d"), "reset"},
		"an empty name":              {ordinary("", "d"), "reset"},
		"two methods":                {ordinary(":method", "POST"), "reset"},
		"two paths":                  {ordinary(":path", "/b"), "reset"},
		"two authorities":            {ordinary(":authority", "b.example"), "reset"},
		"an unknown pseudo-header":   {ordinary(":x", "y"), "reset"},
		"a pseudo-header of answers": {ordinary(":status", "200"), "reset"},
		"a pseudo-header at the end": {[]string{":method", "GET", "x-a", "b", ":scheme", "https", ":authority", "a.example", ":path", "/"}, "reset"},
		"Connection":                 {ordinary("connection", "keep-alive"), "400"},
		"Transfer-Encoding":          {ordinary("transfer-encoding", "chunked"), "400"},
		"Upgrade":                    {ordinary("upgrade", "h2c"), "400"},
		"Keep-Alive":                 {ordinary("keep-alive", "x"), "400"},
		"Proxy-Connection":           {ordinary("proxy-connection", "x"), "400"},
		"TE: gzip":                   {ordinary("te", "gzip"), "400"},
		"a disguised length":         {ordinary("content_length", "5"), "400"},
		"a length of no body":        {ordinary("content-length", "5"), "400"},
		"two lengths":                {ordinary("content-length", "0", "content-length", "5"), "400"},
		"a length that is none":      {ordinary("content-length", "+0"), "400"},
		"Expect":                     {ordinary("expect", "x"), "417"},
		"TRACE":                      {[]string{":method", "TRACE", ":scheme", "https", ":authority", "a.example", ":path", "/"}, "405"},
		"CONNECT":                    {[]string{":method", "CONNECT", ":authority", "a.example:443"}, "400"},
		"CONNECT for WebSocket":      {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.example", ":path", "/"}, "reset"},
		"another method, disguised":  {ordinary("x-http-method-override", "DELETE"), "200"}, // this entry has no methods
	} {
		f := w.frames(t, "a.example")
		stream := f.begin(true, c.fields...)
		if got, body := f.answer(stream); got != c.want {
			t.Errorf("%s: %s %q, not %s", name, got, body, c.want)
		}
		f.conn.Close()
	}
}

// What the library resets by itself is in the log all the same, and no sign of a
// client that does not trust the CA.
func TestStreamsThatTheLibraryResetsAreToldOf(t *testing.T) {
	w := newWorld(t)
	f := w.frames(t, "a.example")
	for range 2 {
		stream := f.begin(true, ordinary(":path", "/b")...)
		if got, _ := f.answer(stream); got != "reset" {
			t.Fatal(got)
		}
	}
	f.conn.Close()
	if e := w.event("request"); e.Verdict != "deny" || e.Host != "a.example" || e.Port != 443 || !strings.HasPrefix(e.Reason, "2 streams of an HTTP/2 connection were malformed") {
		t.Errorf("event %+v", e)
	}
}

// A body is as long as it says, and nothing stands behind it.
func TestStreamsBodiesAreAsLongAsTheySay(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 10)
	w.serve("a.example:443", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		got <- fmt.Sprint(r.Method, " ", string(data), " ", err, r.Trailer)
	}))
	for name, c := range map[string]struct {
		length, data, want string
	}{
		"right":     {"5", "right", "200"},
		"too short": {"9", "short", "reset"},
		"too long":  {"2", "long", "reset"},
	} {
		f := w.frames(t, "a.example")
		stream := f.begin(false, ":method", "POST", ":scheme", "https", ":authority", "a.example", ":path", "/", "content-length", c.length)
		f.WriteData(stream, true, []byte(c.data))
		verdict, body := f.answer(stream)
		if verdict != c.want && !(c.want == "reset" && verdict == "400") {
			t.Errorf("%s: %s %q", name, verdict, body)
		}
	}
	f := w.frames(t, "a.example")
	stream := f.begin(false, ":method", "POST", ":scheme", "https", ":authority", "a.example", ":path", "/", "trailer", "x-a, content-length, host")
	f.WriteData(stream, false, []byte("0\r\n\r\nGET /b HTTP/1.1\r\n\r\n"))
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block("x-a", "b", "x-undeclared", "c"), EndStream: true, EndHeaders: true})
	if verdict, body := f.answer(stream); verdict != "200" {
		t.Errorf("with trailers: %s %q", verdict, body)
	}
	f.begin(false, ":method", "POST", ":scheme", "https", ":authority", "a.example", ":path", "/", "content-length", "0")
	f.WriteData(f.last, true, []byte("GET /b HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	f.answer(f.last) // none, or that to an empty body
	if all := []string{<-got, <-got}; !strings.Contains(strings.Join(all, "\n"), "POST 0\r\n\r\nGET /b HTTP/1.1\r\n\r\n <nil> map[Host:[] X-A:[b]]") {
		t.Errorf("%q", all)
	}
	for len(got) > 0 {
		if text := <-got; text != "POST  <nil> map[]" {
			t.Errorf("one more arrived: %q", text)
		}
	}
}

// What floods a server costs its own connection, and leaves nothing behind.
func TestFloodsEndTheirConnectionAlone(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	arrived := make(chan struct{}, 1000)
	w.serve("b.example:443", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		io.Copy(io.Discard, r.Body)
	}))
	open := w.frames(t, "a.example") // goes on through all of it
	for name, flood := range map[string]func(*framed, int) error{
		"resets": func(f *framed, _ int) error {
			f.begin(true, ordinary()...)
			return f.WriteRSTStream(f.last, http2.ErrCodeCancel)
		},
		"pings":    func(f *framed, _ int) error { return f.WritePing(false, [8]byte{}) },
		"settings": func(f *framed, _ int) error { return f.WriteSettings(http2.Setting{ID: 0x99, Val: 1}) },
		"continuations": func(f *framed, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(ordinary()...), EndStream: true})
			}
			return f.WriteContinuation(1, false, f.block("x-a", strings.Repeat("b", 1000)))
		},
		"streams": func(f *framed, _ int) error {
			f.begin(false, ":method", "POST", ":scheme", "https", ":authority", "b.example", ":path", "/")
			return nil
		},
	} {
		sni := "a.example"
		if name == "streams" {
			sni = "b.example"
		}
		f := w.hardOfHearing(t, sni)
		f.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))        // nobody reads what it asks for
		most := map[string]int{"resets": 20_000, "streams": 2_000}[name] // which may be borne
		var err error
		for n := 0; err == nil && (most == 0 || n < most); n++ {
			err = flood(f, n)
		}
		if most == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it was borne", name)
		}
		f.conn.NetConn().Close()
		waitFor(t, "its streams' places are free again", func() bool { return len(w.s.slots) < maxStreams })
		open.begin(true, ordinary()...)
		if verdict, body := open.answer(open.last); verdict != "200" {
			t.Errorf("%s: another connection got %s %q", name, verdict, body)
		}
	}
	open.conn.NetConn().Close()
	if n := len(arrived); n > maxStreams {
		t.Errorf("%d streams of one connection went upstream at once", n)
	}
	w.idle(t)
}

// idle waits until no place is taken.
func (w *world) idle(t *testing.T) {
	t.Helper()
	waitFor(t, "no place is taken", func() bool { return len(w.s.slots)+len(w.s.multiplex.slots) == 0 })
}

// A head that says much in few bytes is refused before it is more than its bound.
func TestAHeaderBombIsBounded(t *testing.T) {
	w := newWorld(t)
	w.serve("a.example:443", http.HandlerFunc(hello))
	f := w.frames(t, "a.example")
	f.begin(true, ordinary("x-a", strings.Repeat("b", 3900))...)
	if verdict, _ := f.answer(f.last); verdict != "200" {
		t.Fatalf("4 KB: %s", verdict)
	}
	var bomb []string
	for range 4000 {
		bomb = append(bomb, "x-a", strings.Repeat("b", 3900)) // a byte each: it is in the table
	}
	f.begin(true, ordinary(bomb...)...)
	if verdict, _ := f.answer(f.last); verdict != "431" && verdict != "closed" {
		t.Errorf("16 MB in 4 KB: %s", verdict)
	}
}

func TestASlowHeadEndsItsConnection(t *testing.T) {
	w := newWorldWith(t, Config{HeadTime: time.Second})
	f := w.frames(t, "a.example")
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(ordinary()...), EndStream: true})
	begun := time.Now()
	if verdict, _ := f.answer(1); verdict != "closed" || time.Since(begun) > 8*time.Second {
		t.Errorf("%s after %v", verdict, time.Since(begun))
	}
}

// What is not HTTP/2 behind its ALPN is closed, and so is a preface without it.
func TestPriorKnowledgeIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]io.ReadWriter{
		"plain, on the proxy port": w.open(w.s.Ports().Proxy),
		"plain, on port 80":        w.open(w.s.Ports().HTTP),
		"in TLS, for HTTP/1.1":     w.inside("a.example"),
	} {
		if got := say(t, c, http2.ClientPreface); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	got := say(t, w.open(w.s.Ports().HTTP), "GET / HTTP/1.1\r\nHost: plain.example\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("Upgrade: h2c: %q", got)
	}
	c := tls.Client(w.open(w.s.Ports().TLS), &tls.Config{ServerName: "a.example", RootCAs: w.trust, NextProtos: []string{"h2"}})
	if got := say(t, c, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); got != "" {
		t.Errorf("HTTP/1.1 for HTTP/2: %q", got)
	}
	if n := len(w.dialled()); n != 0 {
		t.Errorf("%d were dialled", n)
	}
}

// Every place is taken by a stream whose head is as large as it may be, and whose
// body is waited for: that fits beside the scans' memory.
func TestAsManyStreamsAsThereArePlacesFit(t *testing.T) {
	w := newWorld(t)
	before := heap()
	var fields []string
	for i := range 240 {
		fields = append(fields, fmt.Sprintf("x-%d", i), strings.Repeat("v", 90))
	}
	fields = append([]string{":method", "POST", ":scheme", "https", ":authority", "a.example", ":path", "/", "content-length", "5"}, fields...)
	const conns, each = 64, MaxConns/64 - 1
	for range conns {
		f := w.frames(t, "a.example")
		for range each {
			block := f.block(fields...)
			f.last += 2
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last - 1, BlockFragment: block[:min(len(block), 16<<10)], EndHeaders: len(block) <= 16<<10})
			if len(block) > 16<<10 {
				f.WriteContinuation(f.last-1, true, block[16<<10:])
			}
		}
	}
	waitFor(t, "every stream has its handler", func() bool {
		n := 0
		w.s.clients.each(func(c *client) {
			if c.stream != nil {
				n++
			}
		})
		return n == conns*each
	})
	if held := heap() - before; held > 90<<20 {
		t.Errorf("%d streams hold %d MiB", conns*each, held>>20)
	} else {
		t.Logf("%d streams hold %d MiB", conns*each, held>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

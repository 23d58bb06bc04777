package escape

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// second is a host whose upstream speaks HTTP/2; secured's speaks HTTP/1.1.
const second = "h2.test"

// preface is how an HTTP/2 connection begins, with no settings.
const preface = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// streams is a connection of HTTP/2 from inside the bottle, written a frame at a
// time.
type streams struct {
	*http2.Framer
	t    *testing.T
	read *hpack.Decoder
	last uint32
}

// streams opens one for a host, by a CONNECT or by its name alone.
func (s *stage) streams(t *testing.T, host string, direct bool) *streams {
	t.Helper()
	c := s.dial(t, proxyPort)
	if direct {
		c = s.dial(t, tlsPort)
	} else if line := connect(t, c, host+":443"); !strings.Contains(line, " 200 ") {
		t.Fatal(line)
	}
	conn, err := s.secure(t, c, host, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
	if err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatalf("HTTP/2 is not agreed to: %v", err)
	}
	io.WriteString(conn, preface)
	f := &streams{Framer: http2.NewFramer(conn, conn), t: t, read: hpack.NewDecoder(4096, nil)}
	f.AllowIllegalWrites = true
	return f
}

// ask sends a head of names and values, and waits for a status, "reset", or
// "closed", and the answer's body.
func (f *streams) ask(fields ...string) (verdict, body string) {
	f.t.Helper()
	if f.last += 2; f.last == 2 {
		f.last = 1
	}
	var block bytes.Buffer
	pack := hpack.NewEncoder(&block)
	pack.SetMaxDynamicTableSize(0)
	for i := 0; i < len(fields); i += 2 {
		pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.last, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed", body
		}
		switch x := frame.(type) {
		case *http2.HeadersFrame:
			list, err := f.read.DecodeFull(x.HeaderBlockFragment())
			if err != nil {
				f.t.Fatal(err)
			}
			verdict = list[0].Value
		case *http2.DataFrame:
			body += string(x.Data())
		case *http2.RSTStreamFrame:
			return "reset", body
		case *http2.GoAwayFrame:
			return "closed", body
		}
		if h := frame.Header(); h.StreamID == f.last && h.Flags.Has(http2.FlagDataEndStream) {
			return verdict, body
		}
	}
}

// headOf are a request's pseudo-headers, and what follows.
func headOf(host, path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "https", ":authority", host, ":path", path}, more...)
}

// secondVersion is E20: HTTP/2 is judged a stream at a time, and other protocols
// are not spoken. gRPC comes with it.
func secondVersion(t *testing.T, s *stage) {
	s.stays(t, "/e20")
	plainPort := func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain }
	s.each(t, "403", map[string]string{
		"h2c":     "GET /e20-h2c HTTP/1.1~Host: H~Connection: Upgrade, HTTP2-Settings, close~Upgrade: h2c~HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA~~",
		"TLS":     "OPTIONS * HTTP/1.1~Host: H~Connection: Upgrade, close~Upgrade: TLS/1.0~~",
		"no list": "GET /e20-h2c HTTP/1.1~Host: H~Connection: close~Upgrade: h2c~~",
	}, plainPort)
	s.each(t, "400", map[string]string{"preface": preface}, plainPort)
	s.each(t, "400", map[string]string{"preface": preface}, func() (io.ReadWriter, string) { return s.inside(t, secured), secured })
	s.unheard(t, "/e20-h2c")
	for host, proto := range map[string]string{secured: "HTTP/1.1", second: "HTTP/2.0"} {
		f := s.streams(t, host, host == second)
		if got, body := f.ask(headOf(host, "/e20-arrives-"+host)...); got != "200" {
			t.Fatalf("%s: an ordinary stream ends in %s %s", host, got, body)
		}
		for name, c := range map[string]struct {
			fields []string
			want   string
		}{
			"another host":    {headOf(refused, "/e20-refused"), "421"},
			"an allowed one":  {headOf(plain, "/e20-refused"), "421"},
			"a secret":        {headOf(host, "/e20-refused?t="+aKey), "403"},
			"one in a header": {headOf(host, "/e20-refused", "x-note", aKey), "403"},
			"TRACE":           {append([]string{":method", "TRACE"}, headOf(host, "/e20-refused")[2:]...), "405"},
			"a tunnel":        {[]string{":method", "CONNECT", ":authority", host + ":443"}, "400"},
			"a WebSocket":     {append([]string{":method", "CONNECT", ":protocol", "websocket"}, headOf(host, "/e20-refused")[2:]...), "reset"},
		} {
			if got, body := f.ask(c.fields...); got != c.want || got != "reset" && !strings.HasPrefix(body, "egress: ") {
				t.Errorf("%s, %s: %s %q", host, name, got, body)
			}
		}
		if got, _ := f.ask(headOf(host, "/e20-again-"+host)...); got != "200" {
			t.Errorf("%s: after them, on the same connection: %s", host, got)
		}
		s.unheard(t, "/e20-refused")
		for _, e := range append(s.requests("/e20-arrives-"+host), s.requests("/e20-again-"+host)...) {
			if e.Proto != proto || e.Host != host {
				t.Errorf("%s: the internet got %+v", host, e)
			}
		}
	}
	s.curlsStreams(t)
	s.calls(t)
}

// curlsStreams has a program of everyday use send HTTP/2.
func (s *stage) curlsStreams(t *testing.T) {
	ask := func(args ...string) string {
		out, said, _ := s.r.Inside(s.raw(t).slug, append([]string{"curl", "-sS", "--http2", "-w", "[%{http_version} %{http_code}]"}, args...)...)
		return out + said
	}
	if got := ask("https://" + second + "/whole/e20-curl"); !strings.HasSuffix(got, "[2 200]") {
		t.Fatalf("curl's request does not arrive: %s", got)
	}
	if got := ask("https://" + refused + "/e20-curled"); !strings.HasSuffix(got, "[2 403]") || !strings.Contains(got, reason) {
		t.Errorf("a refused host: %s", got)
	}
	if got := ask("-d", "it is "+aKey, "https://"+second+"/whole/e20-curled"); !strings.HasSuffix(got, "[2 403]") || !strings.Contains(got, "egress: ") {
		t.Errorf("a secret in a body: %s", got)
	}
	s.unheard(t, "e20-curled")
	if e := s.requests("/whole/e20-curl"); len(e) != 1 || e[0].Proto != "HTTP/2.0" {
		t.Errorf("the internet got %+v", e)
	}
}

// pseudoHeaders is E21: what says two things in HTTP/2, and line ends in a header.
func pseudoHeaders(t *testing.T, s *stage) {
	s.stays(t, "/e21")
	// HEADERS: GET, https, path /e21, :authority refused.test, never indexed.
	headers := "\x82\x87\x04\x04/e21\x01\x0crefused.test"
	frame := string([]byte{0, 0, byte(len(headers)), 1, 5, 0, 0, 0, 1}) + headers
	s.each(t, "400", map[string]string{
		"frames":            preface + frame,
		"a pseudo-header":   "GET /e21-x HTTP/1.1~Host: H~:authority: refused.test~~",
		"CR in a header":    "GET /e21-x HTTP/1.1~Host: H~X: a\rHost: refused.test~~",
		"LF in a header":    "GET /e21-x HTTP/1.1~Host: H~X: a\nHost: refused.test~~",
		"CRLF in the path":  "GET /e21-x\rHost: HTTP/1.1~Host: H~~",
		"a space in a name": "GET /e21-x HTTP/1.1~Host: H~X Y: z~~",
	}, func() (io.ReadWriter, string) { return s.inside(t, secured), secured })
	hidden := "/e21-x HTTP/1.1\r\nHost: " + secured + "\r\n\r\nGET /e21-x"
	for host, f := range map[string]*streams{secured: s.streams(t, secured, false), second: s.streams(t, second, true)} {
		for name, c := range map[string]struct {
			fields []string
			want   string
		}{
			"another authority":        {headOf(refused, "/e21-x"), "421"},
			"another Host":             {headOf(host, "/e21-x", "host", refused), "400"},
			"no authority":             {[]string{":method", "GET", ":scheme", "https", ":path", "/e21-x"}, "400"},
			"user information":         {headOf(host+"@"+refused, "/e21-x"), "reset"},
			"CRLF in a value":          {headOf(host, "/e21-x", "x", "a\r\nhost: "+refused), "reset"},
			"NUL in a value":           {headOf(host, "/e21-x", "x", "a\x00b"), "reset"},
			"CRLF in a name":           {headOf(host, "/e21-x", "x: a\r\ny", "b"), "reset"},
			"a request in the path":    {headOf(host, hidden), "reset"},
			"a request in the method":  {append([]string{":method", "GET " + hidden}, headOf(host, "/e21-x")[2:]...), "reset"},
			"a URL as the path":        {headOf(host, "https://"+refused+"/e21-x"), "400"},
			"an unknown pseudo-header": {headOf(host, "/e21-x", ":x", "y"), "reset"},
			"two paths":                {headOf(host, "/e21-x", ":path", "/e21-y"), "reset"},
			"one behind the header":    {[]string{":method", "GET", "x", "y", ":scheme", "https", ":authority", host, ":path", "/e21-x"}, "reset"},
			"Connection":               {headOf(host, "/e21-x", "connection", "x"), "400"},
			"Transfer-Encoding":        {headOf(host, "/e21-x", "transfer-encoding", "chunked"), "400"},
			"Upgrade":                  {headOf(host, "/e21-x", "upgrade", "h2c"), "400"},
			"a length of no body":      {headOf(host, "/e21-x", "content-length", "20"), "400"},
			"a capital":                {headOf(host, "/e21-x", "X", "y"), "reset"},
		} {
			if got, body := f.ask(c.fields...); got != c.want {
				t.Errorf("%s, %s: %s %q", host, name, got, body)
			}
		}
		if got, _ := f.ask(headOf(host, "/e21-arrives")...); got != "200" {
			t.Errorf("%s: after them: %s", host, got)
		}
	}
	s.unheard(t, "/e21-x")
}

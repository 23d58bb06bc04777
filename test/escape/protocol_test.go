package escape

import (
	"bufio"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// dashed is an address as it stands in a name.
func dashed(a netip.Addr) string { return strings.NewReplacer(".", "-").Replace(a.String()) }

// addressLiterals is E3: an allowed host's address, in each spelling.
func addressLiterals(t *testing.T, s *stage) {
	s.stays(t, "/e3")
	b := s.u.Addr.As4()
	n := binary.BigEndian.Uint32(b[:])
	spellings := []string{s.u.Addr.String(), fmt.Sprint(n), fmt.Sprintf("0x%08x", n), fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("0x%x.%d.%d", b[0], b[1], n&0xffff), s.u.Addr.String() + ".",
		"[::ffff:" + s.u.Addr.String() + "]", fmt.Sprintf("[64:ff9b::%x:%x]", n>>16, n&0xffff)}
	for _, a := range spellings[:2] {
		if out, err := s.r.TryDocker("exec", s.weak, "curl", "-sS", "http://"+a+"/e3-weak"); err != nil || !strings.Contains(out, "upstream") {
			t.Errorf("%s does not lead to the internet even without walls: %v %s", a, err, out)
		}
	}
	for _, a := range spellings {
		if line := connect(t, s.dial(t, proxyPort), a+":443"); !strings.HasPrefix(line, "HTTP/1.1 403 egress: ") {
			t.Errorf("CONNECT %s: %s", a, line)
		}
	}
	hosts := map[string]string{}
	for _, a := range spellings {
		hosts[a] = "GET /e3-literal HTTP/1.1~Host: " + a + "~Connection: close~~"
	}
	s.each(t, "403", hosts, func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain })
	s.unheard(t, "/e3-literal")
}

// fronting is E4: CONNECT, SNI and Host that differ.
func fronting(t *testing.T, s *stage) {
	s.stays(t, "/e4")
	for _, c := range []struct{ connect, sni, host string }{
		{secured, refused, secured}, {secured, secured, refused}, {refused, secured, secured}, {secured, refused, refused}, {secured, secured, secured + ":8443"},
		{"", secured, refused}, {"", refused, secured}, {secured, secured, allowed},
	} {
		conn := s.dial(t, proxyPort)
		if c.connect == "" {
			conn = s.dial(t, tlsPort)
		} else if line := connect(t, conn, c.connect+":443"); !strings.Contains(line, " 200 ") {
			t.Fatalf("CONNECT %s: %s", c.connect, line)
		}
		inside, err := s.secure(t, conn, c.sni, nil)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		got := say(t, inside, "GET /e4-fronted HTTP/1.1~Host: "+c.host+"~Connection: close~~")
		if !strings.HasPrefix(got, "HTTP/1.1 403 egress: ") {
			t.Errorf("%+v: %s", c, got)
		}
	}
	s.unheard(t, "/e4-fronted")
	// Spellings of the same name are no fronting, and the upstream gets the policy's.
	conn := s.dial(t, proxyPort)
	connect(t, conn, "RAW.test.:443")
	inside, err := s.secure(t, conn, "Raw.Test", nil)
	if err != nil {
		t.Fatal(err)
	}
	say(t, inside, "GET /e4-same HTTP/1.1~Host: rAW.tEST~Connection: close~~")
	s.settle(t)
	if e := s.requests("/e4-same"); len(e) != 1 || e[0].Host != secured {
		t.Errorf("the upstream got %+v", e)
	}
}

// twoHosts is E5: an absolute target and a Host that differ.
func twoHosts(t *testing.T, s *stage) {
	if got := say(t, s.dial(t, proxyPort), "GET http://plain.test/e5-same HTTP/1.1~Host: plain.test~Connection: close~~"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Fatalf("where both are the same: %s", got)
	}
	proxy := func() (io.ReadWriter, string) { return s.dial(t, proxyPort), plain }
	s.each(t, "400", map[string]string{
		"another Host":       "GET http://plain.test/e5-two HTTP/1.1~Host: refused.test~~",
		"another target":     "GET http://refused.test/e5-two HTTP/1.1~Host: plain.test~~",
		"another port":       "GET http://plain.test:8080/e5-two HTTP/1.1~Host: plain.test~~",
		"two Hosts":          "GET http://plain.test/e5-two HTTP/1.1~Host: plain.test~Host: refused.test~~",
		"userinfo":           "GET http://plain.test@refused.test/e5-two HTTP/1.1~Host: refused.test~~",
		"backslash":          `GET http://plain.test\@refused.test/e5-two HTTP/1.1~Host: plain.test~~`,
		"no Host":            "GET http://plain.test/e5-two HTTP/1.1~~",
		"CONNECT's Host":     "CONNECT raw.test:443 HTTP/1.1~Host: refused.test:443~~",
		"another scheme":     "GET ftp://plain.test/e5-two HTTP/1.1~Host: plain.test~~",
		"a scheme alone":     "GET http:///e5-two HTTP/1.1~Host: plain.test~~",
		"a path of no slash": "GET e5-two HTTP/1.1~Host: plain.test~~",
	}, proxy)
	s.each(t, "400", map[string]string{"a URL on port 80": "GET http://plain.test/e5-two HTTP/1.1~Host: plain.test~~"},
		func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain })
	s.unheard(t, "/e5-two")
}

// notTLS is E6: what follows a CONNECT is not TLS with the name it was for.
func notTLS(t *testing.T, s *stage) {
	s.stays(t, "/e6")
	for name, first := range map[string]string{"HTTP": "GET /e6-clear HTTP/1.1~Host: raw.test~~", "SSH": "SSH-2.0-OpenSSH_9.6~", "zeros": strings.Repeat("\x00", 64),
		"SSLv2": "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"} {
		c := s.dial(t, proxyPort)
		if line := connect(t, c, secured+":443"); !strings.Contains(line, " 200 ") {
			t.Fatal(line)
		}
		if got := say(t, c, first); got != "" {
			t.Errorf("%s after CONNECT is answered with %q", name, got)
		}
	}
	noName := func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true }
	c := s.dial(t, proxyPort)
	connect(t, c, secured+":443")
	if _, err := s.secure(t, c, "", noName); err == nil {
		t.Error("a handshake without a name was made, after CONNECT")
	}
	if _, err := s.secure(t, s.dial(t, tlsPort), "", noName); err == nil {
		t.Error("a handshake without a name was made, on port 443")
	}
	// The outer name is allowed, and the inner one is for nobody's eyes.
	c = s.dial(t, proxyPort)
	connect(t, c, secured+":443")
	_, err := s.secure(t, c, "e6-hidden.test", func(c *tls.Config) {
		c.MinVersion, c.EncryptedClientHelloConfigList = tls.VersionTLS13, encryptedHello(t, secured)
	})
	if rejected := (*tls.ECHRejectionError)(nil); !errors.As(err, &rejected) {
		t.Errorf("an encrypted name ends in %v", err)
	}
	s.unheard(t, "e6-hidden")
	s.unheard(t, "/e6-clear")
}

// encryptedHello is a list of one ECHConfig with this outer name.
func encryptedHello(t *testing.T, outer string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	body := []byte{7, 0, 0x20, 0, byte(len(public))} // identifier, X25519 with HKDF-SHA256
	body = append(body, public...)
	body = append(body, 0, 4, 0, 1, 0, 1, 64, byte(len(outer))) // HKDF-SHA256 with AES-128-GCM; the longest name
	body = append(body, outer...)
	body = append(body, 0, 0)
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(body)))
	config = append(config, body...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}

// otherPorts is E7: http to a host of https, and ports that no route names.
func otherPorts(t *testing.T, s *stage) {
	s.stays(t, "/e7")
	s.each(t, "403", map[string]string{"port 80": "GET /e7-clear HTTP/1.1~Host: raw.test~Connection: close~~"},
		func() (io.ReadWriter, string) { return s.dial(t, httpPort), secured })
	s.each(t, "403", map[string]string{
		"http":         "GET http://raw.test/e7-clear HTTP/1.1~Host: raw.test~Connection: close~~",
		"http to 443":  "GET http://raw.test:443/e7-clear HTTP/1.1~Host: raw.test:443~Connection: close~~",
		"https to 80":  "GET https://plain.test:80/e7-clear HTTP/1.1~Host: plain.test:80~Connection: close~~",
		"https to web": "GET https://plain.test/e7-clear HTTP/1.1~Host: plain.test~Connection: close~~",
		"8443":         "GET https://raw.test:8443/e7-clear HTTP/1.1~Host: raw.test:8443~Connection: close~~",
	}, func() (io.ReadWriter, string) { return s.dial(t, proxyPort), secured })
	for _, port := range []string{"22", "8443", "25", "3128", "53", "7"} {
		if line := connect(t, s.dial(t, proxyPort), secured+":"+port); !strings.HasPrefix(line, "HTTP/1.1 403 egress: ") {
			t.Errorf("CONNECT to port %s: %s", port, line)
		}
	}
	// Port 80 is named, by another host's route: inside, both ways are refused.
	c := s.dial(t, proxyPort)
	connect(t, c, secured+":80")
	if got := say(t, c, "GET /e7-clear HTTP/1.1~Host: raw.test:80~~"); got != "" {
		t.Errorf("http inside CONNECT to a host of https: %s", got)
	}
	s.unheard(t, "/e7-clear")
}

// authorities is E8: a CONNECT that two readers could take for different hosts.
func authorities(t *testing.T, s *stage) {
	s.stays(t, "/e8")
	cases := map[string]string{}
	for _, a := range []string{"user@raw.test:443", "raw.test:443@refused.test:443", "raw.test:443:80", "raw.test:0443", "raw.test", "raw.test:", ":443", "raw.test:+443",
		"raw.test:65979", "raw.test:443/", "raw.test:443?x", "raw.test:4 43", "raw.test:443#x", "https://raw.test:443", "[raw.test]:443", "raw.test,refused.test:443", "*:443", "raw..test:443", ".raw.test:443",
		"raw.test\\.refused.test:443", "raw%2etest:443", "raw.test:0x1bb"} {
		cases[a] = "CONNECT " + a + " HTTP/1.1~Host: raw.test:443~~"
	}
	cases["a body"] = "CONNECT raw.test:443 HTTP/1.1~Host: raw.test:443~Content-Length: 3~~abc"
	s.each(t, "400", cases, func() (io.ReadWriter, string) { return s.dial(t, proxyPort), secured })
	s.each(t, "400", map[string]string{"CONNECT inside": "CONNECT raw.test:443 HTTP/1.1~Host: raw.test:443~~"},
		func() (io.ReadWriter, string) { return s.inside(t, secured), secured })
}

// desync is E18: two readers see different requests in the same bytes.
func desync(t *testing.T, s *stage) {
	s.stays(t, "/e18")
	const hidden = "GET /e18-hidden HTTP/1.1~Host: H~~"
	cases := map[string]string{
		"CL.TE":               "POST / HTTP/1.1~Host: H~Content-Length: 44~Transfer-Encoding: chunked~~0~~" + hidden,
		"TE.CL":               "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~Content-Length: 4~~5c~" + hidden,
		"TE.TE":               "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~Transfer-encoding: cow~~0~~" + hidden,
		"CL.CL":               "POST / HTTP/1.1~Host: H~Content-Length: 0~Content-Length: 44~~" + hidden,
		"CL.0 by a sign":      "POST / HTTP/1.1~Host: H~Content-Length: +0~~" + hidden,
		"a space in front":    "POST / HTTP/1.1~Host: H~ Transfer-Encoding: chunked~~0~~" + hidden,
		"a space behind":      "POST / HTTP/1.1~Host: H~Transfer-Encoding : chunked~~0~~" + hidden,
		"a tab in the value":  "POST / HTTP/1.1~Host: H~Transfer-Encoding:\x0bchunked~~0~~" + hidden,
		"an underscore":       "POST / HTTP/1.1~Host: H~Transfer_Encoding: chunked~~0~~" + hidden,
		"obs-fold":            "GET / HTTP/1.1~Host: H~X: a~ Transfer-Encoding: chunked~~" + hidden,
		"bare LF":             "GET / HTTP/1.1~Host: H~X: a\nTransfer-Encoding: chunked~~" + hidden,
		"bare LF at the end":  "GET / HTTP/1.1~Host: H\n\n" + hidden,
		"bare CR":             "GET / HTTP/1.1~Host: H~X: a\rTransfer-Encoding: chunked~~" + hidden,
		"CR CR LF":            "GET / HTTP/1.1~Host: H~X: a\r~~" + hidden,
		"NUL":                 "GET / HTTP/1.1~Host: H~X: a\x00b~~" + hidden,
		"1.0 with TE":         "POST / HTTP/1.0~Host: H~Transfer-Encoding: chunked~~0~~" + hidden,
		"0.9":                 "GET /e18-hidden~~",
		"a line in front":     "~GET /e18-hidden HTTP/1.1~Host: H~~",
		"two spaces":          "GET  /e18-hidden HTTP/1.1~Host: H~~",
		"HTTP/1.2":            "GET /e18-hidden HTTP/1.2~Host: H~~",
		"a chunk too long":    "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1~abc~0~~" + hidden,
		"a chunk's bare LF":   "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~1\na~0~~" + hidden,
		"a chunk's sign":      "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~+1~a~0~~" + hidden,
		"a chunk's 0x":        "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~0x1~a~0~~" + hidden,
		"a chunk's overflow":  "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~10000000000000001~a~0~~" + hidden,
		"a trailer's bare LF": "POST / HTTP/1.1~Host: H~Transfer-Encoding: chunked~~0~X: a\n~" + hidden,
	}
	s.each(t, "400", cases, func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain })
	some := map[string]string{}
	for _, name := range []string{"CL.TE", "TE.CL", "obs-fold", "bare LF"} {
		some[name] = cases[name]
	}
	s.each(t, "400", some, func() (io.ReadWriter, string) { return s.inside(t, secured), secured })
	s.unheard(t, "/e18-hidden")
}

// pipelined is E19: each of several requests at once is judged.
func pipelined(t *testing.T, s *stage) {
	for _, c := range []struct {
		name string
		open func() io.ReadWriter // egress ends one on which nothing comes
		host string
	}{
		{"port 80", func() io.ReadWriter { return s.dial(t, httpPort) }, plain},
		{"TLS", func() io.ReadWriter { return s.inside(t, secured) }, secured},
	} {
		mark := "/e19-" + c.name[:1]
		got := say(t, c.open(), "GET "+mark+"-first HTTP/1.1~Host: "+c.host+"~~GET "+mark+"-refused HTTP/1.1~Host: refused.test~~"+
			"POST "+mark+"-body HTTP/1.1~Host: "+c.host+"~Content-Length: 5~~hello"+"GET "+mark+"-last HTTP/1.1~Host: "+c.host+"~Connection: close~~")
		if list := strings.Join(statuses(got), " "); list != "200 403 200 200" {
			t.Errorf("%s: %s", c.name, list)
		}
		s.unheard(t, mark+"-refused")
		if a, b := s.requests(mark+"-first"), s.requests(mark+"-last"); len(a) != 1 || len(b) != 1 {
			t.Errorf("%s: %d and %d arrived", c.name, len(a), len(b))
		}
	}
}

// rawTunnels is E23: nothing makes a tunnel of a request.
func rawTunnels(t *testing.T, s *stage) {
	s.stays(t, "/e23")
	conn := s.inside(t, secured)
	got := say(t, conn, "GET /switch HTTP/1.1~Host: raw.test~Connection: close~~SECRET-e23-switched")
	if list := statuses(got); len(list) != 1 || list[0] != "502" {
		t.Errorf("101 without an upgrade: %s", got)
	}
	s.unheard(t, "e23-switched")
	if len(s.requests("/switch")) == 0 {
		t.Error("the upstream was not even asked to switch")
	}
	// Expect and trailers are what they are, and no more.
	conn = s.inside(t, secured)
	r := bufio.NewReader(conn)
	io.WriteString(conn, "POST /e23-expect HTTP/1.1\r\nHost: raw.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if line, _ := answer(t, r); line != "HTTP/1.1 100 Continue" {
		t.Errorf("Expect is answered with %q", line)
	}
	io.WriteString(conn, "hello")
	if line, body := answer(t, r); line != "HTTP/1.1 200 OK" || !strings.Contains(body, "hello") {
		t.Errorf("and then with %q %s", line, body)
	}
	got = say(t, conn, "POST /e23-trailer HTTP/1.1~Host: raw.test~Transfer-Encoding: chunked~Trailer: X-Sum, Host~~5~hello~0~X-Sum: 1~Host: refused.test~Content-Length: 99~Authorization: x~~"+
		"GET /e23-next HTTP/1.1~Host: refused.test~Connection: close~~")
	if list := strings.Join(statuses(got), " "); list != "200 403" {
		t.Errorf("trailers: %s", got)
	}
	s.settle(t)
	if e := s.requests("/e23-trailer"); len(e) != 1 || e[0].Host != secured || e[0].Detail != "hello" {
		t.Errorf("with trailers arrived %+v", e)
	}
	s.unheard(t, "/e23-next")
	s.each(t, "417", map[string]string{"another expectation": "POST /e23-x HTTP/1.1~Host: H~Expect: tunnel~Content-Length: 1~Connection: close~~a"},
		func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain })
}

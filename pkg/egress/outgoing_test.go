package egress

import (
	"bufio"
	"encoding/base64"
	"net"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestWebSocketIsScanned(t *testing.T) {
	w, _ := scanWorld(t)
	s := w.chatHosts("a.example:443", "own.example:443", "lax.example:443")
	known := base64.StdEncoding.EncodeToString([]byte(keyText))
	for name, c := range map[string]struct {
		messages []string
		rule     string
	}{
		"a key":                     {[]string{"see " + aKey}, "github-pat"},
		"a key in JSON":             {[]string{"hello", `{"type":"x","item":{"text":"\u0067` + aKey[1:] + `"}}`}, "github-pat"},
		"a key at the end of much":  {[]string{strings.Repeat("all is well. ", 4_000) + aKey}, "github-pat"},
		"the bottle's own":          {[]string{"it is " + keyText}, "known-secret"},
		"the same, in base64":       {[]string{"it is " + known}, "known-secret"},
		"the same, in two messages": {[]string{"it is " + keyText[:11], keyText[11:]}, "known-secret"},
		"the same, far apart":       {[]string{"it is " + keyText[:11], "or not", keyText[11:] + "."}, "known-secret"},
	} {
		conn := w.joined("wss://a.example/room")
		last := len(c.messages) - 1
		for _, m := range c.messages[:last] {
			answered(t, conn, m)
		}
		must(t, conn.Write(soon(t), websocket.MessageText, []byte(c.messages[last])))
		code, reason := refusedWith(t, conn)
		if code != 1008 || !strings.Contains(reason, c.rule) || strings.Contains(reason, aKey[4:]) {
			t.Errorf("%s: the client heard %d %q", name, code, reason)
		}
		if err := <-s.ended; websocket.CloseStatus(err) != -1 {
			t.Errorf("%s: the upstream was not cut: %v", name, err)
		}
		e := w.event("websocket")
		if e.Verdict != "deny" || e.Finding != c.rule || !strings.HasPrefix(e.Where, "message") || e.Fingerprint == "" || e.Reason == "" {
			t.Errorf("%s: %+v", name, e)
		}
		if strings.Contains(s.all(), c.messages[last]) {
			t.Errorf("%s: it arrived", name)
		}
	}
	// An exception lets through what it names, and nothing else.
	conn := w.joined("wss://lax.example/login")
	answered(t, conn, "see "+aKey)
	must(t, conn.Write(soon(t), websocket.MessageText, []byte(keyText)))
	if code, _ := refusedWith(t, conn); code != 1008 {
		t.Errorf("the bottle's own beside an exception: %d", code)
	}
	// What may travel in a credential header may not in a message.
	conn = w.joined("wss://own.example/")
	must(t, conn.Write(soon(t), websocket.MessageText, []byte(mine)))
	if code, _ := refusedWith(t, conn); code != 1008 {
		t.Errorf("a value for a host, in a message to it: %d", code)
	}
	if got := s.all(); strings.Contains(got, mine) {
		t.Error("it arrived")
	}
}

func TestWebSocketMessagesAreBounded(t *testing.T) {
	w, _ := scanWorld(t) // max_body is 64 KiB
	s := w.chatHosts("a.example:443", "lax.example:443")
	large := strings.Repeat("all is well. ", 10_000)
	conn := w.joined("wss://a.example/")
	answered(t, conn, large[:64<<10])
	go conn.Write(soon(t), websocket.MessageBinary, []byte(large))
	if code, _ := refusedWith(t, conn); code != 1009 {
		t.Errorf("a message beyond max_body ended with %d", code)
	}
	if strings.Contains(s.all(), large) {
		t.Error("it arrived")
	}
	if got := answered(t, w.joined("wss://lax.example/"), large); got != large {
		t.Errorf("of %d bytes to a host that takes large bodies came back %d", len(large), len(got))
	}
}

// A secret is found in whatever frames it comes, control frames among them.
func TestFramesAreScanned(t *testing.T) {
	w, _ := scanWorld(t)
	s := w.chatHosts("a.example:443")
	type frame struct {
		first byte
		data  string
	}
	for name, frames := range map[string][]frame{
		"fragments":             {{0x01, "see " + aKey[:9]}, {0x00, aKey[9:20]}, {0x00, ""}, {0x80, aKey[20:]}},
		"a byte each":           append(append([]frame{{0x02, ""}}, eachByte(aKey, func(c string) frame { return frame{0x00, c} })...), frame{0x80, ""}),
		"a ping":                {{0x89, aKey}},
		"a pong":                {{0x8a, keyText}},
		"pings":                 {{0x89, keyText[:9]}, {0x89, keyText[9:]}},
		"a close frame":         {{0x88, "\x03\xe8" + aKey}},
		"a ping and a message":  {{0x89, keyText[:11]}, {0x81, keyText[11:]}},
		"around a ping":         {{0x01, keyText[:11]}, {0x89, "x"}, {0x80, keyText[11:]}},
		"a fragment and a ping": {{0x01, "it is " + keyText[:11]}, {0x80, ""}, {0x89, keyText[11:]}},
	} {
		c := w.rawJoin("a.example", handshakeLines)
		for _, f := range frames {
			c.send(f.first, f.data)
		}
		if code, reason := c.closedWith(); code != 1008 {
			t.Errorf("%s: %d %q", name, code, reason)
		}
		<-s.ended
		if e := w.event("websocket"); e.Verdict != "deny" || e.Finding == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for _, secret := range []string{aKey, keyText, keyText[11:]} {
		if strings.Contains(s.all(), secret) {
			t.Errorf("%q arrived: %q", secret, s.all())
		}
	}
}

func eachByte[T any](s string, f func(string) T) (list []T) {
	for i := range len(s) {
		list = append(list, f(s[i:i+1]))
	}
	return list
}

// Nothing of a message up to 64 KiB leaves before all of it was scanned.
func TestAMessageWaitsForItsEnd(t *testing.T) {
	w, _ := scanWorld(t)
	arrived := make(chan byte, 1<<20)
	w.raw("a.example:443", func(c net.Conn, r *bufio.Reader) {
		switchTo(c, r, "")
		for {
			b, err := r.ReadByte()
			if err != nil {
				close(arrived)
				return
			}
			arrived <- b
		}
	})
	c := w.rawJoin("a.example", handshakeLines)
	c.send(0x01, aKey+strings.Repeat(" all is well", 1_000))
	c.send(0x89, "ping") // it overtakes what waits
	if b := <-arrived; b != 0x89 {
		t.Fatalf("the first byte that arrived is %#x", b)
	}
	c.send(0x80, "")
	if code, _ := c.closedWith(); code != 1008 {
		t.Error(code)
	}
	n := 0
	for range arrived {
		n++
	}
	if n != 4+4+1 { // the rest of the ping
		t.Errorf("%d bytes followed the ping", n)
	}
}

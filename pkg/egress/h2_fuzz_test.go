package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzStreamHead holds the property that HTTP/2 rests on: where a request that
// came over it can be written as HTTP/1.1, our own strict reader finds the same
// method, target, host and fields in it, and a body that is framed as it came.
func FuzzStreamHead(f *testing.F) {
	f.Add("GET", "/", "a.example", "x-a", "b", "", int64(0), "")
	f.Add("POST", "/x?y", "a.example", "Cookie", "a=b; c=d", "5", int64(5), "")
	f.Add("POST", "/", "a.example\r\nx: y", "X-A", "b\r\nx: y", "-1", int64(-1), "X-Last")
	f.Add("GET / HTTP/1.1\r\n", "/ HTTP/1.1", "", "Transfer-Encoding", "chunked", "0", int64(0), "a\r\nb")
	f.Add("CONNECT", "a.example:443", "a.example:443", "Host", "b.example", "07", int64(7), "")
	f.Fuzz(func(t *testing.T, method, target, host, name, value, length string, size int64, trailer string) {
		r := &http.Request{Method: method, RequestURI: target, Host: host, ContentLength: max(size, -1), Header: http.Header{name: {value, value}}}
		if length != "" {
			r.Header["Content-Length"] = []string{length}
		}
		if trailer != "" {
			r.Trailer = http.Header{trailer: nil}
		}
		text, err := appendStreamHead(nil, r)
		if err != nil {
			return
		}
		in := newReader(bytes.NewReader(append(slices.Clone(text), "behind"...)))
		head, err := in.head()
		if err != nil || string(head) != string(text) {
			if method == "" || len(text) >= maxHead {
				return
			}
			t.Fatalf("%q is not one head: %v, %q", text, err, head)
		}
		var q request
		if q.parse(head) != nil {
			return
		}
		if q.method != method || string(q.target) != target || q.hosts > 0 && string(q.host) != string(trim([]byte(host))) {
			t.Fatalf("%q says another request than %+v", text, r)
		}
		if chunked := r.ContentLength < 0 || r.Trailer != nil; q.chunked != chunked || !chunked && max(q.length, 0) != r.ContentLength {
			t.Fatalf("%q has another body than %+v", text, r)
		}
		for _, x := range q.list {
			switch {
			case x.kind == kindHost, x.kind == kindLength, x.kind == kindTransfer:
			case equalFold(x.name, "trailer") && string(x.value) == string(trim([]byte(trailer))):
			case string(x.name) != name || string(x.value) != string(trim([]byte(value))):
				t.Fatalf("%q has a field %q: %q that nobody sent", text, x.name, x.value)
			}
		}
	})
}

// FuzzChunker: what is read in chunks is what was there, in pieces of any size.
func FuzzChunker(f *testing.F) {
	f.Add([]byte("body"), uint8(3), uint16(400), "last")
	f.Add([]byte("0\r\n\r\n"), uint8(1), uint16(1), "")
	f.Fuzz(func(t *testing.T, data []byte, piece uint8, room uint16, last string) {
		cut := pieces{}
		for part := range slices.Chunk(data, int(piece)+1) {
			cut = append(cut, slices.Clone(part))
		}
		c := &chunker{src: &cut, trailer: func() http.Header { return http.Header{"X-Last": {last}} }}
		var d dechunker
		var got []byte
		p := make([]byte, int(room)+1)
		for d.state != chunkDone {
			n, err := c.Read(p)
			if err != nil {
				if strings.ContainsFunc(last, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					return
				}
				t.Fatal(err)
			}
			for rest := p[:n]; len(rest) > 0; {
				if d.state == chunkDone {
					t.Fatalf("%q stands behind the end", rest)
				}
				k, payload, err := d.next(rest)
				if err != nil {
					t.Fatal(err)
				}
				got, rest = append(got, payload...), rest[k:]
			}
		}
		if !bytes.Equal(got, data) || string(d.trailer) != "X-Last: "+last+"\r\n\r\n" {
			t.Fatalf("%q, %q", got, d.trailer)
		}
		if n, err := c.Read(p); n > 0 || err != io.EOF {
			t.Fatalf("%d, %v after the end", n, err)
		}
	})
}

// FuzzGate: heads of frames are found wherever reads cut them.
func FuzzGate(f *testing.F) {
	f.Add([]byte("\x00\x00\x04\x01\x04\x00\x00\x00\x01abcd\x00\x00\x00\x04\x01\x80\x00\x00\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		read := func(size int) (heads []string) {
			fr := frames{preface: 3}
			for p := data; len(p) > 0; {
				n := min(size, len(p))
				fr.note(p[:n], func(kind, flags byte, stream uint32) error {
					heads = append(heads, fmt.Sprint(kind, flags, stream, fr.left))
					return nil
				})
				p = p[n:]
			}
			return heads
		}
		if whole, cut := read(len(data)+1), read(int(piece)+1); !slices.Equal(whole, cut) {
			t.Fatalf("%q, %q", whole, cut)
		}
	})
}

// FuzzMessages: gRPC's messages are the same wherever reads cut them, and all that
// was sent is in them.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x04abcd\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01a"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		read := func(size int) (list []string) {
			var m messages
			now := ""
			for p := data; len(p) > 0; {
				part := p[:min(size, len(p))]
				p = p[len(part):]
				for len(part) > 0 {
					n, whole := m.next(part)
					if n <= 0 || n > len(part) {
						t.Fatalf("%d of %d", n, len(part))
					}
					now += string(part[:n])
					if part = part[n:]; whole {
						list, now = append(list, now), ""
					}
				}
			}
			return append(list, now)
		}
		whole, cut := read(len(data)+1), read(int(piece)+1)
		if !slices.Equal(whole, cut) || strings.Join(whole, "") != string(data) {
			t.Fatalf("%q, %q", whole, cut)
		}
		for _, m := range whole[:len(whole)-1] {
			if int64(len(m)-messageHead) != (&messages{head: [messageHead]byte([]byte(m[:messageHead]))}).size() {
				t.Fatalf("%q is not as long as it says", m)
			}
		}
	})
}

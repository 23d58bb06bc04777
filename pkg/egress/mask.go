package egress

import "bytes"

// masker puts asterisks over an injected credential that an upstream sends
// back. Nothing changes its length, so that framing stays as it is. What ends
// like the beginning of a credential waits for what follows.
type masker struct {
	secrets [][]byte // the longest first
	held    []byte
	buf     []byte
	calls   *messages // the body is gRPC's: nothing waits beyond its message
	joined  []byte
}

// newMasker returns nil where there is nothing to look for.
func newMasker(secrets [][]byte) *masker {
	if len(secrets) == 0 {
		return nil
	}
	return &masker{secrets: secrets}
}

// next takes a piece of a body and returns what may be sent now; it is valid
// until the next call. last says that nothing follows.
func (m *masker) next(piece []byte, last bool) []byte {
	if m.calls == nil {
		return m.part(piece, last)
	}
	m.joined = m.joined[:0]
	for len(piece) > 0 {
		n, whole := m.calls.next(piece)
		m.joined = append(m.joined, m.part(piece[:n], whole)...)
		piece = piece[n:]
	}
	if last {
		m.joined = append(m.joined, m.part(nil, true)...)
	}
	return m.joined
}

// part is next within one message, or one body.
func (m *masker) part(piece []byte, last bool) []byte {
	m.buf = append(append(m.buf[:0], m.held...), piece...)
	m.cover(m.buf)
	keep := 0
	if !last {
		keep = m.open(m.buf)
	}
	ready := m.buf[:len(m.buf)-keep]
	m.held = append(m.held[:0], m.buf[len(ready):]...)
	return ready
}

// cover masks in place.
func (m *masker) cover(b []byte) {
	for _, s := range m.secrets {
		for rest := b; ; {
			i := bytes.Index(rest, s)
			if i < 0 {
				break
			}
			for j := range s {
				rest[i+j] = '*'
			}
			rest = rest[i+len(s):]
		}
	}
}

// open returns how many bytes at the end may be the beginning of a secret.
func (m *masker) open(b []byte) int {
	most := 0
	for _, s := range m.secrets {
		from := max(0, len(b)-len(s)+1)
		for i := from; i < len(b)-most; i++ {
			j := bytes.IndexByte(b[i:len(b)-most], s[0])
			if j < 0 {
				break
			}
			if i += j; bytes.HasPrefix(s, b[i:]) {
				most = len(b) - i
				break
			}
		}
	}
	return most
}

// head masks a message's status line and fields, which are never cut in two.
func (m *masker) head(p *response) {
	m.cover(p.line)
	for _, f := range p.list {
		m.cover(f.value)
	}
}

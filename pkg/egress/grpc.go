package egress

import (
	"bytes"
	"encoding/binary"
	"slices"

	"bottle/pkg/dlp"
)

// A gRPC request or answer is a body of messages, each behind five bytes: a flag
// that says whether it is compressed, and its length. Whoever gets one acts on it
// before the body ends, and may wait with the next until it is answered.

const messageHead = 5

// isGRPC says whether a body is told to be gRPC's, or of a kin that frames its
// messages likewise.
func (f *fields) isGRPC() bool {
	return slices.ContainsFunc(f.list, func(x field) bool {
		return x.kind == kindEnd && equalFold(x.name, "content-type") && hasMessages(x.value)
	})
}

// sendsMessages is isGRPC for a server that does not look at the type, and takes
// messages for compressed by the header that says so.
func (q *request) sendsMessages() bool {
	return q.isGRPC() || slices.ContainsFunc(q.list, func(x field) bool {
		return x.kind == kindEnd && x.encodesMessages() && len(x.value) > 0 && !equalFold(x.value, identity)
	})
}

const identity = "identity"

// hasMessages says whether a body of a type is made of messages: not that of
// application/grpc-web-text, which is base64.
func hasMessages(form []byte) bool {
	form, _, _ = bytes.Cut(form, []byte(";"))
	form, _, _ = bytes.Cut(trim(form), []byte("+"))
	return equalFold(form, "application/grpc") || equalFold(form, "application/grpc-web") || equalFold(form, "application/connect")
}

// encodesMessages says whether a field names how messages are compressed.
func (x *field) encodesMessages() bool {
	return equalFold(x.name, "grpc-encoding") || equalFold(x.name, "connect-content-encoding")
}

// messages follows the messages of a body.
type messages struct {
	head [messageHead]byte
	have int   // bytes of the current one's head
	left int64 // bytes of it that are to come
}

// next returns the size of a prefix of p that is all of a head or all of a
// message, as far as it is there; whole: it ends there.
func (m *messages) next(p []byte) (n int, whole bool) {
	if m.have < messageHead {
		n = copy(m.head[m.have:], p)
		if m.have += n; m.have < messageHead {
			return n, false
		}
		m.left = m.size()
	} else {
		n = int(min(m.left, int64(len(p))))
		m.left -= int64(n)
	}
	if m.left > 0 {
		return n, false
	}
	m.have = 0
	return n, true
}

// inHead says whether what comes next is of a head.
func (m *messages) inHead() bool { return m.have < messageHead }

// size is the length of the message whose head is there.
func (m *messages) size() int64 { return int64(binary.BigEndian.Uint32(m.head[1:])) }

// calls scans a gRPC body: each message by itself and whole, before its last byte
// passes.
type calls struct {
	messages
	encoding string // of messages that say they are compressed
	begin    func(*dlp.Conversation) *dlp.Request
	talk     dlp.Conversation
	share    int64 // of the budget, for the current message
}

// beginCalls readies the scan of a gRPC body, when the head has been scanned.
func (s *scan) beginCalls(q *request) error {
	s.calls = &calls{begin: s.message}
	for i := range q.list {
		f := &q.list[i]
		if f.kind != kindEnd || !f.encodesMessages() {
			continue
		}
		if s.calls.encoding != "" && !equalFold(f.value, s.calls.encoding) {
			return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it names two encodings of its messages"}
		}
		s.calls.encoding = string(f.value)
	}
	return s.turn()
}

// turn gives back what the scan of one message held, or of the head, and begins
// that of the next.
func (s *scan) turn() error {
	if err := s.excepted(); err != nil {
		return err
	}
	s.q.Close()
	s.q, s.body, s.looked = s.calls.begin(&s.calls.talk), nil, 0
	return nil
}

// nextCalls is next for a gRPC body.
func (s *scan) nextCalls(p []byte, last bool) error {
	c := s.calls
	for len(p) > 0 {
		inHead := c.inHead()
		n, whole := c.next(p)
		if inHead && !c.inHead() || inHead && whole {
			if err := s.beginMessage(); err != nil {
				return err
			}
		}
		if !inHead {
			if err := s.scanMessage(p[:n]); err != nil {
				return err
			}
		}
		if whole {
			if err := s.endMessage(); err != nil {
				return err
			}
		}
		p = p[n:]
	}
	if last && (c.have > 0 || c.left > 0) {
		return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it ends within a gRPC message"}
	}
	return nil
}

// beginMessage begins with a message whose head is there.
func (s *scan) beginMessage() (err error) {
	c := s.calls
	size, encoding := c.size(), ""
	switch c.head[0] {
	case 0:
	case 1:
		encoding = c.encoding
		if !equalFold([]byte(encoding), "gzip") && !equalFold([]byte(encoding), "deflate") {
			return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it has a gRPC message in an encoding that is not known"}
		}
	default:
		return &dlp.Refusal{Reason: dlp.Unreadable, Detail: "it has no gRPC messages"}
	}
	if size > s.most && !s.stream {
		return s.tooLarge()
	}
	c.share = min(scanRatio*size, scanMost)
	if encoding != "" {
		c.share += otherCost
	}
	if !s.budget.take(s.server.ctx, c.share) {
		c.share = 0
		return &dlp.Refusal{Reason: dlp.TooLarge, Detail: "more is under way to be scanned than there is memory for"}
	}
	s.size = 0
	s.body, err = s.q.Body("", encoding)
	return err
}

// scanMessage scans a piece of a message.
func (s *scan) scanMessage(p []byte) error {
	if s.size += int64(len(p)); s.size > s.most { // and the entry has what is beyond pass
		p = p[:max(0, int64(len(p))-(s.size-s.most))]
	}
	_, err := s.body.Write(p)
	return err
}

// endMessage ends the scan of a message.
func (s *scan) endMessage() error {
	c := s.calls
	if err := s.body.Close(); err != nil {
		return err
	}
	c.talk.Sent(s.q)
	if err := s.turn(); err != nil {
		return err
	}
	c.end(s.budget)
	return nil
}

// end gives back the current message's share.
func (c *calls) end(b budget) {
	if c != nil {
		b.release(c.share)
		c.share = 0
	}
}

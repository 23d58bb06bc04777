package dlp

// Conversation is what the messages that one side of a connection sent have
// shown of known secrets, so that a value is found that is sent in several. The
// zero value is one that has not begun. It is not to be used by two at once.
type Conversation struct {
	known  *needles // that the rest is of
	joined uint32
	halves halves
}

var messagePlace = &place{key: "message"}

// Message begins to scan the next message of a conversation, in a connection to
// a path. The message is its Body, of which no header tells. With other known
// secrets than the last message's, the conversation begins anew.
func (s *Scanner) Message(p Policy, path string, c *Conversation) *Request {
	if c.known != s.known {
		// The maps are made here, so that a message amid another adds to the same.
		*c = Conversation{known: s.known, halves: halves{ends: map[uint32]bool{}, begins: map[cut]bool{}}}
	}
	q := s.Request(p)
	q.path, q.root, q.joined, q.halves = path, messagePlace, c.joined, c.halves
	return q
}

// Sent takes in what a message has shown, once its Body is closed.
func (c *Conversation) Sent(q *Request) {
	if c.known == q.known && len(q.texts) > 0 {
		c.joined = q.texts[0].joined // the message as it is; the others are what it encodes
	}
}

package egress

import (
	"bytes"
	"io"

	"bottle/pkg/bottle"
	"bottle/pkg/pipelock"
	"bottle/pkg/policy"
)

const (
	maxBehind    = 256     // bytes of what pipelock says that are told
	maxBehindRaw = 4 << 10 // bytes that are read ahead for them, with what frames them
)

// behind is what an answer says that the bottle's pipelock refused.
type behind struct {
	said  string // empty: it does not look like a refusal
	means pipelock.Refusal
}

// refusedBehind reads an answer of which the head was read and copied. An upstream
// can answer as pipelock does: it is told as what the answer says, and opens nothing.
func (x *exchange) refusedBehind(b body) behind {
	if !x.c.s.force.proxy.Pipelock() || x.c.p.status != 403 {
		return behind{}
	}
	line := firstLine(&x.up.in, b)
	if !bytes.HasPrefix(line, []byte(pipelock.Blocked)) {
		return behind{}
	}
	said := string(bytes.ToValidUTF8(line, nil))
	if m := x.c.mask; m != nil { // a host that has a credential may repeat it
		m.cover(line)
		said = "blocked"
	}
	return behind{said: said, means: pipelock.ReadRefusal(string(line))}
}

// firstLine returns a copy of the beginning of a body that stays to be read, up to
// its first line feed. It waits for more only while what is there begins as a refusal.
func firstLine(in *reader, b body) []byte {
	for {
		data, whole := ahead(in.buffered(), b)
		line, _, found := bytes.Cut(data, []byte("\n"))
		n := min(len(line), len(pipelock.Blocked))
		begins := string(line[:n]) == pipelock.Blocked[:n]
		if !begins || found || whole || len(in.buffered()) >= maxBehindRaw {
			return line
		}
		if err := in.fill(); err == io.EOF && b.length < 0 && !b.chunked {
			return line
		} else if err != nil { // whoever passes it on will see
			return nil
		}
	}
}

// ahead returns a copy of the payload in the bytes that are there of a body, up to
// maxBehind, and says that no more of it is wanted or comes.
func ahead(raw []byte, b body) (data []byte, whole bool) {
	if !b.chunked {
		end := len(raw)
		if b.length >= 0 {
			end = int(min(int64(end), b.length))
		}
		data = bytes.Clone(raw[:min(end, maxBehind)])
		return data, len(data) == maxBehind || int64(len(data)) == b.length
	}
	var d dechunker
	for len(raw) > 0 && d.state != chunkDone && len(data) < maxBehind {
		n, piece, err := d.next(raw)
		if err != nil {
			return nil, true
		}
		data = append(data, piece[:min(len(piece), maxBehind-len(data))]...)
		raw = raw[n:]
	}
	return data, d.state == chunkDone || len(data) == maxBehind
}

// tellBehind makes of an exchange that was answered what it was: a refusal. What
// pipelock has an exception for may be no secret, since our own scanner let it pass:
// the operator is asked.
func (x *exchange) tellBehind() {
	if x.behind.said == "" {
		x.ev.Verdict = bottle.Allowed
		return
	}
	x.ev.Verdict, x.ev.Reason = "deny", "pipelock, behind egress, says: "+x.behind.said
	if x.behind.means.Final {
		x.ev.Reason += "; pipelock gives no exception for it"
	}
	if x.ev.Scheme == policy.HTTPS && x.ev.Port == policy.DefaultPort(policy.HTTPS) {
		for _, pattern := range x.behind.means.Patterns {
			x.c.s.denied.found(x.ev, pattern)
		}
	}
}

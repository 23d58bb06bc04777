package egress

import (
	"bytes"

	"bottle/pkg/bottle"
)

// pipelockSays is how what pipelock answers to a request that it refuses begins.
const pipelockSays = "blocked: "

// maxBehind bounds what is told of such an answer, in bytes.
const maxBehind = 256

// refusedBehind returns what an answer says that the bottle's pipelock refused, of
// which the head was read and copied; empty: it does not look like one. An upstream
// can answer so as well: it is told as what the answer says, and opens nothing.
func (x *exchange) refusedBehind(b body) string {
	if !x.c.s.force.proxy.Pipelock() || x.c.p.status != 403 || b.chunked || b.length < int64(len(pipelockSays)) {
		return ""
	}
	in := &x.up.in
	want := int(min(b.length, maxBehind))
	for len(in.buffered()) < want {
		if in.fill() != nil { // whoever passes it on will see
			return ""
		}
	}
	line, _, _ := bytes.Cut(in.buffered()[:want], []byte("\n"))
	if !bytes.HasPrefix(line, []byte(pipelockSays)) {
		return ""
	}
	if x.c.mask != nil { // a host that has a credential may repeat it
		return "blocked"
	}
	return string(bytes.ToValidUTF8(line, nil))
}

// tellBehind makes of an exchange that was answered what it was: a refusal.
func (x *exchange) tellBehind() {
	if x.behind != "" {
		x.ev.Verdict, x.ev.Reason = "deny", "pipelock, behind egress, says: "+x.behind
		return
	}
	x.ev.Verdict = bottle.Allowed
}

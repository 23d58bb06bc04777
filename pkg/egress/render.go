package egress

import (
	"strconv"

	"bottle/pkg/policy"
)

// appendRequest writes the head that goes upstream. Target and Host are those
// that were judged; framing is our own; fields of this hop are left out.
func appendRequest(out []byte, q *request, o origin, target []byte) []byte {
	out = append(out, q.method...)
	out = append(out, ' ')
	out = append(out, target...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, o.host...)
	if o.port != policy.DefaultPort(o.scheme) {
		out = append(out, ':')
		out = strconv.AppendInt(out, int64(o.port), 10)
	}
	out = append(out, '\r', '\n')
	for _, f := range q.list {
		if f.kind == kindEnd {
			out = appendField(out, f)
		}
	}
	out = append(out, q.injected...)
	out = append(out, q.handshake...)
	if q.unpacked {
		out = append(out, "Accept-Encoding: identity\r\n"...)
	}
	out = appendFraming(out, q.chunked, q.length)
	if q.expect != nil && q.minor == 1 && q.hasBody() {
		out = append(out, "Expect: 100-continue\r\n"...)
	}
	return append(out, '\r', '\n')
}

// appendResponse writes the head that goes to the client. The body that follows
// is chunked, or length bytes, or, with -1, up to the end of the connection.
func appendResponse(out []byte, p *response, chunked bool, length int64, keep bool) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = append(out, p.line...)
	if len(p.line) == 3 {
		out = append(out, ' ') // the blank behind the status is not optional
	}
	out = append(out, '\r', '\n')
	for _, f := range p.list {
		if f.kind == kindEnd {
			out = appendField(out, f)
		}
	}
	if p.status >= 200 {
		out = appendFraming(out, chunked, length)
		if !keep {
			out = append(out, "Connection: close\r\n"...)
		}
	}
	return append(out, '\r', '\n')
}

func appendFraming(out []byte, chunked bool, length int64) []byte {
	switch {
	case chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, length, 10)
		out = append(out, '\r', '\n')
	}
	return out
}

// appendRefusal writes a whole answer of our own. The reason stands in the
// status line too: that is all that some programs show. ours marks a judgement,
// not a failure on the way.
func appendRefusal(out []byte, r *refusal, ours, keep, head bool) []byte {
	reason := "egress: " + printable(r.reason)
	body, form, by := r.body, r.form, r.by
	if body == nil {
		body = append([]byte(reason), '\n')
	}
	if form == "" {
		form = "text/plain; charset=utf-8"
	}
	if by == "" {
		by = "egress"
	}
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(r.status), 10)
	out = append(out, ' ')
	out = append(out, reason...)
	out = append(out, "\r\n"...)
	if ours {
		out = append(out, "X-Bottle-Blocked: "+by+"\r\n"...)
	}
	out = append(out, "Content-Type: "+form+"\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(body)), 10)
	if r.status == 405 {
		out = append(out, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"...)
	}
	if !keep {
		out = append(out, "\r\nConnection: close"...)
	}
	out = append(out, "\r\n\r\n"...)
	if !head {
		out = append(out, body...)
	}
	return out
}

// printable makes a reason, in which a client's bytes may stand, fit for a
// status line.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// showHost returns a host as it may stand in a reason.
func showHost(host string) string {
	b := []byte(host[:min(len(host), 255)])
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == ':') {
			b[i] = '?'
		}
	}
	return string(b)
}

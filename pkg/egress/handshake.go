package egress

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"bottle/pkg/policy"
)

// Fields of WebSocket's handshake (RFC 6455, 4). All others that begin so stay
// behind: extensions above all, for what is compressed cannot be scanned.
const (
	socketFields     = "sec-websocket-"
	socketKey        = socketFields + "key"
	socketVersion    = socketFields + "version"
	socketProtocol   = socketFields + "protocol"
	socketAccept     = socketFields + "accept"
	socketExtensions = socketFields + "extensions"
)

const maxProtocols = 32 // that are offered

// handshake is what was agreed on so far.
type handshake struct {
	answer  string   // to the client's key
	key     string   // ours, for the upstream
	offered []string // subprotocols
}

// wantsSocket says whether a request asks for WebSocket, and for nothing else.
func (q *request) wantsSocket() bool {
	only, n := true, 0
	for i := range q.list {
		switch f := &q.list[i]; {
		case f.kind == kindUpgrade:
			n++
			only = only && equalFold(f.name, "upgrade") && equalFold(f.value, "websocket")
		case f.kind == kindConnection:
			eachToken(f.value, func(t []byte) {
				only = only && (equalFold(t, "upgrade") || equalFold(t, "keep-alive"))
			})
		}
	}
	return only && n == 1
}

// shake checks a request for WebSocket, takes out what is for this hop, and puts
// in its place what goes upstream.
func (q *request) shake() (*handshake, *refusal) {
	var key, version, offered []string
	for i := range q.list {
		f := &q.list[i]
		name, ok := socketField(f.name)
		if !ok {
			continue
		}
		if name != socketProtocol {
			f.kind = kindHop
		}
		switch name {
		case socketKey:
			key = append(key, string(f.value))
		case socketVersion:
			version = append(version, string(f.value))
		case socketProtocol:
			eachToken(f.value, func(t []byte) { offered = append(offered, string(t)) })
		}
	}
	switch {
	case q.method != "GET" || q.minor != 1 || q.chunked || q.length > 0 || !nominates(&q.fields, "upgrade"):
		return nil, refuse(400, "a handshake of WebSocket is a GET of HTTP/1.1 without a body, with Connection: Upgrade")
	case len(version) != 1 || version[0] != "13":
		return nil, refuse(400, "a handshake of WebSocket has Sec-WebSocket-Version: 13, once")
	case len(key) != 1 || !isSocketKey(key[0]):
		return nil, refuse(400, "a handshake of WebSocket has a Sec-WebSocket-Key of 16 bytes, once")
	case len(offered) > maxProtocols || !distinctTokens(offered):
		return nil, refuse(400, "a handshake of WebSocket with subprotocols that are no names")
	}
	h := &handshake{answer: acceptance(key[0]), key: newSocketKey(), offered: offered}
	q.handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + h.key + "\r\n"
	return h, nil
}

// socketField returns the name of a field of the handshake in lower case; one
// with an underscore, which some gateways take for it, has a name that none has.
func socketField(name []byte) (string, bool) {
	if len(name) < len(socketFields) || !sameName(name[:len(socketFields)], socketFields) {
		return "", false
	}
	return strings.ToLower(string(name)), true
}

// isSocketKey says whether key is 16 bytes in base64, as it is written by all.
func isSocketKey(key string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(b) == 16 && len(key) == 24
}

func newSocketKey() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// acceptance is what a key is answered with.
func acceptance(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func distinctTokens(list []string) bool {
	for i, t := range list {
		if slices.Contains(list[:i], t) {
			return false
		}
		for j := range len(t) {
			if !tokenByte[t[j]] {
				return false
			}
		}
	}
	return true
}

// longName is the length in bytes of a subprotocol that is more than a name.
const longName = 64

// carriesCredential says whether a subprotocol is offered that says who the agent
// is: browsers cannot send headers, and so some upstreams take a token there.
func (h *handshake) carriesCredential() bool {
	return slices.ContainsFunc(h.offered, func(name string) bool {
		if len(name) > longName || strings.EqualFold(name, "bearer") || strings.EqualFold(name, "basic") {
			return true
		}
		for part := range strings.SplitSeq(name, ".") {
			if policy.CarriesCredential([]byte(part)) {
				return true
			}
		}
		return false
	})
}

// accepted checks the answer that changes the protocol, and takes out of it what
// is for this hop.
func (h *handshake) accepted(p *response) error {
	var upgrade, accept, chosen []string
	extended := false
	for i := range p.list {
		f := &p.list[i]
		if f.kind == kindUpgrade {
			upgrade = append(upgrade, string(f.value))
		}
		name, ok := socketField(f.name)
		if !ok {
			continue
		}
		f.kind = kindHop
		switch name {
		case socketAccept:
			accept = append(accept, string(f.value))
		case socketProtocol:
			chosen = append(chosen, string(f.value))
			f.kind = kindEnd
		case socketExtensions:
			extended = extended || len(f.value) > 0
		}
	}
	switch {
	case p.minor != 1 || p.chunked || p.length > 0 || len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") || !nominates(&p.fields, "upgrade"):
		return malformed("a change of protocol that nobody asked for")
	case len(accept) != 1 || accept[0] != acceptance(h.key):
		return malformed("a handshake of WebSocket is answered with another key")
	case extended:
		return malformed("a handshake of WebSocket is answered with an extension that was not offered")
	case len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(h.offered, chosen[0]):
		return malformed("a handshake of WebSocket is answered with a subprotocol that was not offered")
	}
	return nil
}

// nominates says whether Connection names a token.
func nominates(f *fields, token string) (found bool) {
	for i := range f.list {
		if f.list[i].kind == kindConnection {
			eachToken(f.list[i].value, func(t []byte) { found = found || equalFold(t, token) })
		}
	}
	return found
}

// appendSwitch writes the answer to the client's handshake.
func (h *handshake) appendSwitch(out []byte, p *response) []byte {
	out = bytes.TrimSuffix(appendResponse(out, p, false, -1, true), []byte("\r\n"))
	return append(out, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+h.answer+"\r\n\r\n"...)
}

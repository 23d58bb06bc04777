package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/policy"
)

// recordHandshake is the first byte of a TLS connection.
const recordHandshake = 0x16

const (
	reasonRejected = "the client does not trust the bottle's CA"
	reasonLeft     = "the client left at the handshake; programs that do not trust the bottle's CA do so"
)

var errNoName = errors.New("the client names no host (SNI)")

// towardsClients is how we speak TLS to the agent: as whatever host it names.
func towardsClients(issuer *ca.Issuer) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// This hop does not leave the machine; post-quantum keys would cost a
		// fifth of the handshake and protect nothing.
		CurvePreferences:            []tls.CurveID{tls.X25519, tls.CurveP256},
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "" {
				return nil, errNoName
			}
			host, err := policy.CanonicalHost(hello.ServerName)
			if err != nil {
				return nil, err
			}
			return issuer.Leaf(host)
		},
	}
}

// towardsUpstreams is how we speak TLS to the outside; roots alone are trusted.
func towardsUpstreams(roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{"http/1.1"},
		RootCAs:                     roots,
		ClientSessionCache:          tls.NewLRUClientSessionCache(256),
		DynamicRecordSizingDisabled: true,
	}
}

// secure turns the connection into TLS with ourselves. Whom it is for is what
// CONNECT said, or the name in the handshake where no CONNECT came before.
// Where both are there and differ, the client is told so in each answer.
func (c *client) secure() bool {
	c.sock.pending = append([]byte(nil), c.in.buffered()...)
	c.in.r, c.in.w = 0, 0
	c.sock.watch, c.sock.tail = true, nil
	t := tls.Server(c.sock, c.s.tls)
	ev := bottle.Event{Kind: "tls", Verdict: "deny"}
	if c.front.bound != nil {
		ev.Host, ev.Port = c.front.bound.host, c.front.bound.port
	}
	err := t.Handshake()
	c.sock.watch = false
	if err != nil {
		ev.Reason, ev.Detail = "the TLS handshake failed", err.Error()
		switch {
		case rejected(err), bareAlert(c.sock.tail):
			ev.Reason = reasonRejected
		case errors.Is(err, io.EOF) && len(c.sock.tail) > 0:
			ev.Reason = reasonLeft
		}
		c.s.record(ev)
		return false
	}
	// Not from GetCertificate: that is not asked when a session is resumed.
	sni := t.ConnectionState().ServerName
	host, err := policy.CanonicalHost(sni)
	if err != nil {
		ev.Reason, ev.Detail = errNoName.Error(), sni
		c.s.record(ev)
		return false
	}
	c.conn, c.in.src, c.served = t, t, false
	if c.front.bound == nil {
		c.front.bound = &origin{scheme: policy.HTTPS, host: host, port: policy.DefaultPort(policy.HTTPS)}
	} else if host != c.front.bound.host {
		c.front.fault = "CONNECT names " + showHost(c.front.bound.host) + ", but TLS names " + showHost(host)
	}
	if t.ConnectionState().NegotiatedProtocol == protoH2 {
		c.streams(t)
		return false
	}
	return true
}

// rejected says whether a handshake failed since the client did not like our
// certificate. crypto/tls has no type for an alert that was received.
func rejected(err error) bool {
	s := err.Error()
	if !strings.Contains(s, "remote error") {
		return false
	}
	for _, alert := range []string{"bad certificate", "unknown certificate", "certificate unknown", "unsupported certificate", "expired certificate"} {
		if strings.Contains(s, alert) {
			return true
		}
	}
	return false
}

// alertSize is the size of an alert that is not encrypted.
const alertSize = 7

// bareAlert says whether what came last from a client is an alert about a
// certificate, in clear. OpenSSL sends it so in TLS 1.3, before it has switched
// to its keys, and crypto/tls can only say that it does not decrypt.
func bareAlert(tail []byte) bool {
	return len(tail) == alertSize && tail[0] == 21 && tail[1] == 3 && tail[3] == 0 && tail[4] == 2 && tail[5] == 2 &&
		tail[6] >= 42 && tail[6] <= 48 && tail[6] != 47 // bad, unsupported, revoked, expired, unknown; unknown CA
}

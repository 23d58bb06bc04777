// Package ca is a bottle's own certificate authority: the host makes one for
// each bottle, and the bottle's egress issues leaf certificates from it. It
// keeps nothing on disk, and nothing outside the bottle trusts it.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour // longer than any bottle
	leafLife = 30 * 24 * time.Hour
	renew    = 24 * time.Hour // a leaf with less than this left is issued anew
	skew     = 24 * time.Hour // clocks that are behind must not reject us
	maxCache = 1024
)

// New makes a certificate authority called name, valid from now. Both results
// are PEM; the key is ECDSA P-256 in SEC 1 form ("EC PRIVATE KEY").
func New(name string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the CA's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-caLife), // a clock that is set back must not end it
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the CA's certificate: %w", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode the CA's key: %w", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM, nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f // positive, at most 20 octets
	return new(big.Int).SetBytes(b)
}

// Issuer issues leaf certificates. It is safe for concurrent use.
type Issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	leaf *ecdsa.PrivateKey // one key for all leaves: making one costs more than it protects here
	now  func() time.Time

	mu    sync.Mutex
	cache map[string]*tls.Certificate
}

// Load reads what New made.
func Load(certPEM, keyPEM []byte) (*Issuer, error) {
	cert, err := decode(certPEM, "CERTIFICATE", x509.ParseCertificate)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	key, err := decode(keyPEM, "EC PRIVATE KEY", x509.ParseECPrivateKey)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's key: %w", err)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("cannot use the CA: its certificate and its key do not belong together")
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make the leaves' key: %w", err)
	}
	return &Issuer{cert: cert, key: key, leaf: leaf, now: time.Now, cache: map[string]*tls.Certificate{}}, nil
}

func decode[T any](data []byte, kind string, parse func([]byte) (T, error)) (T, error) {
	var none T
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return none, fmt.Errorf("there is no PEM block %q", kind)
	}
	return parse(block.Bytes)
}

// Leaf returns a certificate for host, which is a canonical host name. The lock
// is held while it signs, about 0.1 ms, so that a host is signed for only once.
func (i *Issuer) Leaf(host string) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	if c := i.cache[host]; c != nil && now.After(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter.Add(-renew)) {
		return c, nil
	}
	c, err := i.issue(host, now)
	if err != nil {
		return nil, fmt.Errorf("cannot issue a certificate for %s: %w", host, err)
	}
	// The agent chooses the names, so the cache is bounded. Starting over costs
	// one signature a host.
	if len(i.cache) >= maxCache {
		clear(i.cache)
	}
	i.cache[host] = c
	return c, nil
}

func (i *Issuer) issue(host string, now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		DNSNames:     []string{host},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(host) <= 64 { // the longest common name that X.520 allows
		template.Subject.CommonName = host
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, i.leaf.Public(), i.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.leaf, Leaf: leaf}, nil
}

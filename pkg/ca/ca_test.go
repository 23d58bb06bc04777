package ca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func testIssuer(t *testing.T) (*Issuer, *x509.CertPool) {
	t.Helper()
	cert, key, err := New("bottle test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(key, []byte("-----BEGIN EC PRIVATE KEY-----")) {
		t.Fatalf("the key is not in SEC 1 form: %.40s", key)
	}
	i, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		t.Fatal("the certificate is not PEM")
	}
	return i, roots
}

func TestLeafVerifiesForItsHostAlone(t *testing.T) {
	i, roots := testIssuer(t)
	long := strings.Repeat("a.", 60) + "example"
	for _, host := range []string{"api.github.com", "my_bucket.s3.example", "xn--bcher-kva.example", long} {
		c, err := i.Leaf(host)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "other.example", Roots: roots}); err == nil {
			t.Errorf("the leaf for %s verifies for another host", host)
		}
	}
}

func TestLeafIsCachedBoundedAndRenewed(t *testing.T) {
	i, _ := testIssuer(t)
	var wg sync.WaitGroup
	got := make([]any, 8)
	for n := range got {
		wg.Go(func() { got[n], _ = i.Leaf("a.example") })
	}
	wg.Wait()
	for _, c := range got {
		if c != got[0] {
			t.Fatal("concurrent callers got different leaves")
		}
	}
	i.now = func() time.Time { return time.Now().Add(leafLife - renew + time.Minute) }
	if c, _ := i.Leaf("a.example"); any(c) == got[0] {
		t.Error("a leaf about to expire was handed out")
	}
	for n := range maxCache + 10 {
		if _, err := i.Leaf(fmt.Sprintf("h%d.example", n)); err != nil {
			t.Fatal(err)
		}
	}
	if len(i.cache) > maxCache {
		t.Errorf("the cache holds %d leaves", len(i.cache))
	}
}

func TestAClockThatIsSetBackEndsNoTrust(t *testing.T) {
	i, roots := testIssuer(t)
	if _, err := i.Leaf("a.example"); err != nil {
		t.Fatal(err)
	}
	back := time.Now().Add(-400 * 24 * time.Hour)
	i.now = func() time.Time { return back }
	c, err := i.Leaf("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "a.example", Roots: roots, CurrentTime: back}); err != nil {
		t.Error(err)
	}
}

func TestLoadRefusesAForeignKey(t *testing.T) {
	cert, _, _ := New("a", time.Now())
	_, key, _ := New("b", time.Now())
	for _, k := range [][]byte{key, nil, cert, []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n")} {
		if _, err := Load(cert, k); err == nil {
			t.Errorf("Load accepted the key %.30q", k)
		}
	}
}

package gitgate

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp"
)

// each writes every byte by a format.
func each(format string) func(string) string {
	return func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
}

func wrapped(s, end string, width int) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(s), width) {
		b.WriteString(string(part) + end)
	}
	return b.String()
}

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, s)
}

func base58(s string) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, mod, base := new(big.Int).SetBytes([]byte(s)), new(big.Int), big.NewInt(58)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, mod)
		out = append(out, digits[mod.Int64()])
	}
	return backwards(string(out))
}

// forms are what pkg/dlp says that it knows of a secret whose value it has.
var forms = map[string]func(string) string{
	"as it is":            func(s string) string { return s },
	"upper case":          strings.ToUpper,
	"spaced":              func(s string) string { return wrapped(s, " ", 1) },
	"lines":               func(s string) string { return wrapped(s, "\n", 5) },
	"base64":              func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64-url":          func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64-second":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte("a" + s + "zz")) },
	"base64-third":        func(s string) string { return base64.URLEncoding.EncodeToString([]byte("ab" + s + "z")) },
	"base64-lines":        func(s string) string { return wrapped(base64.StdEncoding.EncodeToString([]byte(s)), "\n", 8) },
	"base64-CRLF":         func(s string) string { return wrapped(base64.StdEncoding.EncodeToString([]byte(s)), "\r\n", 9) },
	"base64-twice":        func(s string) string { return stack(s, b64, b64) },
	"base64-thrice":       func(s string) string { return stack(s, b64, b64, b64) },
	"base64-of-hex":       func(s string) string { return stack(s, hexed, b64) },
	"hex-of-base64":       func(s string) string { return stack(s, b64, hexed) },
	"base32":              func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"base32-second":       func(s string) string { return strings.ToLower(base32.StdEncoding.EncodeToString([]byte("abc" + s))) },
	"base58":              base58,
	"hex":                 hexed,
	"hex-upper":           func(s string) string { return strings.ToUpper(hexed(s)) },
	"hex-colons":          each("%02x:"),
	"hex-0x":              each("0x%02x, "),
	"hex-escapes":         each(`\x%02X`),
	"decimal":             each("%d,"),
	"binary":              each("%08b "),
	"URL":                 url.QueryEscape,
	"URL-every-byte":      each("%%%02X"),
	"URL-twice":           each("%%25%02x"),
	"JSON":                func(s string) string { b, _ := json.Marshal(map[string]string{"a": s}); return string(b) },
	"JSON-every-byte":     each(`\u%04x`),
	"HTML":                html.EscapeString,
	"HTML-decimal":        each("&#%d;"),
	"HTML-hexadecimal":    each("&#x%X;"),
	"quoted-printable":    each("=%02X"),
	"UTF-16LE":            each("%c\x00"),
	"UTF-16BE":            each("\x00%c"),
	"UTF-32":              each("\x00\x00\x00%c"),
	"backwards":           backwards,
	"base64-backwards":    func(s string) string { return backwards(b64(s)) },
	"base64-of-backwards": func(s string) string { return b64(backwards(s)) },
	"rot13":               rot13,
	"gzip":                squash(func(b *bytes.Buffer) closer { return gzip.NewWriter(b) }),
	"zlib":                squash(func(b *bytes.Buffer) closer { return zlib.NewWriter(b) }),
	"zstd":                squash(func(b *bytes.Buffer) closer { z, _ := zstd.NewWriter(b); return z }),
	"gzip-in-base64": func(s string) string {
		return b64(squash(func(b *bytes.Buffer) closer { return gzip.NewWriter(b) })(s))
	},
	"base64-in-UTF-16":     func(s string) string { return stack(s, b64, each("%c\x00")) },
	"parts-in-quotes":      func(s string) string { return `"` + s[:9] + "\" +\n\t\"" + s[9:] + `"` },
	"base64-parts-in-code": func(s string) string { b := b64(s); return `"` + b[:9] + "\" +\n\t\"" + b[9:] + `"` },
}

func b64(s string) string   { return base64.StdEncoding.EncodeToString([]byte(s)) }
func hexed(s string) string { return hex.EncodeToString([]byte(s)) }

func stack(s string, by ...func(string) string) string {
	for _, f := range by {
		s = f(s)
	}
	return s
}

type closer interface {
	Write([]byte) (int, error)
	Close() error
}

func squash(open func(*bytes.Buffer) closer) func(string) string {
	return func(s string) string {
		var b bytes.Buffer
		z := open(&b)
		z.Write([]byte(s))
		z.Close()
		return b.String()
	}
}

// One push, a file a form, each amid something else: every file is found.
func TestTheBottlesOwnAreFoundInEveryForm(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	for name, form := range forms {
		text := form(ownSecret)
		if name != "gzip" && name != "zlib" && name != "zstd" {
			text = "some words before " + name + "\n" + text + "\nand some after\n"
		}
		c.write(name, text)
	}
	c.git("add", "-A")
	c.git("commit", "-q", "-m", "all of them")
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "held for the operator")
	findings := g.proposal().Push.Findings
	for name := range forms {
		found := slices.ContainsFunc(findings, func(f bottle.PushFinding) bool {
			at, _, _ := strings.Cut(f.Where, ":")
			return at == name && f.Rule == dlp.KnownRule
		})
		if !found {
			t.Errorf("%s passes", name)
		}
	}
}

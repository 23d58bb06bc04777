package dlp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// Finding is a secret where none may be. It never holds the secret.
type Finding struct {
	Rule string // KnownRule, or the ID of a rule
	Name string // of the known secret
	// Where it stands: url.path, url.query.KEY, header.NAME, cookie.NAME,
	// trailer.NAME, body, body.messages[3].content, body.PART, body.PART.filename.
	Where string
	Via   string // the encodings it was found beneath, such as "base64 gzip"
	// Fingerprint is the first 12 hexadecimal digits of the secret's HMAC-SHA256
	// under Options.Key: equal secrets have equal ones.
	Fingerprint string
}

func (f *Finding) Error() string {
	s := "a secret (" + f.Rule + ") in " + f.Where
	if f.Via != "" {
		s += ", in " + f.Via
	}
	return s
}

// Reason says why a body was not scanned to its end.
type Reason string

const (
	UnknownEncoding Reason = "unknown-encoding"    // Content-Encoding is none that can be undone
	Unreadable      Reason = "unreadable"          // the body is not what its headers say
	TooLarge        Reason = "too-large"           // more than Options.MaxDecoded, or a bomb
	TooDense        Reason = "too-much-to-look-at" // more near-secrets than a body of its size may hold
)

// Refusal is a request that cannot be scanned. It must not pass.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string {
	return "cannot scan the body: " + r.Detail
}

func fingerprint(key, secret []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write(secret)
	return hex.EncodeToString(m.Sum(nil))[:12]
}

// place is where in a request something stands.
type place struct {
	up         *place
	key        string
	index      int  // where key is empty: of an element of an array
	credential bool // a header that carries the sender's credential
	cookie     bool
	file       string // name of the file that it is
}

func (p *place) String() string {
	if p == nil {
		return "body"
	}
	var parts []string
	for ; p != nil; p = p.up {
		switch {
		case p.key == "":
			parts = append(parts, "["+strconv.Itoa(p.index)+"]")
		case p.up == nil:
			parts = append(parts, clean(p.key))
		default:
			parts = append(parts, "."+clean(p.key))
		}
		if len(parts) == maxShown {
			parts = append(parts, "…")
			break
		}
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
	}
	return b.String()
}

const (
	maxShown = 24 // steps of a path that are shown
	maxKey   = 48 // bytes of a step that are shown
)

// clean makes a key fit to be shown. Keys are the sender's own words: one that
// may be a secret itself is not shown.
func clean(key string) string {
	if len(key) > maxKey || mixedRun(key) {
		return "…"
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f {
			return '?'
		}
		return c
	}, key)
}

// mixedRun says whether s holds MinKnown letters and digits in a row, some of
// each.
func mixedRun(s string) bool {
	from := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && wordByte[s[i]] {
			continue
		}
		if i-from >= MinKnown && mixed(strings.ToLower(s[from:i])) {
			return true
		}
		from = i + 1
	}
	return false
}

// where says where a mark's text stands, without the secret that is there.
func (m *mark) where(secret []byte) string {
	s := m.String()
	if w := squeezed(string(core(secret))); strings.Contains(squeezed(s), w) {
		s = "a name in " + s[:strings.IndexAny(s+".", ".[")]
	}
	return s
}

package dlp

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"mime/multipart"
	"mime/quotedprintable"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// secret is a value that no rule knows. It does not stand here as it is: this
// file is part of the corpus of harmless requests.
var secret = "/+_-"[:2] + base64.RawURLEncoding.EncodeToString(random(14)) + "/+_-"[2:]

// scanner returns one with the default rules and one known secret.
func scanner(t testing.TB, known ...Known) *Scanner {
	t.Helper()
	if known == nil {
		known = []Known{{Name: "TOKEN", Value: []byte(secret)}}
	}
	s, err := New(Default(), known, Options{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// body scans a body in pieces of a size.
func body(s *Scanner, p Policy, form, encoding string, data []byte, size int) error {
	q := s.Request(p)
	defer q.Close()
	return bodyOf(q, form, encoding, data, size)
}

func bodyOf(q *Request, form, encoding string, data []byte, size int) error {
	b, err := q.Body(form, encoding)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(size, len(data))
		if _, err := b.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return b.Close()
}

func isFinding(err error, rule string) bool {
	f := (*Finding)(nil)
	return errors.As(err, &f) && (rule == "" || f.Rule == rule)
}

// TestSecretOfPunctuationIsFoundInEveryBlock: one with too few letters for the
// automaton, before fields that go on.
func TestSecretOfPunctuationIsFoundInEveryBlock(t *testing.T) {
	value := "%+!" + "#=_;^~:|*-?" + "%/+"
	s := scanner(t, Known{Name: "P", Value: []byte(value)})
	field := `"name": "` + strings.Repeat("some text ", 60) + `", `
	for at := range 60 {
		text := "{" + strings.Repeat(field, at) + `"p": "` + value + `", ` + strings.Repeat(field, 60) + `"end": 1}`
		if err := body(s, ordinary, "application/json", "", []byte(text), 16<<10); !isFinding(err, KnownRule) {
			t.Errorf("behind %d bytes: %v", strings.Index(text, value), err)
		}
	}
}

// split cuts s into lines of a length.
func lines(s string, length int, end string) string {
	var b strings.Builder
	for ; len(s) > length; s = s[length:] {
		b.WriteString(s[:length] + end)
	}
	return b.String() + s
}

func separated(s, by string) string { return lines(hex.EncodeToString([]byte(s)), 2, by) }

func wideOf(s string, little bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if little {
			b = append(b, byte(u), byte(u>>8))
		} else {
			b = append(b, byte(u>>8), byte(u))
		}
	}
	return string(b)
}

func all(s, format string) string { return each([]byte(s), format) }

// encodings are what each makes of a value.
var encodings = []struct {
	name   string
	encode func(string) string
	text   bool // yields text that can be encoded again
}{
	{"raw", func(s string) string { return s }, true},
	{"base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, true},
	{"base64, url alphabet, no padding", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }, true},
	{"base64, second alignment", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("a" + s + "zz")) }, true},
	{"base64, third alignment", func(s string) string { return base64.URLEncoding.EncodeToString([]byte("ab" + s + "z")) }, true},
	{"base64, lines", func(s string) string {
		return lines(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 52)+s+strings.Repeat("y", 90))), 76, "\r\n")
	}, true},
	{"base64, wrapped", func(s string) string {
		return lines(base64.StdEncoding.EncodeToString([]byte("some words before "+s+" and some behind it, for a line or two more")), 64, "\n")
	}, true},
	{"base64, short lines", func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte(s)), 8, "\n") }, false},
	{"base32", func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) }, true},
	{"base32, lower case, another alignment", func(s string) string {
		return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte("abc" + s)))
	}, true},
	{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }, true},
	{"hex, upper case", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }, true},
	{"hex, colons", func(s string) string { return separated(s, ":") }, false},
	{"hex, spaces", func(s string) string { return separated(s, " ") }, false},
	{"hex, 0x", func(s string) string { return all(s, "0x%02x, ") }, false},
	{"hex, \\x", func(s string) string { return all(s, `\x%02X`) }, true},
	{"URL", func(s string) string { return url.QueryEscape(s) }, true},
	{"URL twice", func(s string) string { return url.QueryEscape(url.QueryEscape(s)) }, true},
	{"URL, every byte", func(s string) string { return all(s, "%%%02X") }, true},
	{"URL, every byte, twice", func(s string) string { return all(s, "%%25%02x") }, true},
	{"JSON", func(s string) string { b, _ := json.Marshal(s); return string(b) }, true},
	{"JSON, every byte", func(s string) string { return all(s, `\u%04x`) }, true},
	{"JSON in JSON", func(s string) string {
		b, _ := json.Marshal(map[string]string{"a": s})
		b, _ = json.Marshal(string(b))
		return string(b)
	}, true},
	{"HTML", func(s string) string { return html.EscapeString(s) }, true},
	{"HTML, decimal", func(s string) string { return all(s, "&#%d;") }, true},
	{"HTML, hexadecimal", func(s string) string { return all(s, "&#x%X;") }, true},
	{"UTF-16 LE", func(s string) string { return wideOf(s, true) }, true},
	{"UTF-16 BE", func(s string) string { return wideOf(s, false) }, true},
	{"reversed", func(s string) string { return string(reversed([]byte(s))) }, true},
	{"reversed base64", func(s string) string {
		return string(reversed([]byte(base64.StdEncoding.EncodeToString([]byte(s)))))
	}, false},
	{"binary", func(s string) string { return all(s, "%08b ") }, false},
	{"rot13", func(s string) string { return string(rot13([]byte(s))) }, true},
	{"base58", func(s string) string { return encode58([]byte(s)) }, true},
	{"quoted-printable", func(s string) string {
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	}, true},
	{"quoted-printable, every byte", func(s string) string { return all(s, "=%02X") }, true},
	{"decimal", func(s string) string { return all(s, "%d,") }, false},
	{"upper case", strings.ToUpper, false},
	{"spaced", func(s string) string { return strings.Join(strings.Split(s, ""), " ") }, false},
	{"gzip", func(s string) string { return string(packed(s)) }, true},
}

func packed(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

func TestKnownSecretIsFoundInEveryEncoding(t *testing.T) {
	s := scanner(t)
	for _, e := range encodings {
		for _, size := range []int{1 << 20, 7} {
			for _, around := range []string{"%s", "some words before it %s and after\n", strings.Repeat("text of no interest. ", 2000) + "%s" + strings.Repeat(" more of it", 3000)} {
				if e.name == "gzip" && around != "%s" {
					continue
				}
				text := fmt.Sprintf(around, e.encode(secret))
				if err := body(s, Policy{}, "text/plain", "", []byte(text), size); !isFinding(err, KnownRule) {
					t.Errorf("%s, pieces of %d, %d bytes: %v", e.name, size, len(text), err)
				}
			}
		}
	}
}

// again are the encodings that are tried on top of one another.
var again = []string{"base64", "base64, url alphabet, no padding", "base64, second alignment", "base64, lines", "base32", "hex", "hex, upper case",
	"URL, every byte", "JSON, every byte", "HTML, decimal", "gzip", "reversed", "UTF-16 LE"}

// stack says whether b can encode what a made, and c what b made.
func stack(a, b, c string) bool {
	for _, name := range []string{a, b, c} {
		if !slices.Contains(again, name) {
			return false
		}
	}
	// What is compressed is bytes, which not all encode; it is told by how it
	// begins, so that nothing may be put before it.
	bytes := []string{"base64", "hex", "base64, url alphabet, no padding", "hex, upper case"}
	switch {
	case strings.Contains(b+c, "reversed") || strings.Contains(b+c, "UTF") || c == "gzip":
		return false
	case a == "gzip":
		return slices.Contains(bytes, b) && c != "base64, lines"
	}
	return b != "gzip" || slices.Contains(bytes, c)
}

func TestKnownSecretIsFoundThreeEncodingsDeep(t *testing.T) {
	s := scanner(t)
	tried, found := 0, 0
	for _, a := range encodings {
		for _, b := range encodings {
			for _, c := range encodings {
				if !stack(a.name, b.name, c.name) {
					continue
				}
				tried++
				text := "x: " + c.encode(b.encode(a.encode(secret)))
				if err := body(s, Policy{}, "text/plain", "", []byte(text), 1<<20); isFinding(err, KnownRule) {
					found++
				} else {
					t.Errorf("%s in %s in %s: %v", a.name, b.name, c.name, err)
				}
			}
		}
	}
	t.Logf("%d of %d", found, tried)
}

// multi returns a multipart body of fields.
func multi(fields ...[2]string) (form string, data []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		w.WriteField(f[0], f[1])
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func TestKnownSecretInTwoPartsIsFound(t *testing.T) {
	s := scanner(t)
	forms := map[string]string{
		"raw": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "hex": hex.EncodeToString([]byte(secret)),
		"reversed": string(reversed([]byte(secret))),
	}
	for name, form := range forms {
		for _, at := range []int{6, len(form) / 2, len(form) - 7} {
			a, b := form[:at], form[at:]
			ja, _ := json.Marshal(a)
			jb, _ := json.Marshal(b)
			type sent struct {
				name    string
				target  string
				fields  []Field
				form    string
				content []byte
			}
			mform, mdata := multi([2]string{"x", b}, [2]string{"between", "nothing"}, [2]string{"y", a})
			for _, r := range []sent{
				{name: "JSON, in order", form: "application/json", content: fmt.Appendf(nil, `{"a":%s,"n":[1,null],"b":%s}`, ja, jb)},
				{name: "JSON, out of order, apart", form: "application/json", content: fmt.Appendf(nil, `{"b":%s,"m":{"k":"between"},"a":%s}`, jb, ja)},
				{name: "JSON, inside", form: "application/json", content: fmt.Appendf(nil, `{"a":"first part: %s","m":"between","b":"%s is the second"}`, a, b)},
				{name: "form", form: "application/x-www-form-urlencoded", content: []byte("b=" + url.QueryEscape(b) + "&m=between&a=" + url.QueryEscape(a))},
				{name: "multipart", form: mform, content: mdata},
				{name: "query", target: "/x?b=" + url.QueryEscape(b) + "&m=between&a=" + url.QueryEscape(a)},
				{name: "headers", target: "/", fields: []Field{{Name: []byte("X-B"), Value: []byte(b)}, {Name: []byte("X-M"), Value: []byte("between")}, {Name: []byte("X-A"), Value: []byte(a)}}},
				{name: "cookies", target: "/", fields: []Field{{Name: []byte("Cookie"), Value: []byte("b=" + b + "; m=between; a=" + a)}}},
				{name: "query and body", target: "/x?a=" + url.QueryEscape(a), form: "application/json", content: fmt.Appendf(nil, `{"m":"between","b":%s}`, jb)},
			} {
				q := s.Request(Policy{})
				err := q.Head([]byte(cmp.Or(r.target, "/")), r.fields)
				if err == nil && r.content != nil {
					err = bodyOf(q, r.form, "", r.content, 11)
				}
				q.Close()
				if !isFinding(err, KnownRule) {
					t.Errorf("%s, %s cut at %d: %v", r.name, name, at, err)
				}
			}
		}
	}
	// One part alone, or both without an end between, is nothing.
	for _, text := range []string{`{"a":"` + secret[:10] + `","b":"else"}`, `{"a":"` + secret[10:] + `","b":"` + secret[:9] + `"}`} {
		if err := body(s, Policy{}, "application/json", "", []byte(text), 100); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestKnownSecretInManyPartsInARowIsFound(t *testing.T) {
	s := scanner(t)
	list, _ := json.Marshal(strings.Split(lines(secret, 3, "\x00"), "\x00"))
	if err := body(s, Policy{}, "application/json", "", list, 5); !isFinding(err, KnownRule) {
		t.Errorf("%s: %v", list, err)
	}
}

func TestKnownSecretTravelsInACredentialHeaderOfItsHosts(t *testing.T) {
	s := scanner(t, Known{Name: "NPM", Value: []byte("npm_" + strings.Repeat("aB3dE6gH9", 4)), Hosts: []string{"a.example.com"}}, Known{Name: "T", Value: []byte(secret)},
		Known{Name: "NPM again", Value: []byte("npm_" + strings.Repeat("aB3dE6gH9", 4)), Hosts: []string{"Packages.example.com"}})
	value := "npm_" + strings.Repeat("aB3dE6gH9", 4)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+value))
	for _, c := range []struct {
		name, host, header, value string
		credential, passes        bool
	}{
		{"its host", "packages.example.com", "Authorization", "Bearer " + value, true, true},
		{"its host, Basic", "packages.example.com", "Authorization", basic, true, true},
		{"another host", "other.example.com", "Authorization", "Bearer " + value, true, false},
		{"another host, Basic", "other.example.com", "Authorization", basic, true, false},
		{"another header", "packages.example.com", "X-Data", value, false, false},
		{"a value without hosts", "packages.example.com", "Authorization", "Bearer " + secret, true, false},
	} {
		q := s.Request(Policy{Host: c.host})
		err := q.Head([]byte("/"), []Field{{Name: []byte(c.header), Value: []byte(c.value), Credential: c.credential}})
		q.Close()
		if c.passes != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A half in a credential header does not excuse the other half elsewhere.
	q := s.Request(Policy{Host: "packages.example.com"})
	defer q.Close()
	err := q.Head([]byte("/?a="+value[:20]), []Field{{Name: []byte("Authorization"), Value: []byte(value[20:]), Credential: true}})
	if !isFinding(err, KnownRule) {
		t.Errorf("half in the query, half in the header: %v", err)
	}
}

func TestShortSecretIsRefused(t *testing.T) {
	if _, err := New(Default(), []Known{{Name: "PIN", Value: []byte("12345678901")}}, Options{}); err == nil || !strings.Contains(err.Error(), "PIN") {
		t.Errorf("%v", err)
	}
}

func TestSecretOfPunctuationIsFound(t *testing.T) {
	v := "!@#$%^&*()_+{}|:<>?"
	s := scanner(t, Known{Name: "P", Value: []byte(v)})
	for _, text := range []string{"x " + v + " y", base64.StdEncoding.EncodeToString([]byte(v)), hex.EncodeToString([]byte(v))} {
		if err := body(s, Policy{}, "text/plain", "", []byte(text), 100); !isFinding(err, KnownRule) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLongSecretIsFoundByItsMiddle(t *testing.T) {
	pem := "-----BEGIN OPAQUE THING-----\n" + lines(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k9#fQ7z!"), 90)), 64, "\n") + "\n-----END OPAQUE THING-----\n"
	s := scanner(t, Known{Name: "PEM", Value: []byte(pem)})
	for name, text := range map[string]string{"raw": pem, "JSON": jsonOf(pem), "base64": base64.StdEncoding.EncodeToString([]byte(pem)),
		"one line": strings.ReplaceAll(pem, "\n", " "), "escaped": strings.ReplaceAll(pem, "\n", `\n`)} {
		if err := body(s, Policy{}, "application/json", "", []byte(text), 1000); !isFinding(err, KnownRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := body(s, Policy{}, "text/plain", "", []byte("-----BEGIN OPAQUE THING-----\n-----END OPAQUE THING-----\n"), 100); err != nil {
		t.Errorf("its frame alone: %v", err)
	}
}

func jsonOf(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestNestedSecretIsFoundAnywhereInALongBody(t *testing.T) {
	s := scanner(t)
	word := base64.StdEncoding.EncodeToString([]byte("some words that mean nothing at all, again"))
	filler := strings.Repeat(word+" ", 400)
	for at := 0; at < len(filler); at += 997 {
		text := filler[:at] + " " + base64.StdEncoding.EncodeToString([]byte("see "+ghp()+" there")) + " " + filler[at:]
		whole := "see " + base64.StdEncoding.EncodeToString([]byte(text)) + " and nothing more"
		for _, size := range []int{1000, 1 << 20} {
			if err := body(s, Policy{}, "text/plain", "", []byte(whole), size); !isFinding(err, "github-pat") {
				t.Errorf("at %d of %d, in pieces of %d: %v", at, len(filler), size, err)
			}
		}
	}
}

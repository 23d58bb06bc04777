package dlp

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// ghp is a key as GitHub gives them.
func ghp() string {
	m := maker{rand.New(rand.NewPCG(8, 9))}
	return "ghp_" + m.alnum(36)
}

const partHead = "--b\r\nContent-Disposition: form-data; name=f"

func TestFindingSaysWhereAndNeverWhat(t *testing.T) {
	s := scanner(t)
	key := ghp()
	form, fields := multi([2]string{"note", "x"}, [2]string{"upload", key})
	for _, c := range []struct {
		where, target, form, body string
		fields                    []Field
	}{
		{where: "url.path", target: "/x/" + key},
		{where: "url.query.q", target: "/x?a=1&q=" + key},
		{where: "header.x-data", target: "/", fields: headers("X-Data", key)},
		{where: "cookie.b", target: "/", fields: headers("Cookie", "a=1; b="+key)},
		{where: "body", form: "text/plain", body: "see " + key},
		{where: "body", form: "application/json", body: `"` + key + `"`},
		{where: "body.messages[3].content", form: "application/json", body: `{"model":"m","messages":[{"content":"a"},{},{"content":["x",{"y":1}]},{"role":"user","content":"` + key + `"}]}`},
		{where: "body[1].b[0][1]", form: "application/json", body: `[{"a":{}},{"a":[1,2],"b":[["x","` + key + `"]]}]`},
		{where: "body.q", form: "application/x-www-form-urlencoded", body: "a=1&q=x+" + key + "&z=2"},
		{where: "body.upload", form: form, body: string(fields)},
		{where: "body.f.filename", form: "multipart/form-data; boundary=b", body: partHead + "; filename=\"" + key + ".txt\"\r\n\r\nx\r\n--b--\r\n"},
		{where: "body.f.filename", form: "multipart/form-data; boundary=b", body: partHead + "; filename*=UTF-8''%67hp_" + key[4:] + "\r\n\r\nx\r\n--b--\r\n"},
		{where: "body.f.header", form: "multipart/form-data; boundary=b", body: partHead + "\r\nX-Data: " + key + "\r\n\r\nx\r\n--b--\r\n"},
		{where: "body.f.a[1]", form: "multipart/form-data; boundary=b", body: partHead + "\r\nContent-Type: application/json\r\n\r\n{\"a\":[0,\"" + key + "\"]}\r\n--b--\r\n"},
		{where: "body", form: "multipart/form-data; boundary=b", body: key + "\r\n" + partHead + "\r\n\r\nx\r\n--b--\r\n"},
		{where: "body", form: "multipart/form-data; boundary=b", body: partHead + "\r\n\r\nx\r\n--b--\r\n" + key},
	} {
		for _, size := range []int{1, 1 << 20} {
			q := s.Request(ordinary)
			var err error
			if c.target != "" {
				err = q.Head([]byte(c.target), c.fields)
			} else {
				err = bodyOf(q, c.form, "", []byte(c.body), size)
			}
			q.Close()
			f := (*Finding)(nil)
			if !errors.As(err, &f) || f.Rule != "github-pat" || f.Where != c.where {
				t.Errorf("%s in pieces of %d: %v", c.where, size, err)
				continue
			}
			if shown := fmt.Sprintf("%+v %v", *f, f); strings.Contains(shown, key[:12]) {
				t.Errorf("the finding holds the secret: %s", shown)
			}
			if f.Fingerprint != fingerprint([]byte("k"), []byte(key)) || len(f.Fingerprint) != 12 {
				t.Errorf("fingerprint %s", f.Fingerprint)
			}
		}
	}
	q := s.Request(ordinary)
	f := (*Finding)(nil)
	if err := q.Trailers(headers("X-Sum", key)); !errors.As(err, &f) || f.Where != "trailer.x-sum" {
		t.Errorf("trailer: %v", err)
	}
}

func TestSecretsInNamesAreNotShown(t *testing.T) {
	s := scanner(t)
	for _, key := range []string{ghp(), secret} {
		for form, text := range map[string]string{"application/json": `{"` + key + `":{"` + key + `":"` + key + `"}}`,
			"application/x-www-form-urlencoded": key + "=" + key, "multipart/form-data; boundary=b": "--b\r\nContent-Disposition: form-data; name=\"" + key + "\"\r\n\r\n" + key + "\r\n--b--"} {
			err := body(s, ordinary, form, "", []byte(text), 100)
			if !isFinding(err, "") || strings.Contains(err.Error(), key[5:]) {
				t.Errorf("%s: %v", form, err)
			}
		}
		for _, target := range []string{"/?" + key + "=" + key, "/" + key, "/?" + key} {
			q := s.Request(ordinary)
			if err := q.Head([]byte(target), headers(key, key)); !isFinding(err, "") || strings.Contains(err.Error(), key[5:]) {
				t.Errorf("%v", err)
			}
		}
	}
	const other = "Xk39fjQ02mZp81Lw" // a secret that nobody knows
	for form, text := range map[string]string{"application/json": `{"` + other + `":"` + secret + `"}`, "application/x-www-form-urlencoded": other + "=" + secret} {
		if err := body(s, ordinary, form, "", []byte(text), 100); !isFinding(err, "") || strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	s := scanner(t)
	for _, c := range []struct {
		name, form, encoding, body string
		reason                     Reason
	}{
		{"encoding", "", "compress", "x", UnknownEncoding},
		{"encoding on top of another", "", "gzip, aes128gcm", "x", UnknownEncoding},
		{"four encodings", "", "gzip, gzip, gzip, gzip", "x", UnknownEncoding},
		{"no gzip", "", "gzip", "not compressed at all", Unreadable},
		{"no boundary", "multipart/form-data", "", "--b\r\n\r\n\r\n--b--", Unreadable},
		{"malformed boundary", "multipart/form-data; boundary=\"b", "", "--b\r\n\r\n\r\n--b--", Unreadable},
		{"no part", "multipart/form-data; boundary=b", "", "hello", Unreadable},
		{"no end", "multipart/form-data; boundary=b", "", partHead + "\r\n\r\nx", Unreadable},
		{"malformed header", "multipart/form-data; boundary=b", "", "--b\r\nno colon\r\n\r\nx\r\n--b--", Unreadable},
		{"malformed disposition", "multipart/form-data; boundary=b", "", "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--b--", Unreadable},
		{"endless header", "multipart/form-data; boundary=b", "", "--b\r\nX: " + strings.Repeat("x", 20000), Unreadable},
	} {
		for _, size := range []int{1, 1 << 20} {
			r := (*Refusal)(nil)
			if err := body(s, ordinary, c.form, c.encoding, []byte(c.body), size); !errors.As(err, &r) || r.Reason != c.reason {
				t.Errorf("%s in pieces of %d: %v", c.name, size, err)
			}
		}
	}
}

func TestBombsAreRefused(t *testing.T) {
	s := scanner(t)
	zeros := make([]byte, 64<<20)
	r := (*Refusal)(nil)
	for _, how := range []string{"gzip", "deflate", "br", "zstd"} {
		if err := body(s, ordinary, "", how, compressed(t, how, zeros), 1000); !errors.As(err, &r) || r.Reason != TooLarge {
			t.Errorf("%s: %v", how, err)
		}
	}
	inner := base64.StdEncoding.EncodeToString(packed(string(zeros)))
	if err := body(s, ordinary, "text/plain", "", []byte("x: "+inner), 1000); !errors.As(err, &r) || r.Reason != TooLarge {
		t.Errorf("gzip in base64: %v", err)
	}
	small, err := New(Default(), nil, Options{MaxDecoded: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := body(small, ordinary, "text/plain", "", bytes.Repeat([]byte("x "), 501), 100); !errors.As(err, &r) || r.Reason != TooLarge {
		t.Errorf("over the limit: %v", err)
	}
}

func TestExceptionHoldsForItsRuleAndPath(t *testing.T) {
	s := scanner(t)
	for _, c := range []struct {
		e      Exception
		path   string
		passes bool
	}{
		{Exception{"github-pat", "/login"}, "/login", true},
		{Exception{"github-pat", "/login"}, "/login/x?y=1", true},
		{Exception{"github-pat", "/login/"}, "/login/x", true},
		{Exception{"github-pat", ""}, "/anything", true},
		{Exception{"github-pat", "/login"}, "/loginx", false},
		{Exception{"github-pat", "/login"}, "/x/login", false},
		{Exception{"jwt", "/login"}, "/login", false},
		{Exception{KnownRule, ""}, "/login", false},
	} {
		value := ghp()
		if c.e.Rule == KnownRule {
			value = secret
		}
		q := s.Request(Policy{Host: "x", Allow: []Exception{c.e}})
		err := q.Head([]byte(c.path), nil)
		if err == nil {
			err = bodyOf(q, "text/plain", "", []byte("see "+value+" and "+value), 5)
		}
		passed := q.Passed()
		q.Close()
		if c.passes != (err == nil) || c.passes != (len(passed) == 1) {
			t.Errorf("%v at %s: %v, %d passed", c.e, c.path, err, len(passed))
		}
	}
}

func TestClassesAreTriedWhereTheyBelong(t *testing.T) {
	s := scanner(t)
	m := maker{rand.New(rand.NewPCG(2, 3))}
	token := jwt(m, 60)
	for _, text := range []string{`{"client_secret": "` + m.alnum(40) + `"}`, `mailchimp_key = "` + m.hex(32) + `-us12"`} {
		if err := body(s, ordinary, "text/plain", "", []byte(text), 99); !isFinding(err, "") {
			t.Errorf("%s: %v", text, err)
		}
		if err := body(s, model, "text/plain", "", []byte(text), 99); err != nil {
			t.Errorf("%s to a model: %v", text, err)
		}
		q := s.Request(ordinary)
		if err := q.Head([]byte("/"), headers("X-Config", text)); err != nil {
			t.Errorf("%s in a header: %v", text, err)
		}
	}
	for _, c := range []struct {
		name   string
		fields []Field
		target string
		passes bool
	}{
		{"a session's token in a credential header", headers("Authorization", "Bearer "+token), "/", true},
		{"in a cookie", headers("Cookie", "session="+token), "/", true},
		{"in another header", headers("X-Data", token), "/", false},
		{"in the query", nil, "/?t=" + token, false},
		{"a key in a credential header", headers("Authorization", "Bearer "+ghp()), "/", false},
	} {
		q := s.Request(ordinary)
		if err := q.Head([]byte(c.target), c.fields); c.passes != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		q.Close()
	}
}

func TestFilesThatAreSecretsAreFoundByTheirName(t *testing.T) {
	s := scanner(t)
	part := partHead + "; filename=\"keys/server.p12\"\r\n\r\nx\r\n--b--\r\n"
	if err := body(s, ordinary, "multipart/form-data; boundary=b", "", []byte(part), 7); !isFinding(err, "pkcs12-file") {
		t.Errorf("in a part: %v", err)
	}
	q := s.Request(ordinary)
	if err := q.Head([]byte("/files/server.pfx"), nil); err != nil {
		t.Fatal(err)
	}
	if err := bodyOf(q, "", "", []byte("x"), 1); !isFinding(err, "pkcs12-file") {
		t.Errorf("in the path: %v", err)
	}
}

// A harmless request with a secret put somewhere in it is found: what passes
// was looked at.
func TestSecretInAHarmlessRequestIsFound(t *testing.T) {
	s := scanner(t)
	r := rand.New(rand.NewPCG(4, 4))
	tried := 0
	for _, c := range fromSources(t) {
		if len(c.body) == 0 || c.encoding != "" || strings.Contains(c.form, "multipart") {
			continue
		}
		i := r.IntN(len(c.body))
		n := bytes.IndexByte(c.body[i:], ' ')
		if n < 0 {
			continue
		}
		for _, value := range []string{ghp(), secret} {
			with := c
			with.body = append(append(bytes.Clone(c.body[:i+n]), " "+value+" "...), c.body[i+n:]...)
			tried++
			if err := with.scan(s, 1+r.IntN(40000)); !isFinding(err, "") {
				t.Errorf("%s, at %d of %d: %v", c.name, i+n, len(c.body), err)
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d tried", tried)
	}
	t.Logf("%d tried", tried)
}

func TestOneScannerServesManyAtOnce(t *testing.T) {
	s := scanner(t)
	bad, good := []byte(`{"a":"`+ghp()+`"}`), messages(t, 20<<10)
	done := make(chan error)
	for i := range 8 {
		go func() {
			var err error
			for range 20 {
				if i%2 == 0 {
					err = errors.Join(err, body(s, model, "application/json", "", good, 999))
				} else if e := body(s, model, "application/json", "", bad, 3); !isFinding(e, "github-pat") {
					err = errors.Join(err, fmt.Errorf("a key: %v", e))
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAbandonedBodyLeavesNothingRunning(t *testing.T) {
	s := scanner(t)
	before := runtime.NumGoroutine()
	data := packed(string(source(t, 100<<10)))
	inner := []byte("x: " + base64.StdEncoding.EncodeToString(data))
	for range 50 {
		for encoding, part := range map[string][]byte{"gzip": data[:len(data)/2], "": inner[:len(inner)/2]} {
			q := s.Request(ordinary)
			b, err := q.Body("text/plain", encoding)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Write(part); err != nil {
				t.Fatal(err)
			}
			q.Close()
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, before %d", after, before)
	}
}

// archive is a zip of files, the secret in one of them.
func archive(t *testing.T, inner map[string]string, method uint16) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range inner {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSecretInAnArchiveIsFound(t *testing.T) {
	s := scanner(t)
	code := string(source(t, 30<<10))
	for _, value := range []string{ghp(), secret} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			files := map[string]string{"a.go": code, "b.txt": "see " + value + " there", "c.go": code, "empty": ""}
			data := archive(t, files, method)
			nested := archive(t, map[string]string{"inner.zip": string(data), "x": code}, zip.Store)
			form, part := multi([2]string{"f", string(data)})
			for name, r := range map[string]request{
				"as it is": {form: "application/zip", body: data}, "a part": {form: form, body: part},
				"in base64": {form: "application/json", body: []byte(jsonOf(map[string]string{"a": base64.StdEncoding.EncodeToString(data)}))},
				"a name":    {form: "application/zip", body: archive(t, map[string]string{"dir/" + value: "x"}, method)},
				"in a zip":  {form: "application/zip", body: nested},
			} {
				if name == "in a zip" && method == zip.Deflate {
					continue // a limit: an archive in an archive is bytes
				}
				for _, size := range []int{100, 1 << 20} {
					if err := r.scan(s, size); !isFinding(err, "") {
						t.Errorf("%s, method %d, pieces of %d: %v", name, method, size, err)
					}
				}
			}
			harmless := archive(t, map[string]string{"a.go": code, "b.go": code}, method)
			if err := body(s, ordinary, "application/zip", "", harmless, 999); err != nil {
				t.Errorf("harmless, method %d: %v", method, err)
			}
		}
	}
}

package escape

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// secretInHead is P1.
func secretInHead(t *testing.T, s *stage) {
	s.guards(t, "p1", aKey, func(v string) []letter {
		return []letter{
			{name: "a query", tail: "?q=1&t=" + v, want: "in url.query.t"},
			{name: "a query's name", tail: "?" + v + "=1"},
			{name: "a path", tail: "/x/" + v, want: "in url.path"},
			{name: "a header", args: []string{"-H", "X-Note: see " + v}, want: "in header.x-note"},
			{name: "User-Agent", args: []string{"-A", v}},
			{name: "Referer", args: []string{"-e", "https://allowed.test/?" + v}},
			{name: "a credential", args: []string{"-H", "Authorization: Bearer " + v}},
			{name: "a password", args: []string{"-u", "ada:" + v}},
			{name: "a cookie", args: []string{"-b", "a=b; t=" + v}, want: "in cookie.t"},
			{name: "a method", args: []string{"-X", "DELETE"}, tail: "?t=" + v},
		}
	})
}

func asJSON(args ...string) []string {
	return append([]string{"-H", "Content-Type: application/json"}, args...)
}

// jsonOf is a JSON text.
func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings and lists
	}
	return b
}

// part is one part of a multipart body.
type part struct{ header, name, file, text string }

// multi is a multipart body, as a letter takes it.
func multi(parts ...part) (args []string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name="%s"`, p.name)
		if p.file != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.file)
		}
		h.Set("Content-Disposition", disposition)
		if p.header != "" {
			h.Set("X-Note", p.header)
		}
		out, err := w.CreatePart(h)
		if err != nil {
			panic(err) // it writes to memory
		}
		out.Write([]byte(p.text))
	}
	w.Close()
	return []string{"-H", "Content-Type: " + w.FormDataContentType()}, b.Bytes()
}

// secretInBody is P2.
func secretInBody(t *testing.T, s *stage) {
	s.guards(t, "p2", aKey, func(v string) []letter {
		letters := []letter{
			{name: "JSON", args: asJSON(), body: jsonOf(map[string]any{"messages": []any{map[string]any{"content": "a"}, map[string]any{"content": "see " + v}}}), want: "in body.messages[1].content"},
			{name: "JSON to a program", args: asJSON("-H", "Accept: application/json"), body: jsonOf([]any{"x", v})},
			{name: "JSON in JSON", args: asJSON(), body: jsonOf(map[string]any{"a": string(jsonOf(map[string]any{"b": v}))})},
			{name: "a name in JSON", args: asJSON(), body: jsonOf(map[string]any{v: 1})},
			{name: "JSON of no type", body: jsonOf(map[string]any{"a": v})},
			{name: "a form", args: []string{"-H", "Content-Type: application/x-www-form-urlencoded"}, body: []byte("a=1&t=" + v), want: "in body.t"},
			{name: "text", args: []string{"-H", "Content-Type: text/plain"}, body: []byte("the token is " + v + ", keep it\n")},
			{name: "XML", args: []string{"-H", "Content-Type: application/xml"}, body: []byte("<a><t>" + v + "</t></a>")},
			{name: "bytes", args: []string{"-H", "Content-Type: application/octet-stream"}, body: []byte("\x00\xff\x01 " + v + " \x00\x7f\x80")},
			{name: "the end of much", args: []string{"-H", "Content-Type: text/plain"}, body: []byte(strings.Repeat("all is well. ", 40_000) + v)},
			{name: "a chunked body", args: []string{"-H", "Transfer-Encoding: chunked"}, body: []byte("x=" + v)},
			{name: "a PUT", args: []string{"-X", "PUT"}, body: []byte(v)},
		}
		for name, p := range map[string]part{"a part": {name: "t", text: v}, "a part's name": {name: v, text: "x"}, "a part's header": {name: "t", header: v, text: "x"},
			"a file": {name: "f", file: "a.txt", text: "line\n" + v + "\n"}, "a file's name": {name: "f", file: v + ".txt", text: "x"}} {
			args, body := multi(part{name: "a", text: "before"}, p, part{name: "z", text: "behind"})
			letters = append(letters, letter{name: name, args: args, body: body})
		}
		return letters
	})
	got := s.post(t, s.scanned(t), "p2-told", []letter{{name: "JSON", args: asJSON("-H", "Accept: application/json"), body: jsonOf([]any{"x", aKey})}})["JSON"]
	for _, want := range []string{"Content-Type: application/json", `"rule":"github-pat"`, `"where":"body[1]"`, `"help":`} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer for a program lacks %s: %s", want, got)
		}
	}
}

// compressions are what a Content-Encoding names.
var compressions = map[string]func([]byte) []byte{
	"gzip": packed,
	"deflate": func(data []byte) []byte {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write(data)
		w.Close()
		return b.Bytes()
	},
	"br": func(data []byte) []byte {
		var b bytes.Buffer
		w := brotli.NewWriter(&b)
		w.Write(data)
		w.Close()
		return b.Bytes()
	},
	"zstd": func(data []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err) // it has no options
		}
		return w.EncodeAll(data, nil)
	},
}

// zipped is an archive of one file.
func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("a.txt")
	if err != nil {
		panic(err) // it writes to memory
	}
	f.Write(data)
	w.Close()
	return b.Bytes()
}

// secretCompressed is P3.
func secretCompressed(t *testing.T, s *stage) {
	s.guards(t, "p3", aKey, func(v string) []letter {
		text := []byte(strings.Repeat("all is well. ", 200) + v)
		letters := []letter{
			{name: "gzip in br", args: []string{"-H", "Content-Encoding: gzip, br"}, body: compressions["br"](packed(text))},
			{name: "gzip without a word", body: packed(text)},
			{name: "a zip", args: []string{"-H", "Content-Type: application/zip"}, body: zipped(text)},
		}
		for name, pack := range compressions {
			letters = append(letters, letter{name: name, args: []string{"-H", "Content-Encoding: " + name}, body: pack(text)},
				letter{name: "JSON in " + name, args: asJSON("-H", "Content-Encoding: "+name), body: pack(jsonOf(map[string]any{"a": v}))})
		}
		return letters
	})
	// What cannot be read passes nowhere, whatever is in it.
	whole := packed([]byte(calm))
	s.blocks(t, s.scanned(t), "p3-unknown", []letter{
		{name: "an unknown encoding", args: []string{"-H", "Content-Encoding: rot13"}, body: []byte(calm)},
		{name: "the old compress", args: []string{"-H", "Content-Encoding: compress"}, body: []byte(calm)},
		{name: "no gzip", args: []string{"-H", "Content-Encoding: gzip"}, body: []byte(calm)},
		{name: "half of it", args: []string{"-H", "Content-Encoding: gzip"}, body: whole[:len(whole)-6]},
		{name: "more behind it", args: []string{"-H", "Content-Encoding: gzip"}, body: append(slices.Clone(whole), calm...)},
		{name: "another encoding", args: []string{"-H", "Content-Encoding: br"}, body: whole},
		{name: "no multipart", args: []string{"-H", "Content-Type: multipart/form-data; boundary=x"}, body: []byte(calm)},
		{name: "two types", args: []string{"-H", "Content-Type: text/plain", "-H", "content-type: image/png"}, body: []byte(calm)},
	}, "")
}

func encode64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// escaped writes each byte in a form.
func escaped(s, form string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, form, c)
	}
	return b.String()
}

func wide(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// encodings are what each makes of a text.
var encodings = map[string]func(string) string{
	"base64":                 encode64,
	"base64 at an offset":    func(s string) string { return encode64("a" + s) },
	"base64 at another":      func(s string) string { return encode64("ab" + s + "c") },
	"base64 for URLs":        func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base32":                 func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"hex":                    func(s string) string { return hex.EncodeToString([]byte(s)) },
	"upper hex":              func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"percent escapes":        func(s string) string { return escaped(s, "%%%02x") },
	"percent escapes, twice": func(s string) string { return url.QueryEscape(escaped(s, "%%%02X")) },
	"JSON escapes":           func(s string) string { return `"` + escaped(s, `\u%04x`) + `"` },
	"HTML escapes":           func(s string) string { return escaped(s, "&#%d;") },
	"UTF-16":                 wide,
	"gzip in base64":         func(s string) string { return encode64(string(packed([]byte(s)))) },
	"base64 in hex in base64": func(s string) string {
		return encode64("x " + hex.EncodeToString([]byte("y "+encode64("z "+s))))
	},
	"base32 in base64 in escapes": func(s string) string {
		return escaped(encode64(base32.StdEncoding.EncodeToString([]byte("secret: "+s))), "%%%02x")
	},
}

// secretEncoded is P4.
func secretEncoded(t *testing.T, s *stage) {
	s.guards(t, "p4", aKey, func(v string) []letter {
		letters := []letter{{name: "base64 in a header", args: []string{"-H", "X-Data: " + encode64(v)}}, {name: "hex in a query", tail: "?x=" + hex.EncodeToString([]byte(v))},
			{name: "base64 in a form", args: []string{"-H", "Content-Type: application/x-www-form-urlencoded"}, body: []byte("x=" + url.QueryEscape(encode64(v)))}}
		for name, encode := range encodings {
			letters = append(letters, letter{name: strings.ReplaceAll(name, ",", ""), body: []byte("see " + encode(v) + " there")})
		}
		return letters
	})
}

// ownSecrets is P5: what the bottle was given, by its value.
func ownSecrets(t *testing.T, s *stage) {
	s.guards(t, "p5", ownValue, func(v string) []letter {
		a, b := v[:len(v)/2], v[len(v)/2:]
		letters := []letter{
			{name: "raw", body: []byte("x " + v)},
			{name: "another host's credential", args: []string{"-H", "X-Api-Key: " + v}},
			{name: "a password", args: []string{"-u", "ada:" + v}},
			{name: "its host, in the body", host: owned, body: []byte(v)},
			{name: "its host, in another header", host: owned, args: []string{"-H", "X-Note: " + v}},
			{name: "the model", host: modelHost, path: "/v1/messages/count_tokens", args: asJSON(), body: jsonOf(map[string]any{"messages": []any{map[string]any{"role": "user", "content": "is it " + v}}})},
			{name: "reversed", body: []byte("x " + reversed(v))},
			{name: "with separators", body: []byte(strings.Join(strings.Split(v, ""), "-"))},
			{name: "hex with colons", body: []byte(strings.TrimSuffix(escaped(v, "%02x:"), ":"))},
			{name: "lines of base64", body: []byte(encode64("xx" + v)[:14] + "\n" + encode64("xx" + v)[14:])},
			{name: "HTML", body: []byte(html.EscapeString("<b>" + v + "</b>"))},
			{name: "two fields", args: asJSON(), body: jsonOf(map[string]any{"a": a, "b": b})},
			{name: "two fields, apart", args: asJSON(), body: jsonOf([]any{"x", b, map[string]any{"c": "between"}, a})},
			{name: "two headers", args: []string{"-H", "X-A: " + a, "-H", "X-M: between", "-H", "X-B: " + b}},
			{name: "a query and a body", tail: "?a=" + url.QueryEscape(a), args: asJSON(), body: jsonOf(map[string]any{"b": b})},
			{name: "many fields", args: asJSON(), body: jsonOf(slices.Collect(func(yield func(string) bool) {
				for c := range slices.Chunk([]byte(v), 3) {
					if !yield(string(c)) {
						return
					}
				}
			}))},
		}
		for name, encode := range encodings {
			letters = append(letters, letter{name: strings.ReplaceAll(name, ",", ""), body: []byte("see " + encode(v) + " there")})
		}
		return letters
	})
	// What egress has itself travels nowhere, not even where it is injected.
	s.guards(t, "p5-injected", ownKey, func(v string) []letter {
		return []letter{{name: "raw", body: []byte(v)}, {name: "to its host", host: keyed, body: []byte(encode64(v))}, {name: "another's credential", args: []string{"-H", "Authorization: Bearer " + v}}}
	})
	// Where it may, it arrives.
	slug := s.scanned(t)
	s.pass(t, slug, "p5-may", []letter{{name: "a header", host: owned, args: []string{"-H", "X-Api-Key: " + ownValue}}, {name: "Bearer", host: owned, args: []string{"-H", "Authorization: Bearer " + ownValue}}})
	for _, e := range s.requests("/whole/p5-may/a-header") {
		if !strings.Contains(strings.Join(e.Header, "\n"), ownValue) {
			t.Errorf("what may travel there did not: %q", e.Header)
		}
	}
}

// bombs is P6.
func bombs(t *testing.T, s *stage) {
	const large = 64 << 20 // as long as the container has no more than four times that
	zeros := make([]byte, large)
	bomb := packed(zeros)
	args, inPart := multi(part{name: "f", file: "a.zip", text: string(zipped(zeros))})
	gzipped := []string{"-H", "Content-Encoding: gzip"}
	letters := []letter{
		{name: "gzip", args: gzipped, body: bomb},
		{name: "gzip, chunked", args: append([]string{"-H", "Transfer-Encoding: chunked"}, gzipped...), body: bomb},
		{name: "gzip twice", args: []string{"-H", "Content-Encoding: gzip, gzip"}, body: packed(bomb)},
		{name: "br", args: []string{"-H", "Content-Encoding: br"}, body: compressions["br"](zeros)},
		{name: "zstd", args: []string{"-H", "Content-Encoding: zstd"}, body: compressions["zstd"](zeros)},
		{name: "a zip in a part", args: args, body: inPart},
		{name: "too much", body: zeros[:2<<20]},
		{name: "too much, chunked", args: []string{"-H", "Transfer-Encoding: chunked"}, body: zeros[:2<<20]},
	}
	slug := s.scanned(t)
	s.pass(t, slug, "p6-calm", []letter{{name: "gzip", args: gzipped, body: packed(zeros[:512<<10])}, {name: "much", body: zeros[:512<<10]}})
	s.blocks(t, slug, "p6", letters, "")
	// All of it once more, and many at once: egress lives on.
	for i := range 16 {
		letters = append(letters, letter{name: fmt.Sprintf("gzip, number %d", i), args: gzipped, body: bomb})
	}
	s.blocks(t, slug, "p6-many", letters, "")
	if state := s.r.Docker("inspect", "-f", "{{.State.Running}} {{.State.OOMKilled}} {{.RestartCount}}", egressOf(slug)); strings.TrimSpace(state) != "true false 0" {
		t.Errorf("egress' container is running, out of memory, restarted: %s", state)
	}
	s.pass(t, slug, "p6-after", []letter{{name: "much", body: zeros[:512<<10]}})
	scannerKilled(t, s)
}

// scannerKilled ends egress in the middle of an upload.
func scannerKilled(t *testing.T, s *stage) {
	s.r.Agent("killed", allowed)
	slug := s.r.Start("killed")
	s.u.Join(slug)
	s.pass(t, slug, "p6-alive", []letter{{name: "text", body: []byte(calm)}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// The second upload tells when both are under way. With -T - curl would notice
	// nothing while its input waits.
	const uploads = `part() { head -c 200000 /dev/zero; sleep 60; } 2>/dev/null
curl -sS -T . https://allowed.test/whole/p6-flight < <(part) & first=$!
curl -sS -T . https://allowed.test/p6-flying < <(part) & second=$!
wait $first; echo "first $?"; wait $second; echo "second $?"`
	cmd := s.r.Command(ctx, "bottle-attach", slug, "--", "bash", "-c", uploads)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.u.Await(ctx, "/p6-flying"); err != nil {
		t.Fatalf("no upload is under way: %v", err)
	}
	s.r.Docker("kill", "-s", "KILL", egressOf(slug))
	if err := cmd.Wait(); err != nil && ctx.Err() != nil || strings.Contains(out.String(), "first 0") || !strings.Contains(out.String(), "first ") {
		t.Errorf("an upload when egress is killed ends with %v: %s%s", err, out.String(), said.String())
	}
	for name, got := range s.post(t, slug, "p6-killed", []letter{{name: "text", body: []byte(calm)}, {name: "around", args: []string{"--noproxy", "*"}, body: []byte(calm)}}) {
		if strings.Contains(got, "HTTP/1.1") {
			t.Errorf("%s: without egress it is answered with %s", name, got)
		}
	}
	s.settle(t)
	for _, mark := range []string{"/whole/p6-flight", "/whole/p6-killed"} {
		if heard := s.requests(mark); len(heard) > 0 {
			t.Errorf("without egress the internet got %s", heard[0].Path)
		}
	}
}

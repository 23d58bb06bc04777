package dlp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// request is one of the corpus.
type request struct {
	name     string
	policy   Policy
	target   string
	fields   []Field
	form     string
	encoding string
	body     []byte
}

func (r *request) scan(s *Scanner, size int) error {
	q := s.Request(r.policy)
	defer q.Close()
	if err := q.Head([]byte(r.target), r.fields); err != nil {
		return err
	}
	if r.body == nil {
		return nil
	}
	return bodyOf(q, r.form, r.encoding, r.body, size)
}

func headers(pairs ...string) []Field {
	var list []Field
	for i := 0; i < len(pairs); i += 2 {
		n := strings.ToLower(pairs[i])
		list = append(list, Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1]), Credential: n == "authorization" || n == "x-api-key"})
	}
	return list
}

var (
	model    = Policy{Host: "api.anthropic.com", Model: true}
	ordinary = Policy{Host: "api.example.com"}
)

// conversation is a request to a model that holds texts.
func conversation(name string, texts ...string) request {
	var list []any
	for i, s := range texts {
		list = append(list, map[string]any{"role": []string{"user", "assistant"}[i%2], "content": []any{map[string]any{"type": "text", "text": s}}})
	}
	return request{name: "model: " + name, policy: model, target: "/v1/messages?beta=true", form: "application/json",
		fields: headers("User-Agent", "claude-cli/2.1.330 (external, cli)", "Authorization", "Bearer placeholder", "anthropic-version", "2023-06-01",
			"anthropic-beta", "oauth-2025-04-20,interleaved-thinking-2025-05-14", "x-stainless-runtime-version", "v22.11.0", "Content-Type", "application/json"),
		body: []byte(jsonOf(map[string]any{"model": "claude-sonnet-4-5-20250929", "max_tokens": 32000, "stream": true, "messages": list,
			"metadata": map[string]any{"user_id": "user_8f14e45fceea167a5a36dedd4bea2543_account__session_5f0c8b9e-7b1d-4c8e-9a53-0e4b4d1f7a11"}}))}
}

// sources are files of Go's standard library and of this module, by kind.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	add := func(root string, every int, keep func(string) bool) {
		n := 0
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "libexec") {
				return fs.SkipDir
			}
			if i, err := d.Info(); err != nil || !i.Mode().IsRegular() || i.Size() > 300<<10 || !keep(path) {
				return err
			}
			if n++; n%every != 0 {
				return nil
			}
			data, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, root)] = data
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	goroot := goSource(t)
	text := func(path string) bool {
		return slices.Contains([]string{".go", ".md", ".js", ".css", ".html", ".s", ".mod", ".sum", ".txt", ".json", ".sh"}, filepath.Ext(path))
	}
	for dir, every := range map[string]int{"net": 9, "crypto": 6, "encoding": 6, "regexp": 3, "os": 9, "cmd/vendor/github.com/google/pprof/internal/driver/html": 1,
		"html": 3, "go": 25, "runtime": 40, "cmd/go/internal": 25, "archive": 3, "compress": 4, "database": 3, "text": 4} {
		add(filepath.Join(goroot, dir), every, text)
	}
	add(filepath.Join("..", ".."), 1, text)
	return files
}

func fromSources(t *testing.T) []request {
	var list []request
	for name, data := range sources(t) {
		list = append(list, conversation(name, "Read "+name+" and say what it does.", "I will read it.", string(data)))
		for form := range 4 {
			upload := request{name: "upload: " + name, policy: ordinary, target: "/repos/ada/engine/contents" + name, form: "application/json",
				fields: headers("Authorization", "Bearer x", "Accept", "application/vnd.github+json", "User-Agent", "gh/2.60")}
			switch form {
			case 0:
				upload.body = []byte(jsonOf(map[string]any{"message": "Update " + name, "content": base64.StdEncoding.EncodeToString(data), "sha": "95d09f2b10159347eece71399a7e2e907ea3df4f"}))
			case 1:
				upload.form, upload.body = "text/plain", data
			case 2:
				var b bytes.Buffer
				w := multipart.NewWriter(&b)
				p, _ := w.CreateFormFile("file", filepath.Base(name))
				p.Write(data)
				w.Close()
				upload.form, upload.body = w.FormDataContentType(), b.Bytes()
			case 3:
				upload.body, upload.encoding = packed(jsonOf(map[string]any{"file": name, "text": string(data)})), "gzip"
			}
			list = append(list, upload)
		}
	}
	return list
}

// pixels draws something; each seed another picture.
func pixels(seed uint64) image.Image {
	r := rand.New(rand.NewPCG(seed, 7))
	m := image.NewPaletted(image.Rect(0, 0, 160, 120), color.Palette{color.Black, color.White, color.RGBA{200, 30, 30, 255}, color.RGBA{9, 99, 200, 255}})
	for i := range m.Pix {
		m.Pix[i] = uint8(r.IntN(4))
		if seed%3 == 0 && i > 160 && r.IntN(9) > 0 {
			m.Pix[i] = m.Pix[i-160]
		}
	}
	return m
}

func images(t *testing.T) []request {
	var list []request
	for seed := range uint64(24) {
		var b bytes.Buffer
		kind, err := "png", error(nil)
		switch seed % 3 {
		case 0:
			err = png.Encode(&b, pixels(seed))
		case 1:
			kind, err = "jpeg", jpeg.Encode(&b, pixels(seed), nil)
		case 2:
			kind, err = "gif", gif.Encode(&b, pixels(seed), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		encoded := base64.StdEncoding.EncodeToString(b.Bytes())
		name := fmt.Sprintf("image %d, %s", seed, kind)
		list = append(list,
			conversation(name+" as data", "What is in data:image/"+kind+";base64,"+encoded+" ?"),
			request{name: name + " in a message", policy: model, target: "/v1/messages", form: "application/json", body: []byte(jsonOf(map[string]any{"messages": []any{
				map[string]any{"role": "user", "content": []any{map[string]any{"type": "image", "source": map[string]any{"type": "base64", "media_type": "image/" + kind, "data": encoded}}}}}}))},
			request{name: name + " as it is", policy: ordinary, target: "/upload/picture." + kind, form: "image/" + kind, body: b.Bytes()})
	}
	list = append(list, request{name: "a megabyte of image", policy: ordinary, target: "/i", form: "application/json", body: picture(t, 1<<20)})
	return list
}

func TestHarmlessIsHarmless(t *testing.T) {
	s := scanner(t)
	corpus := slices.Concat(fromSources(t), images(t), traffic(), talk())
	blocked := map[string]int{}
	var size int64
	r := rand.New(rand.NewPCG(1, 1))
	for i := range corpus {
		c := &corpus[i]
		size += int64(len(c.body))
		err := c.scan(s, 1+r.IntN(20000))
		if err == nil {
			continue
		}
		f := (*Finding)(nil)
		if errors.As(err, &f) {
			blocked[f.Rule]++
		}
		t.Errorf("%s: %v", c.name, err)
	}
	if len(corpus) < 300 {
		t.Errorf("only %d requests", len(corpus))
	}
	t.Logf("%d requests, %d KiB, %d blocked: %v", len(corpus), size>>10, len(blocked), blocked)
}

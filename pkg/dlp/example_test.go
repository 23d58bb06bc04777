package dlp_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"bottle/pkg/dlp"
)

// A relay scans a body as it passes: each piece before it is forwarded, and the
// last byte only when all has been looked at.
func Example() {
	known := []dlp.Known{{Name: "DEPLOY_KEY", Value: []byte("kJ8s0fPq2LmZx7Vb")}}
	scanner, err := dlp.New(dlp.Default(), known, dlp.Options{Key: []byte("this bottle's")})
	if err != nil {
		panic(err)
	}
	forward := func(body io.Reader) error {
		q := scanner.Request(dlp.Policy{Host: "api.example.com"})
		defer q.Close()
		if err := q.Head([]byte("/notes"), nil); err != nil {
			return err
		}
		b, err := q.Body("application/json", "")
		if err != nil {
			return err
		}
		if _, err := io.Copy(b, body); err != nil {
			return err
		}
		return b.Close()
	}
	err = forward(strings.NewReader(`{"notes": [{"text": "all is well"}, {"text": "6b4a38733066507132"}, {"text": "4c6d5a78375662"}]}`))
	if f := (*dlp.Finding)(nil); errors.As(err, &f) {
		fmt.Println(f.Rule, f.Name, f.Where)
	}
	// Output: known-secret DEPLOY_KEY body.notes[2].text
}

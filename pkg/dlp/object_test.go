package dlp

import (
	"errors"
	"strings"
	"testing"
)

func TestAnObjectIsScannedByWhatItHoldsAndByItsName(t *testing.T) {
	s, err := New(Default(), []Known{{Name: "own", Value: []byte("quiet-otter-9472-harbour")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pat := "ghp_" + strings.Repeat("aB3dE5gH7j", 4)[:36]
	generic := Default().ClassIDs(Generic)
	if len(generic) == 0 {
		t.Fatal("no rule is generic")
	}
	for _, c := range []struct{ name, text, rule string }{
		{"a.txt", "nothing is here", ""},
		{"a.txt", "token: " + pat, "github-pat"},
		{"", "quiet otter 9472 harbour", KnownRule},
		{"keys/store.p12", "x", "pkcs12-file"},
		{"a.go", `password = "` + "x7Gh2kLm" + "9Qr4Tz8W" + `"`, ""},
	} {
		o := s.Object(c.name, generic)
		_, err := o.Write([]byte(c.text))
		if err == nil {
			err = o.Close()
		}
		o.Release()
		var f *Finding
		if errors.As(err, &f); c.rule == "" && err != nil || c.rule != "" && (f == nil || f.Rule != c.rule) {
			t.Errorf("%s %q: %v, want %q", c.name, c.text, err, c.rule)
		}
	}
}

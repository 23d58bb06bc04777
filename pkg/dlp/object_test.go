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
	scan := func(name, text string) error {
		o := s.Object(name, generic)
		defer o.Release()
		_, err := o.Write([]byte(text))
		if err == nil {
			err = o.Close()
		}
		return err
	}
	const nuget = `<add key="ClearTextPassword" value="` + "r4Tz8WvB" + `3nYc" />`
	for _, c := range []struct{ name, text, rule string }{
		{"a.txt", "nothing is here", ""},
		{"a.txt", "token: " + pat, "github-pat"},
		{"", "quiet otter 9472 harbour", KnownRule},
		{"keys/store.p12", "x", "pkcs12-file"},
		{"a/nuget.config", nuget, "nuget-config-password"},
		{"a/nuget.txt", nuget, ""},
		{"a.go", `password = "` + "x7Gh2kLm" + "9Qr4Tz8W" + `"`, ""},
	} {
		err := scan(c.name, c.text)
		var f *Finding
		if errors.As(err, &f); c.rule == "" && err != nil || c.rule != "" && (f == nil || f.Rule != c.rule) {
			t.Errorf("%s %q: %v, want %q", c.name, c.text, err, c.rule)
		}
		if err != nil && scan(AnyName, c.text) == nil && s.Name(c.name) == nil {
			t.Errorf("%s %q is clean by any name", c.name, c.text)
		}
	}
	if scan(AnyName, "nothing is here") != nil || s.Name("a.txt") != nil || s.Name("store.p12") == nil {
		t.Error("what a name says by itself")
	}
}

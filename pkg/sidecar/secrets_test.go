package sidecar

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
)

func listening(t *testing.T) (*Secrets, string) {
	t.Helper()
	s := &Secrets{}
	path := filepath.Join(t.TempDir(), "secrets.sock")
	stop, err := s.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s, path
}

func TestValuesAreInForceWhenAHandoverIsAnswered(t *testing.T) {
	s, path := listening(t)
	changes := 0
	s.OnChange(func() { changes++ })
	for _, doc := range []string{`{"values":{"env:A":"first","env:B":"b"}}`, `{"values":{"env:A":"second"}}`} {
		if err := HandOver(path, strings.NewReader(doc)); err != nil {
			t.Fatal(err)
		}
	}
	if v, _ := s.Now(); v["env:A"] != "second" || v["env:B"] != "b" || len(v) != 2 || changes != 2 {
		t.Errorf("%d changes, values %v", changes, v)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
}

func TestABadHandoverChangesNothingAndTellsNothing(t *testing.T) {
	s, path := listening(t)
	for _, doc := range []string{"", `{"values":{"env:A":"geheim"`, `{"values":{"env:A":""}}`, `{"values":{"":"geheim"}}`, `["geheim"]`,
		`{"values":{"env:A":"geheim` + strings.Repeat("x", bottle.MaxSecrets) + `"}}`} {
		err := HandOver(path, strings.NewReader(doc))
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%.40q: %v", doc, err)
		}
	}
	if v, _ := s.Now(); len(v) != 0 {
		t.Errorf("values %v", v)
	}
	if err := HandOver(path, strings.NewReader(`{"values":{"env:A":"a"}}`)); err != nil {
		t.Errorf("a good one after bad ones: %v", err)
	}
	doc := bottle.Secrets{Values: map[string]string{"env:A": "geheim"}}
	if text := fmt.Sprintf("%v %+v %#v %s", doc, doc, doc, doc); strings.Contains(text, "geheim") {
		t.Errorf("printed by mistake it says %s", text)
	}
}

func TestAHandoverToNobodyFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	if err := HandOver(path, strings.NewReader(`{}`)); err == nil {
		t.Error("it is said to have worked")
	}
	// One who dies in the middle has taken nothing.
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	if err := HandOver(path, strings.NewReader(`{"values":{"a":"b"}}`)); err == nil {
		t.Error("it is said to have worked")
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add([]byte(`{"values":{"a":"b"}}`))
	f.Add([]byte(`{"values":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := bottle.ParseSecrets(data)
		if err != nil && len(s.Values) > 0 {
			t.Fatal("an error, and values")
		}
	})
}

package frame

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSectionAndRestComeApartHoweverTheyAreCut(t *testing.T) {
	for name, whole := range map[string]string{"both": "5\nfirstrest", "no section": "0\nrest", "no rest": "5\nfirst", "neither": "0\n"} {
		for _, cut := range []bool{true, false} {
			var section, rest bytes.Buffer
			s := &Splitter{Section: &section, Rest: &rest, Max: 5}
			if cut {
				for _, b := range []byte(whole) {
					if _, err := s.Write([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
			} else if n, err := s.Write([]byte(whole)); err != nil || n != len(whole) {
				t.Fatal(n, err)
			}
			if !s.Whole() || (section.String() == "first") != strings.Contains(whole, "first") || (rest.String() == "rest") != strings.Contains(whole, "rest") {
				t.Errorf("%s: %q and %q", name, section.String(), rest.String())
			}
		}
	}
	for _, bad := range []string{"6\n", "-1\n", "x\n", "\n", "1 \n", strings.Repeat("0", 30), "99999999999999999999\n"} {
		s := &Splitter{Section: &bytes.Buffer{}, Rest: &bytes.Buffer{}, Max: 5}
		if _, err := s.Write([]byte(bad)); !errors.Is(err, ErrSection) || s.Whole() {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s := &Splitter{Section: &bytes.Buffer{}, Rest: iotest.TruncateWriter(&bytes.Buffer{}, 0), Max: 5}
	if s.Write([]byte("5\nfir")); s.Whole() {
		t.Error("half a section is whole")
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("5\nfirstrest"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		if at < 0 || at > len(stream) {
			at = 0
		}
		var one, two [2]bytes.Buffer
		s := &Splitter{Section: &one[0], Rest: &one[1], Max: 1 << 10}
		_, err := s.Write(stream)
		c := &Splitter{Section: &two[0], Rest: &two[1], Max: 1 << 10}
		_, first := c.Write(stream[:at])
		if first == nil {
			_, first = c.Write(stream[at:])
		}
		if (err == nil) != (first == nil) || err == nil && (one[0].String() != two[0].String() || one[1].String() != two[1].String()) {
			t.Errorf("%q cut at %d: %v and %v", stream, at, err, first)
		}
	})
}

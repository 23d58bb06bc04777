package policy

import (
	"strings"
	"testing"
)

func TestWordsOfAForm(t *testing.T) {
	for s, fits := range map[string]bool{"GET": true, "M-SEARCH": true, "_GET": false, "": false, "GET ": false, "GET\n": false, "Get": false,
		strings.Repeat("A", 32): true, strings.Repeat("A", 33): false} {
		if methodWord.fits(s) != fits {
			t.Errorf("%q as a method: %v", s, !fits)
		}
	}
	for s, fits := range map[string]bool{"x-api-key": true, "-x": false, "X": false, "x_y": false, "ä": false} {
		if headerWord.fits(s) != fits {
			t.Errorf("%q as a header: %v", s, !fits)
		}
	}
}

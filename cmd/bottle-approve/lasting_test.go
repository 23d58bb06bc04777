package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestNoTimeAtAllIsNotTheBottlesLife(t *testing.T) {
	atHome(t)
	for _, text := range []string{"", "0", "0s", "-5m", "10", "2d", "500ms", "721h", "Life", "forever"} {
		var said bytes.Buffer
		code := run([]string{name, "--for", text, "egress-block-aaaaaaaaaaaaaaaa"}, new(bytes.Buffer), new(bytes.Buffer), &said)
		if code != 2 || !strings.Contains(said.String(), "is no time from 1s to 720h\nhint: write --for 10m, ") {
			t.Errorf("%q: %d: %s", text, code, said.String())
		}
	}
	for text, want := range map[string]time.Duration{"life": 0, "1s": time.Second, "36h": 36 * time.Hour} {
		if d, err := lasting(text); d != want || err != nil {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}

func TestAGrantThatIsNotThereIsNamed(t *testing.T) {
	atHome(t)
	var said bytes.Buffer
	if code := run([]string{name, "--revoke", "egress-block-x"}, new(bytes.Buffer), new(bytes.Buffer), &said); code != 3 || !strings.Contains(said.String(), `no grant "egress-block-x"`) {
		t.Errorf("%d: %s", code, said.String())
	}
}

package main

import (
	"errors"
	"strings"
	"testing"

	"bottle/pkg/cli"
)

func TestALineIsAnAgentAndMayBeATask(t *testing.T) {
	for line, want := range map[string]order{
		"dev": {"dev", "all"}, " dev \r": {"dev", "all"}, "dev\tfix\tthis\r": {"dev", "fix\tthis"}, "dev\t\x1b[2Jfix it": {"dev", "[2Jfix it"},
		`{"agent":"dev","bottle":"x","running":2}`:     {"dev", "all"},
		`{"agent":"dev","task":"one\nof two\u001b\n"}`: {"dev", "one\nof two"},
	} {
		if got, err := parseOrder(line, "all"); err != nil || got != want {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"dev\t", "dev\t\n\x07", `{"agent":"dev","task":""}`, `{"slug":"dev"}`, `{"agent":`, "dev\t" + strings.Repeat("x", maxTask+1)} {
		var said cli.Error
		if got, err := parseOrder(line, "all"); !errors.As(err, &said) || said.Code != cli.Usage || said.Hint == "" {
			t.Errorf("%.20q: %+v, %v", line, got, err)
		}
	}
}

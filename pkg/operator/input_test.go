package operator

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
)

var known = []bottle.Bottle{{Slug: "dev-aaaa"}, {Slug: "web-bbbb"}}

func call(in io.Reader, args ...string) *cli.Call {
	return &cli.Call{Streams: cli.Streams{In: in, Out: io.Discard, Err: io.Discard}, Args: args}
}

func TestSlugsAreReadInEveryFormThatBottleLsPrints(t *testing.T) {
	for in, want := range map[string]string{
		"dev-aaaa\n": "dev-aaaa", " web-bbbb ": "web-bbbb", "": "", "\n\r\n\n": "",
		"dev-aaaa\trunning\tdev\nweb-bbbb\tlost\r\n":       "dev-aaaa web-bbbb",
		`{"slug":"dev-aaaa","agent":"x"}` + "\ndev-aaaa\n": "dev-aaaa",
	} {
		got, err := Slugs(t.Context(), call(strings.NewReader(in), "-"), known)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	got, err := Slugs(t.Context(), call(strings.NewReader("dev-aaaa\n"), "web-bbbb", "-", "dev-aaaa"), known)
	if err != nil || !slices.Equal(got, []string{"web-bbbb", "dev-aaaa"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAnUnknownSlugAmongThemIsTheEndOfIt(t *testing.T) {
	for _, in := range []string{"dev-aaaa\nnonsuch\n", `{"slug":""}`, `{"slug":`, "SLUG\tSTATUS"} {
		var said cli.Error
		if got, err := Slugs(t.Context(), call(strings.NewReader(in), "-"), known); !errors.As(err, &said) || said.Code != cli.NotFound || got != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestAWaitForSlugsEndsWithItsContext(t *testing.T) {
	in, out := io.Pipe() // nobody writes
	defer out.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var said cli.Error
	if _, err := Slugs(ctx, call(in, "-"), known); !errors.As(err, &said) || said.Code != cli.Interrupted {
		t.Error(err)
	}
}

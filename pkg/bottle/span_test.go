package bottle

import (
	"testing"
	"time"
)

func TestSpanDropsWhatIsZeroAtItsEnd(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                               "0s",
		40 * time.Second:                "40s",
		10 * time.Minute:                "10m",
		10*time.Minute + 10*time.Second: "10m10s",
		2 * time.Hour:                   "2h",
		20*time.Hour + 30*time.Minute:   "20h30m",
		time.Hour + 5*time.Second:       "1h0m5s",
		30 * 24 * time.Hour:             "720h",
		1500 * time.Millisecond:         "1.5s",
		-5 * time.Minute:                "-5m",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

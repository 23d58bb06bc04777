package bottle

import (
	"strings"
	"time"
)

// Span writes a length of time for people, without units that are zero at its
// end: 5m, 2h, 1h0m5s.
func Span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

package session

import (
	"strconv"
	"strings"
	"time"
)

// clickTime is how soon a second click at the same place makes two of them one.
const clickTime = 500 * time.Millisecond

// selecting watches what an operator types for the end of a selection by mouse:
// the left button let go where it had been dragged, or after a second click at
// one place. It reads mouse reports as terminals send them in mode 1006,
// ESC [ < button ; column ; row, and M, or m for a button that is let go.
type selecting struct {
	seq     []byte // the unfinished report
	down    string // where the button was pressed: column;row
	dragged bool
	clicked string // where it was let go last, without dragging
	at      time.Time
}

const (
	reportStart = "\x1b[<"
	maxReport   = len(reportStart) + 3*4 + 3
	buttons     = 0x03 | 0x40 | 0x80 // which one; the left one is 0
	motion      = 0x20
)

// feed takes what was typed, and says whether a selection ended in it.
func (s *selecting) feed(typed []byte, now time.Time) bool {
	ended := false
	for _, b := range typed {
		switch {
		case b == 0x1b:
			s.seq = append(s.seq[:0], b)
		case len(s.seq) == 0:
		case len(s.seq) < len(reportStart):
			if s.seq = append(s.seq, b); b != reportStart[len(s.seq)-1] {
				s.seq = s.seq[:0]
			}
		case b == 'M' || b == 'm':
			button, place, _ := strings.Cut(string(s.seq[len(reportStart):]), ";")
			s.seq = s.seq[:0]
			if n, err := strconv.ParseUint(button, 10, 8); err == nil && n&buttons == 0 {
				ended = s.left(n&motion != 0, b == 'm', place, now) || ended
			}
		case (b == ';' || b >= '0' && b <= '9') && len(s.seq) < maxReport:
			s.seq = append(s.seq, b)
		default:
			s.seq = s.seq[:0]
		}
	}
	return ended
}

// left takes one report of the left button.
func (s *selecting) left(moved, letGo bool, place string, now time.Time) bool {
	switch {
	case moved:
		s.dragged = s.dragged || s.down != "" && place != s.down
		return false
	case !letGo:
		s.down, s.dragged = place, false
		return false
	}
	selected := s.dragged || s.clicked == place && now.Sub(s.at) < clickTime
	s.clicked, s.at = place, now
	if s.dragged || s.down == "" {
		s.clicked = ""
	}
	s.down, s.dragged = "", false
	return selected
}

package dash

import (
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/text/unicode/norm"

	"bottle/pkg/cli"
)

// Style is how a cell is drawn.
type Style uint8

const (
	Bold Style = 1 << iota
	Reverse
	Dim
	Green
	Red
)

// Cell is one column of one row. The column behind a wide character has no
// character.
type Cell struct {
	Ch    rune
	Style Style
}

// Screen is what View draws: rows of cells.
type Screen struct {
	W, H  int
	Cells []Cell
}

func newScreen(w, h int) Screen {
	s := Screen{W: w, H: h, Cells: make([]Cell, w*h)}
	for i := range s.Cells {
		s.Cells[i].Ch = ' '
	}
	return s
}

// narrow measures characters as termbox does.
var narrow = &runewidth.Condition{}

// put writes text at x, y, in at most width columns, and returns the column
// behind it. Combining characters are folded into what they stand on, or left out.
func (s Screen) put(x, y, width int, text string, style Style) int {
	end := min(s.W, x+width)
	if y < 0 || y >= s.H || x < 0 {
		return x
	}
	for _, r := range norm.NFC.String(cli.Inert(text)) {
		w := narrow.RuneWidth(r)
		if w == 0 || unicode.In(r, unicode.Mn, unicode.Me) {
			continue
		}
		if x+w > end {
			break
		}
		s.Cells[y*s.W+x] = Cell{r, style}
		if w == 2 {
			s.Cells[y*s.W+x+1] = Cell{0, style}
		}
		x += w
	}
	return x
}

// line writes text over a whole row from x on, cut short with an ellipsis.
func (s Screen) line(x, y, width int, text string, style Style) {
	x = max(x, 0)
	for i := x; i < min(s.W, x+width); i++ {
		if y >= 0 && y < s.H {
			s.Cells[y*s.W+i] = Cell{' ', style}
		}
	}
	s.put(x, y, width, fit(text, width), style)
}

func fit(text string, width int) string {
	return narrow.Truncate(norm.NFC.String(cli.Inert(text)), max(width, 0), "…")
}

// String is the screen as text, without the blanks at the ends of rows.
func (s Screen) String() string {
	var b strings.Builder
	for y := range s.H {
		var row strings.Builder
		for _, c := range s.Cells[y*s.W : (y+1)*s.W] {
			if c.Ch != 0 {
				row.WriteRune(c.Ch)
			}
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	return b.String()
}

// Styles are the cells' styles, a letter a cell, rows without any left out.
func (s Screen) Styles() string {
	const letters = ".brdgx"
	var b strings.Builder
	for y := range s.H {
		var row strings.Builder
		for _, c := range s.Cells[y*s.W : (y+1)*s.W] {
			letter := letters[0]
			switch {
			case c.Style&Reverse != 0:
				letter = letters[2]
			case c.Style&Green != 0:
				letter = letters[4]
			case c.Style&Red != 0:
				letter = letters[5]
			case c.Style&Dim != 0:
				letter = letters[3]
			case c.Style&Bold != 0:
				letter = letters[1]
			}
			row.WriteByte(letter)
		}
		b.WriteString(strings.TrimRight(row.String(), ".") + "\n")
	}
	return b.String()
}

// wrap breaks a line at width columns.
func wrap(text string, width int) []string {
	text = norm.NFC.String(cli.Inert(text))
	if width < 1 || narrow.StringWidth(text) <= width {
		return []string{text}
	}
	return strings.Split(narrow.Wrap(text, width), "\n")
}

package session

import (
	"bytes"
	"math/rand"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// permitted says what may come out at level Screen. It is written apart from
// the filter, as a pattern over whole sequences.
var permitted = regexp.MustCompile(`\A(?s:` + strings.Join([]string{
	`[\x07\x08\t\n\r\x20-\x7e]`,
	`[\x{a0}-\x{61b}\x{61d}-\x{200d}\x{2010}-\x{2029}\x{202f}-\x{2065}\x{2070}-\x{10ffff}]`,
	`\x1b[78DEM=>]`, `\x1b[()][B0]`,
	`\x1b\[(?:[0-9]{0,4}[;:]){0,31}[0-9]{0,4}m`,
	"\x1b" + `\[[0-9]{0,4}[ABCDEFGadeIZLMPX@STb` + "`" + `]`,
	`\x1b\[[0-9]{0,4}(?:;[0-9]{0,4})?[Hfr]`,
	`\x1b\[0*[0-2]?[JK]`, `\x1b\[[su]`, `\x1b\[0*[0-6]? q`,
	`\x1b\[\?(?:1|7|12|25|47|1000|1002|1003|1004|1006|1047|1049|2004|2026)[hl]`,
	`\x1b\[(?:4|34)[hl]`,
}, "|") + `)*\z`)

// notColour is a sequence that the lower levels must not let out.
var notColour = regexp.MustCompile(`\x1b([^\[]|\[[0-9:;]*[^m0-9:;])`)

func through(level Level, chunks ...[]byte) []byte {
	var b bytes.Buffer
	f := NewFilter(&b, level)
	for _, c := range chunks {
		f.Write(c)
	}
	return b.Bytes()
}

func TestWhatDrawsPasses(t *testing.T) {
	for _, s := range []string{
		"plain\r\n\tand tabs\b\a", "žluťoučký 漢字 👩‍💻 é", "\uFFFD",
		"\x1b[31m\x1b[1;38;5;208m\x1b[38;2;1;2;3m\x1b[4:3m\x1b[58:2::1:2:3m\x1b[m",
		"\x1b[H\x1b[2J\x1b[10;20H\x1b[K\x1b[1;24r\x1b[3L\x1b[2M\x1b[4P\x1b[5@\x1b[6X\x1b[7S\x1b[8T\x1b[80b",
		"\x1b[?1049h\x1b[?25l\x1b[?1006h\x1b[?2004h\x1b[?1049l\x1b[?47h\x1b[?1047l", "\x1b7\x1b8\x1bM\x1b=\x1b>\x1b(B\x1b(0\x1b[2 q",
	} {
		if got := through(Screen, []byte(s)); string(got) != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestWhatActsOutsideOfTheScreenIsSwallowed(t *testing.T) {
	for name, in := range map[string]string{
		"clipboard":               "\x1b]52;c;aGk=\x07",
		"title":                   "\x1b]0;rm -rf\x1b\\",
		"screen's title":          "\x1bkrm -rf\x1b\\",
		"link":                    "\x1b]8;;http://x\x1b\\",
		"colour query":            "\x1b]11;?\x07",
		"DCS":                     "\x1bP+q544e\x1b\\",
		"tmux passthrough":        "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\",
		"APC, PM, SOS":            "\x1b_G...\x1b\\\x1b^x\x1b\\\x1bXx\x1b\\",
		"device attributes":       "\x1b[c\x1b[>c\x1b[=c\x1b[0c",
		"status and position":     "\x1b[5n\x1b[6n\x1b[?6n",
		"version":                 "\x1b[>q",
		"mode query":              "\x1b[?2026$p\x1b[4$p",
		"settings query":          "\x1bP$qm\x1b\\",
		"window":                  "\x1b[14t\x1b[21t\x1b[8;10;10t\x1b[22;0;0t",
		"resets":                  "\x1bc\x1b[!p",
		"printing":                "\x1b[5i\x1b[?5i",
		"keyboard protocols":      "\x1b[>4;1m\x1b[>1u\x1b[?u\x1b[=1;1u",
		"history":                 "\x1b[3J",
		"margins, 132 columns":    "\x1b[?69h\x1b[1;5s\x1b[?3h\x1b[?1005h",
		"tab stops":               "\x1bH\x1b[g\x1b[3g\x1b[?5W",
		"directions":              "\u202e\u2066\u2069\u200f\u061c\u206f",
		"rectangles, checksums":   "\x1b[1;1;1;1;2;2*y\x1b[1;1;1;1;2;2$r",
		"answerback, shifts":      "\x05\x0e\x0f\x00\x7f",
		"other character sets":    "\x1b(K\x1b*0\x1b%G\x1b%@",
		"C1, raw and as UTF-8":    "\x9b\u009b\u0090\u009d\x85",
		"too many numbers":        "\x1b[" + strings.Repeat("1;", 40) + "1m",
		"too long numbers":        "\x1b[00031m\x1b[99999b",
		"too long":                "\x1b[" + strings.Repeat(" ", 5000) + "q",
		"controls in a sequence":  "\x1b[3\n1m",
		"the console's palette":   "\x1b]P1ff00ff",
		"the console's reset":     "\x1b]R",
		"cut off by another":      "\x1b]0;x\x1b[c",
		"an end that never comes": "\x1b]0;" + strings.Repeat("x", maxString-4),
	} {
		if got := through(Screen, []byte(in)); len(got) > 0 {
			t.Errorf("%s: %q came out", name, got)
		}
	}
}

func TestTextAfterASwallowedSequenceIsShown(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b]0;t\x07a":                          "a",
		"\x1bPx\x1b\\a":                          "a",
		"\x1b]0;t\x1b[31ma":                      "\x1b[31ma",
		"\x1b]0;t\x18a":                          "a",
		"\x1b[31\x18a":                           "a",
		"\x1b[3\x1b[32ma":                        "\x1b[32ma",
		"\x1b]Ra":                                "a",
		"\x1b]P1ff00ffa":                         "a",
		"\x1b[?1000;9999;1006ha":                 "\x1b[?1000h\x1b[?1006ha",
		"\xff\xc3(\xe2\x82":                      "\uFFFD\uFFFD(",
		"a\xe2\x82\x1b[31mb":                     "a\uFFFD\x1b[31mb",
		"\x1b]0;" + strings.Repeat("x", 1<<20+9): "xxxxxxxxxx",
	} {
		if got := through(Screen, []byte(in)); string(got) != want {
			t.Errorf("%.40q: %q, not %q", in, got, want)
		}
	}
}

func TestLowerLevelsPassLess(t *testing.T) {
	in := []byte("a\r\n\x1b[31mred\x1b[m\x1b[2J\x1b[?1049h\a\tž")
	if got := through(Colours, in); string(got) != "a\r\n\x1b[31mred\x1b[m\a\tž" {
		t.Errorf("colours: %q", got)
	}
	if got := through(Text, in); string(got) != "a\nred\tž" {
		t.Errorf("text: %q", got)
	}
}

func TestRestoreUndoesWhatPassed(t *testing.T) {
	f := NewFilter(&bytes.Buffer{}, Screen)
	f.Write([]byte("\x1b[?1049h\x1b[?25l\x1b[?1003h\x1b[?2004h\x1b[5;10r\x1b[4 q\x1b[1m\x1b=\x1b(0\x1b)0\x1b[4h"))
	got := string(f.Restore())
	for _, want := range []string{"\x1b[?1049l", "\x1b[?25h", "\x1b[?1003l", "\x1b[?2004l", "\x1b[r", "\x1b[0 q", "\x1b[m",
		"\x1b>", "\x1b(B", "\x1b)B", "\x1b[4l"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not hold %q", got, want)
		}
	}
	f.Write([]byte("\x1b[?1049l"))
	if strings.Contains(string(f.Restore()), "1049") {
		t.Error("leaves an alternate screen that was left already: the cursor would jump")
	}
	if !permitted.Match(f.Restore()) {
		t.Error("restores by what would not pass")
	}
}

func TestRestoreUndoesEachNameOfAMode(t *testing.T) {
	for in, want := range map[string]string{"\x1b[?47h": "\x1b[?47l", "\x1b[?1047h": "\x1b[?1047l", "\x1b[?12h": "\x1b[?12l", "\x1b[34l": "\x1b[34h"} {
		f := NewFilter(&bytes.Buffer{}, Screen)
		untouched := string(f.Restore())
		f.Write([]byte(in))
		if got := string(f.Restore()); !strings.Contains(got, want) || strings.Contains(untouched, want) {
			t.Errorf("%q: restored by %q, untouched %q", in, got, untouched)
		}
	}
}

func TestNothingIsRestoredThatWasNotTouched(t *testing.T) {
	f := NewFilter(&bytes.Buffer{}, Screen)
	f.Write([]byte("plain\r\n\x1b[?25h\x1b(B\x1b[?7h\x1b[2J\x1b[?1000l"))
	if got := f.Restore(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestAStreamCannotLeaveAScreenOfItsOwn(t *testing.T) {
	var b bytes.Buffer
	f := NewFilter(&b, Screen)
	f.Enter()
	f.Write([]byte("\x1b[?1049l\x1b[?25;47;1047lforged\x1b[?1049h\x1b[?1049l"))
	if b.String() != "\x1b[?25lforged" || !strings.Contains(string(f.Restore()), "\x1b[?1049l") {
		t.Errorf("%q, restored by %q", b.String(), f.Restore())
	}
}

// hostile makes streams that are mostly sequences, broken in likely ways.
func hostile(r *rand.Rand) []byte {
	parts := []string{"\x1b", "[", "]", "P", "?", ";", ":", "1", "25", "1049", "52", "m", "h", "l", "c", "n", "\a", "\\",
		"\x1b\\", "\x18", "\x9b", "\u009b", "ž", "\xe2", "\x82", "\xac", "漢", "text", " ", "q", "!", ">", "\r\n", "\x1b[", "\x1b]", "\x1b[?", "R", "$",
		"\u202e", "47", "g", "H"}
	var b []byte
	for range r.Intn(40) {
		b = append(b, parts[r.Intn(len(parts))]...)
	}
	return b
}

func check(t *testing.T, in []byte, cut int) {
	t.Helper()
	for _, level := range []Level{Text, Colours, Screen} {
		got := through(level, in)
		if !utf8.Valid(got) || !permitted.Match(got) {
			t.Fatalf("level %d: %q lets %q out", level, in, got)
		}
		if level < Screen && notColour.Match(got) {
			t.Fatalf("level %d: %q lets %q out", level, in, got)
		}
		if again := through(level, got); !bytes.Equal(again, got) {
			t.Fatalf("level %d: a second time, %q becomes %q", level, got, again)
		}
		if cut >= 0 && cut <= len(in) {
			if apart := through(level, in[:cut], in[cut:]); !bytes.Equal(apart, got) {
				t.Fatalf("level %d: %q cut at %d gives %q, not %q", level, in, cut, apart, got)
			}
		}
	}
	if apart := through(Screen, bytes.SplitAfter(in, nil)...); !bytes.Equal(apart, through(Screen, in)) {
		t.Fatalf("%q a character a write gives %q", in, apart)
	}
	var single [][]byte
	for i := range in {
		single = append(single, in[i:i+1])
	}
	if apart := through(Screen, single...); !bytes.Equal(apart, through(Screen, in)) {
		t.Fatalf("%q a byte a write gives %q", in, apart)
	}
}

func TestOnlyThePermittedComesOutHoweverItIsCut(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 5000 {
		in := hostile(r)
		check(t, in, r.Intn(len(in)+1))
	}
}

func FuzzFilter(f *testing.F) {
	r := rand.New(rand.NewSource(2))
	for range 50 {
		in := hostile(r)
		f.Add(in, len(in)/2)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if len(in) < 4096 { // the pattern is slow
			check(t, in, cut)
		}
	})
}

type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkFilterPlainText(b *testing.B) {
	benchmark(b, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, again and again\r\n", 500)))
}

func BenchmarkFilterScreen(b *testing.B) {
	benchmark(b, []byte(strings.Repeat("\x1b[10;5H\x1b[1;38;2;10;20;30mfunc\x1b[m main ─ žluťoučký\x1b[K", 500)))
}

func benchmark(b *testing.B, text []byte) {
	f := NewFilter(sink{}, Screen)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		f.Write(text)
	}
}

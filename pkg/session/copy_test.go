package session

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"
)

// mouse is a report of the left button; add 32 for one that moves.
func mouse(button, col, row int, end string) string {
	return fmt.Sprintf("\x1b[<%d;%d;%d%s", button, col, row, end)
}

// drag selects from one place to another.
func drag(row, from, to int) string {
	return mouse(0, from, row, "M") + mouse(32, from+1, row, "M") + mouse(32, to, row, "M") + mouse(0, to, row, "m")
}

func click(row, col int) string { return mouse(0, col, row, "M") + mouse(0, col, row, "m") }

func TestTheEndOfASelectionIsSeenHoweverItIsCut(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for typed, want := range map[string]bool{
		drag(3, 1, 9): true, "abc" + drag(3, 9, 1) + "x": true, drag(3, 1, 200): true,
		click(3, 4) + click(3, 4): true, strings.ReplaceAll(drag(3, 1, 9), "<0", "<8"): true, // with a modifier
		"":          false,
		click(3, 4): false, click(3, 4) + click(3, 5): false, mouse(0, 4, 3, "m"): false, mouse(32, 4, 3, "M") + mouse(0, 4, 3, "m"): false,
		mouse(0, 4, 3, "M") + mouse(32, 4, 3, "M") + mouse(0, 4, 3, "m"):                false, // it did not leave its place
		strings.ReplaceAll(strings.ReplaceAll(drag(3, 1, 9), "<0", "<2"), "<32", "<34"): false, // another button
		strings.ReplaceAll(drag(3, 1, 9), "\x1b[<0;9;3m", ""):                           false, // not let go yet
		mouse(64, 4, 3, "M") + mouse(64, 4, 3, "M"):                                     false, strings.Repeat("\x1b[<", 99) + "m": false, "\x1b[<0;1;" + strings.Repeat("9", 99) + "m": false,
	} {
		var whole, cut selecting
		got, inParts := whole.feed([]byte(typed), now), false
		for i := range len(typed) {
			inParts = cut.feed([]byte(typed[i:i+1]), now) || inParts
		}
		if got != want || inParts != want {
			t.Errorf("%q: %v, in parts %v", typed, got, inParts)
		}
	}
	var slow selecting
	if slow.feed([]byte(click(3, 4)), now); slow.feed([]byte(click(3, 4)), now.Add(2*clickTime)) {
		t.Error("two clicks at leisure are taken for a double one")
	}
}

func TestOfASelectionOnlyTextIsCopied(t *testing.T) {
	for selected, want := range map[string]string{
		"one\n\ttwo  é 漢\n\n": "one\n\ttwo  é 漢", "\x1b]52;c;ZXZpbA==\aa\x1b[31mb\r\x00\x08\x7f": "ab", "\u009b31mx\u202ey": "31mxy", "\n\r\n": "", "\xff": "\ufffd",
		"a\u200bb\u00ad\ufe0f\U000e0041\U000e0101c\u3164\u2028\ufeffd é\u200d漢": "abcd é漢",
	} {
		if got := clipboardText([]byte(selected)); got != want {
			t.Errorf("%q: %q, not %q", selected, got, want)
		}
	}
}

// onClipboard is what the terminal is asked to put there.
func onClipboard(text string) string {
	return "\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(text)) + "\a"
}

func TestWhatIsSelectedIsOnTheClipboard(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.types("clear; echo 'words that-are copied'\r")
	b.eventually("drawn", func() bool { return strings.HasPrefix(b.tmux("capture-pane", "-p"), "words that-are copied") })
	v.types(drag(1, 1, 15)) // up to where it is let go
	v.sees(onClipboard("words that-are"))
	if mode := b.tmux("display-message", "-p", "#{pane_in_mode}"); mode != "0" {
		t.Error("the view does not return from the selection")
	}
	rest := func() { <-time.After(400 * time.Millisecond) } // tmux counts clicks for 300, and tells of no end
	rest()
	v.types(click(1, 17) + click(1, 17))
	v.sees(onClipboard("copied"))
	rest()
	v.types(click(1, 3) + click(1, 3) + click(1, 3))
	v.sees(onClipboard("words that-are copied"))

	v.types("for i in $(seq 100); do echo line-$i; done; echo all-$((40+2))\r")
	v.sees("all-42")
	v.types(mouse(64, 1, 1, "M") + mouse(64, 1, 1, "M")) // the wheel
	b.eventually("scrolled back", func() bool { p := b.tmux("display-message", "-p", "#{scroll_position}"); return p != "" && p != "0" })
	at := b.tmux("display-message", "-p", "#{scroll_position}")
	rest()
	v.types(drag(1, 1, 5))
	v.sees(onClipboard("line"))
	if now := b.tmux("display-message", "-p", "#{scroll_position}"); now != at {
		t.Errorf("a selection scrolled from %s to %q", at, now)
	}
}

// The agent can offer what it likes, for as long as it likes: without the
// operator's hands nothing of it is taken, and with them one text.
func TestWithoutTheOperatorsHandsNothingIsCopied(t *testing.T) {
	b := newBox(t, "sh", "-c", `stty -echo; echo ready; while read -r line; do printf '\033]52;c;ZXZpbA==\a\033Ptmux;\033\033]52;c;ZXZpbA==\a\033\\'; echo "got-$line"; done`)
	forged := filepath.Join(b.dir, "selection")
	forge := func() {
		t.Helper()
		if err := os.WriteFile(forged, []byte("forged\x1b]52;c;ZXZpbA==\a\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := b.attach(80, 24)
	v.sees("ready")
	forge()
	b.tmux("set", "-s", "set-clipboard", "on")
	b.tmux("set", "-g", "allow-passthrough", "on")
	b.tmux("set-buffer", "-w", "evil")
	for i := range 3 {
		v.types(mouse(2, 5, 5+i, "M") + mouse(34, 9, 5+i, "M") + mouse(2, 9, 5+i, "m") + "\x1b[I") // hands that select nothing
		v.types(fmt.Sprintf("%d\r", i))
		v.sees(fmt.Sprintf("got-%d", i))
	}
	if strings.Contains(v.all(), "\x1b]52") {
		t.Fatalf("it wrote to the clipboard: %q", v.all())
	}
	if _, err := os.Stat(forged); err != nil {
		t.Fatal("what it forged was fetched: ", err)
	}
	b.tmux("unbind", "-T", "root", "MouseDrag1Pane") // so that its own text is all there is
	forge()
	v.types(drag(5, 1, 9))
	v.sees(onClipboard("forged"))
	v.types("last\r")
	v.sees("got-last")
	if n := strings.Count(v.all(), "\x1b]52"); n != 1 {
		t.Errorf("%d texts were copied for one selection", n)
	}
}

func TestTheHistoryIsPrintedAsText(t *testing.T) {
	b := newBox(t, shell...)
	v := b.attach(80, 24)
	v.types("for i in $(seq 3000); do printf '\\033[3%dmline-%d\\033[m\\n' $((i%8)) $i; done; echo all-$((40+2))\r")
	v.sees("all-42")
	var screen, text, colours bytes.Buffer
	if err := Peek(t.Context(), b.e, "", &screen, Text); err != nil || strings.Contains(screen.String(), "line-1\n") {
		t.Fatalf("the screen: %v %q", err, screen.String())
	}
	if err := PeekHistory(t.Context(), b.e, "", &text, Text); err != nil || !strings.Contains(text.String(), "line-1\nline-2\n") ||
		!strings.Contains(text.String(), "line-3000\n") || strings.Contains(text.String(), "\x1b") {
		t.Errorf("%v %.300q", err, text.String())
	}
	if err := PeekHistory(t.Context(), b.e, "", &colours, Colours); err != nil || !strings.Contains(colours.String(), "\x1b[31mline-1\n") {
		t.Errorf("%v %.300q", err, colours.String())
	}
	if err := PeekHistory(t.Context(), flood{stream: strings.Repeat("\n", 100_000)}, "", io.Discard, Text); err == nil {
		t.Error("it is without an end")
	}
}

func FuzzSelecting(f *testing.F) {
	f.Add(drag(3, 1, 9) + click(1, 1))
	f.Fuzz(func(t *testing.T, typed string) {
		var s selecting
		if s.feed([]byte(typed), time.Now()); len(s.seq) > maxReport {
			t.Errorf("%d bytes are kept", len(s.seq))
		}
	})
}

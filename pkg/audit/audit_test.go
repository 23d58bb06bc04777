package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func filled(t *testing.T, n int) string {
	t.Helper()
	home := t.TempDir()
	for i := range n {
		if err := Append(t.Context(), home, Record{Kind: Decision, Slug: "dev-aaaa", Proposal: fmt.Sprint("egress-block-", i), Reason: "fine", Program: "bottle-approve"}); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func whole(t *testing.T, home string, want int64) {
	t.Helper()
	n, _, err := Verify(t.Context(), home)
	if err != nil || n != want {
		t.Errorf("%d records, %v; want %d", n, err, want)
	}
}

func TestRecordsAreChained(t *testing.T) {
	whole(t, t.TempDir(), 0)
	home := filled(t, 3)
	whole(t, home, 3)
	info, err := os.Stat(filepath.Join(home, File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// Every change that somebody could make by hand is found, at its line.
func TestDamageIsFound(t *testing.T) {
	home := filled(t, 4)
	good, err := os.ReadFile(filepath.Join(home, File))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))[:4]
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for name, c := range map[string]struct {
		data []byte
		line int64
	}{
		"a word changed":       {bytes.Replace(good, []byte("egress-block-1"), []byte("egress-block-9"), 1), 3},
		"a word of the last":   {bytes.Replace(good, []byte("egress-block-3"), []byte("egress-block-9"), 1), 4},
		"one taken out":        {join(lines[0], lines[2], lines[3]), 2},
		"the first taken out":  {join(lines[1], lines[2], lines[3]), 1},
		"the last taken out":   {join(lines[0], lines[1], lines[2]), 4},
		"two swapped":          {join(lines[0], lines[2], lines[1], lines[3]), 2},
		"one twice":            {join(lines[0], lines[1], lines[1], lines[2], lines[3]), 3},
		"a blank line":         {join(lines[0], []byte("\n"), lines[1], lines[2], lines[3]), 2},
		"something else":       {join(lines[0], []byte("hello\n"), lines[1]), 2},
		"its end cut off":      {good[:len(good)-5], 4},
		"emptied":              {nil, 1},
		"a line without bound": {join(lines[0], bytes.Repeat([]byte("x"), 3*maxLine)), 2},
	} {
		if err := os.WriteFile(filepath.Join(home, File), c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		var broken *Broken
		if _, _, err := Verify(t.Context(), home); !errors.As(err, &broken) || broken.Line != c.line {
			t.Errorf("%s: %v, want line %d", name, err, c.line)
		}
	}
	os.Remove(filepath.Join(home, File))
	if _, _, err := Verify(t.Context(), home); err == nil {
		t.Error("a log that is gone is not missed")
	}
}

// A program that is killed leaves half a line, of which nobody was told; the next
// one writes behind what is whole.
func TestHalfARecordIsNone(t *testing.T) {
	for cut := 1; cut < 200; cut += 7 {
		home := filled(t, 2)
		f, err := os.OpenFile(filepath.Join(home, File), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		half, _ := encode(Record{Seq: 3, Kind: Decision, Prev: strings.Repeat("a", 64), Detail: strings.Repeat("b", 200)})
		f.Write(half[:cut])
		f.Close()
		if err := Append(t.Context(), home, Record{Kind: Edit}); err != nil {
			t.Fatal(err)
		}
		whole(t, home, 3)
	}
}

func TestAnEditorMayTakeTheLastLinesEnd(t *testing.T) {
	home := filled(t, 2)
	path := filepath.Join(home, File)
	data, _ := os.ReadFile(path)
	os.WriteFile(path, bytes.TrimSuffix(data, []byte("\n")), 0o600)
	if err := Append(t.Context(), home, Record{Kind: Edit}); err != nil {
		t.Fatal(err)
	}
	whole(t, home, 3)
}

func TestHostileTextStaysOneRecord(t *testing.T) {
	home := t.TempDir()
	for _, text := range []string{"a\nb\r\n{\"seq\":9}", "\x00\x1b]52;c;x\a\u2028\u202e\xff", strings.Repeat("\x01", 1<<20), strings.Repeat("é", 100_000)} {
		if err := Append(t.Context(), home, Record{Kind: Decision, Reason: text, Diff: text, Detail: text}); err != nil {
			t.Fatal(err)
		}
	}
	whole(t, home, 4)
}

func TestManyWritersMakeOneChain(t *testing.T) {
	home := t.TempDir()
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 10 {
				if err := Append(t.Context(), home, Record{Kind: Decision}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	whole(t, home, 80)
}

// The head may be a record behind, since it is written after it.
func TestALateHeadIsNoDamage(t *testing.T) {
	home := filled(t, 2)
	late, _ := os.ReadFile(filepath.Join(home, headFile))
	if err := Append(t.Context(), home, Record{Kind: Edit}); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(home, headFile), late, 0o600)
	whole(t, home, 3)
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	home := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(home, File)); err != nil {
		t.Fatal(err)
	}
	if err := Append(t.Context(), home, Record{Kind: Edit}); err == nil {
		t.Error("a record went through a symlink")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"seq":1,"prev":"`+origin+`"}`+"\n"), int64(1), "x")
	f.Add([]byte("\n\n"), int64(0), "")
	f.Fuzz(func(t *testing.T, log []byte, n int64, known string) {
		records, _, err := verify(bytes.NewReader(log), n, known)
		if records > int64(bytes.Count(log, []byte("\n"))) || err == nil && records < n {
			t.Errorf("%d records, %v", records, err)
		}
	})
}

// A record is one line that the chain takes, whatever stands in it.
func FuzzRecord(f *testing.F) {
	f.Add("no\n{\"seq\":2}\r\n", "+  - id: x\n", "\u2028\xff", uint16(1))
	f.Add("\x01", "<&>", "", uint16(60_000))
	f.Fuzz(func(t *testing.T, reason, diff, detail string, times uint16) {
		line, err := encode(Record{Seq: 1, Prev: origin, Kind: Edit, Reason: reason, Diff: strings.Repeat(diff, int(times%100)), Detail: detail, Verdict: reason, Grant: detail})
		if err != nil {
			t.Fatal(err)
		}
		if records, _, err := verify(bytes.NewReader(append(line, '\n')), 1, digest(line)); records != 1 || err != nil {
			t.Errorf("%d records, %v: %s", records, err, line)
		}
	})
}

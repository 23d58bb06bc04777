package bottle

import (
	"bytes"
	"testing"
)

func TestActivityRecordsAreReadAsTheyWereWritten(t *testing.T) {
	for _, a := range []Activity{Working, Waiting, Idle, Exited} {
		record := ActivityRecord(a, 137)
		got, code, ok := ParseActivity(record)
		if len(record) != ActivitySize || got != a || !ok || (code == 137) != (a == Exited) {
			t.Errorf("%s: %q, %s %d %v", a, record, got, code, ok)
		}
	}
	for _, bad := range []string{"", "working\n", "\x1b[2J", "exited", string(ActivityRecord(Exited, 256)), string(ActivityRecord("sleeping", 0)),
		string(ActivityRecord(Working, 0)) + "x", string(bytes.Replace(ActivityRecord(Working, 0), []byte("\n"), []byte(" "), 1))} {
		if a, _, ok := ParseActivity([]byte(bad)); ok {
			t.Errorf("%q is read as %s", bad, a)
		}
	}
}

func FuzzParseActivity(f *testing.F) {
	f.Add(ActivityRecord(Working, 0))
	f.Add(ActivityRecord(Exited, 1))
	f.Fuzz(func(t *testing.T, record []byte) {
		a, code, ok := ParseActivity(record)
		if !ok {
			return
		}
		if again, same, ok := ParseActivity(ActivityRecord(a, code)); !ok || again != a || same != code || code < 0 || code > 255 {
			t.Errorf("%q: %s %d", record, a, code)
		}
	})
}

package session

import (
	"strings"
	"testing"
)

func TestATerminalIsToldToReadUTF8WhereTheLocaleDoesNotSaySo(t *testing.T) {
	for locale, want := range map[string][2]string{
		"LANG=en_GB.UTF-8": {}, "LANG=C.UTF-8": {}, "LANG=de_DE.utf8@euro": {}, "LC_ALL=cs_CZ.UTF-8 LANG=C": {}, "TERM=dumb LANG=C": {},
		"": {readUTF8, ""}, "LANG=C": {readUTF8, ""}, "LC_ALL=POSIX LANG=en_GB.UTF-8": {readUTF8, ""},
		"LANG=de_DE.ISO-8859-1": {readUTF8, readBytes}, "LC_CTYPE=de_DE@euro LANG=C.UTF-8": {readUTF8, readBytes},
	} {
		getenv := func(name string) string {
			for kv := range strings.FieldsSeq(locale) {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					return v
				}
			}
			return ""
		}
		if ask, back := charset(getenv); ask != want[0] || back != want[1] {
			t.Errorf("%q: %q, %q", locale, ask, back)
		}
	}
}

func TestALatinTerminalReadsUTF8WhileASessionIsShown(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.ISO-8859-1")
	tty, drawn := terminal(t)
	if _, err := Attach(t.Context(), flood{stream: "❔52;c;ZXZpbA=="}, "", tty, Options{}); err != nil {
		t.Fatal(err)
	}
	got := drawn()
	if !strings.HasPrefix(got, readUTF8) || strings.Index(got, readBytes) < strings.Index(got, "ZXZpbA") {
		t.Errorf("%q", got)
	}
}

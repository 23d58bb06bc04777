package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"
	urfave "github.com/urfave/cli/v2"
)

func testApp(got *Call, err error) App {
	return App{Name: "bottle-test", Usage: "test", ArgsUsage: "[ID…]", Examples: "bottle-test x", Exit: "9 never",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "reject", Usage: "say no"},
			&urfave.StringFlag{Name: "reason", Aliases: []string{"r"}, Usage: "`WHY`"},
			&urfave.StringSliceFlag{Name: "path", Usage: "one of several"},
		},
		Action: func(c *Call) error { *got = *c; return err },
	}
}

func TestFlagsCountWhereverTheyStand(t *testing.T) {
	for _, argv := range []string{
		"--reject --reason no ID -", "ID --reject - --reason no", "ID - --reason=no --reject", "ID -r no - --reject",
	} {
		var got Call
		var out, errOut bytes.Buffer
		if code := testApp(&got, nil).Run(append([]string{"bottle-test"}, strings.Fields(argv)...), nil, &out, &errOut); code != 0 {
			t.Fatalf("%s: exit %d: %s", argv, code, errOut.String())
		}
		if !got.Bool("reject") || got.String("reason") != "no" || strings.Join(got.Args, " ") != "ID -" || got.Tail != nil {
			t.Errorf("%s: reject=%v reason=%q args=%q", argv, got.Bool("reject"), got.String("reason"), got.Args)
		}
	}
}

func TestOfARepeatedFlagTheLastCounts(t *testing.T) {
	for argv, want := range map[string]string{"--reason a -r b": "b", "-r b --reason=a": "a", "-r=--reject": "--reject", "-r -x": "-x", "--reason=-- -r=-": "-", "-r a=b": "a=b"} {
		var got Call
		var errOut bytes.Buffer
		if code := testApp(&got, nil).Run(append([]string{"bottle-test"}, strings.Fields(argv)...), nil, &bytes.Buffer{}, &errOut); code != 0 {
			t.Errorf("%s: %s", argv, errOut.String())
		} else if got.String("reason") != want || got.Bool("reject") {
			t.Errorf("%s: %q", argv, got.String("reason"))
		}
	}
	var got Call
	testApp(&got, nil).Run([]string{"bottle-test", "--reject", "--reject=false"}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if got.Bool("reject") {
		t.Error("--reject=false does not take --reject back")
	}
}

func TestWhatStandsBehindTwoDashesIsLeftAlone(t *testing.T) {
	var got Call
	app := testApp(&got, nil)
	argv := []string{"bottle-test", "ID", "--", "ls", "--reject", "-"}
	app.Run(argv, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if got.Bool("reject") || strings.Join(got.Args, " ") != "ID ls --reject -" || got.Tail != nil {
		t.Errorf("args=%q tail=%q", got.Args, got.Tail)
	}
	app.Command = true
	app.Run(argv, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if got.Bool("reject") || strings.Join(got.Args, " ") != "ID" || strings.Join(got.Tail, " ") != "ls --reject -" {
		t.Errorf("args=%q tail=%q", got.Args, got.Tail)
	}
}

func TestACommaDoesNotSplitAValue(t *testing.T) {
	var got Call
	testApp(&got, nil).Run([]string{"bottle-test", "--path", "/a,b", "--path", "/c"}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if paths := got.StringSlice("path"); len(paths) != 2 || paths[0] != "/a,b" {
		t.Errorf("paths=%q", paths)
	}
}

func TestErrorsAreOneLineAndAHint(t *testing.T) {
	cases := []struct {
		err  error
		args []string
		want string
		code int
	}{
		{Error{Code: NotFound, Msg: `no bottle named "web"`, Hint: "run bottle-ls"}, nil,
			"bottle-test: no bottle named \"web\"\nhint: run bottle-ls\n", 3},
		{errors.New("cannot do it:\nline two\x1b[2J"), nil, "bottle-test: cannot do it: line two\\x1b[2J\n", 1},
		{Status(42), nil, "", 42},
		{nil, []string{"--nonsense"}, "bottle-test: there is no flag --nonsense\nhint: run bottle-test --help\n", 2},
		{nil, []string{"---reject=x"}, "bottle-test: there is no flag ---reject\nhint: perhaps --reject; run bottle-test --help\n", 2},
		{nil, []string{"--raeson=x"}, "bottle-test: there is no flag --raeson\nhint: perhaps --reason; run bottle-test --help\n", 2},
		{nil, []string{"--hlep"}, "bottle-test: there is no flag --hlep\nhint: perhaps --help; run bottle-test --help\n", 2},
		{nil, []string{"x", "--reason", "--reject"}, "bottle-test: --reason needs a value, and --reject is a flag\nhint: write --reason=--reject where that is meant\n", 2},
		{nil, []string{"-r", "--path=/x"}, "bottle-test: -r needs a value, and --path is a flag\nhint: write -r=--path=/x where that is meant\n", 2},
		{nil, []string{"-rno"}, "bottle-test: there is no flag -rno\nhint: run bottle-test --help\n", 2},
		{nil, []string{"--reject=maybe"}, "bottle-test: invalid boolean value \"maybe\" for -reject: parse error\nhint: run bottle-test --help\n", 2},
		{nil, []string{"--reason"}, "bottle-test: --reason needs a value\nhint: write --reason VALUE\n", 2},
	}
	for _, tc := range cases {
		var got Call
		var out, errOut bytes.Buffer
		code := testApp(&got, tc.err).Run(append([]string{"bottle-test"}, tc.args...), nil, &out, &errOut)
		if code != tc.code || out.Len() > 0 || errOut.String() != tc.want {
			t.Errorf("%v %q: exit %d, stdout %q, stderr %q", tc.err, tc.args, code, out.String(), errOut.String())
		}
	}
}

func TestHelpHasExamplesAndExitStatus(t *testing.T) {
	var got Call
	var out bytes.Buffer
	if code := testApp(&got, nil).Run([]string{"bottle-test", "--help"}, nil, &out, &bytes.Buffer{}); code != 0 {
		t.Fatalf("exit %d", code)
	}
	for line := range strings.Lines(out.String()) {
		if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") || strings.Contains(line, "false") {
			t.Errorf("%q", line)
		}
	}
	for _, want := range []string{"bottle-test - test", "EXAMPLES\n   bottle-test x", "EXIT STATUS", "9 never", "--reason"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
}

func TestJSONIsInertAndStillTheSame(t *testing.T) {
	hostile := "a\x1b]52;c;x\x07\x7f\u009b\u202e\u200b\ufeff\U000e0041é\n"
	var out bytes.Buffer
	if err := WriteJSON(&out, map[string]string{"k": hostile}); err != nil {
		t.Fatal(err)
	}
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		if misleads(r) {
			t.Errorf("raw %U in %q", r, out.String())
		}
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["k"] != hostile {
		t.Errorf("read back %q, %v", back["k"], err)
	}
}

func TestNothingInvisibleStaysInvisible(t *testing.T) {
	for _, r := range "\x00\x7f\u0080\u00ad\u034f\u061c\u115f\u17b5\u180b\u180e\u200b\u200d\u200e\u2028\u2029\u202e\u2060\u2065\u2066\u206f\u2800\u3164\ufe0f\ufeff\ufff0\ufffb\U0001d173\U000e0000\U000e0041\U000e0100\U000e0fff" {
		if got := Inert(string(r)); got == string(r) {
			t.Errorf("%U passes", r)
		}
	}
	for _, plain := range []string{"žluť", "漢字", "😀", "e\u0301", "\ufffd", "—"} {
		if got := Inert(plain); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

func FuzzInert(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31m\u202e\xff\u0085")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Inert(s) {
			if misleads(r) {
				t.Fatalf("%q leaves %U", s, r)
			}
		}
		if Inert(Inert(s)) != Inert(s) {
			t.Fatalf("%q: not idempotent", s)
		}
	})
}

// A table keeps its columns on a narrow terminal; a name can be copied from it whole.
func TestATableFitsItsTerminal(t *testing.T) {
	rows := [][]string{{"SLUG", "STATUS", "FOLDER", "NOTE"}, {"a-rather-long-slug-aaaa", "degraded", strings.Repeat("界", 30), strings.Repeat("n", 400)}}
	for _, width := range []int{120, 80, 72} {
		for _, line := range align(rows, width) {
			if w := runewidth.StringWidth(line); w > width {
				t.Errorf("at %d a line has %d: %s", width, w, line)
			}
		}
		if line := align(rows, width)[1]; !strings.HasPrefix(line, "a-rather-long-slug-aaaa  degraded  界") || !strings.HasSuffix(line, "n…") {
			t.Errorf("at %d: %s", width, line)
		}
	}
	for _, width := range []int{0, 1, 60, 600} { // too narrow, or wide enough, or no terminal
		if line := align(rows, width)[1]; strings.Contains(line, "…") {
			t.Errorf("at %d it is cut: %s", width, line)
		}
	}
	align(nil, 80)
	align([][]string{{"ONE"}}, 2)
}

func TestTablesAlignWideCharacters(t *testing.T) {
	var out bytes.Buffer
	p, err := NewPrinter(&out, "table", "A", "B")
	if err != nil {
		t.Fatal(err)
	}
	p.Print(nil, "日本", "x")
	p.Print(nil, "a\tb", "y")
	p.Flush()
	if want := "A       B\n日本    x\na\\x09b  y\n"; out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	in, out := io.Pipe() // nobody answers
	defer out.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if yes, err := (Streams{In: in, Err: &bytes.Buffer{}}).Confirm(ctx, "sure?"); yes || !errors.Is(err, Status(Interrupted)) {
		t.Errorf("%v, %v", yes, err)
	}
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, " y \r\n": true, "\n": false, "": false, "n\n": false, "yup\n": false} {
		if yes, err := (Streams{In: strings.NewReader(answer), Err: &bytes.Buffer{}}).Confirm(t.Context(), "sure?"); yes != want || err != nil {
			t.Errorf("%q: %v, %v", answer, yes, err)
		}
	}
}

func TestAMenuFitsItsTerminal(t *testing.T) {
	control, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	pty.Setsize(control, &pty.Winsize{Cols: 30, Rows: 10})
	drawn := make(chan string)
	go func() {
		all, _ := io.ReadAll(control)
		drawn <- string(all)
	}()
	rows := [][]string{{"one", strings.Repeat("wide ", 20)}, {"three", strings.Repeat("漢", 40)}}
	i, err := Streams{In: strings.NewReader("\x0e\r"), Err: tty}.Pick("which", rows)
	tty.Close()
	if i != 1 || err != nil {
		t.Errorf("%d, %v", i, err)
	}
	all := <-drawn
	for line := range strings.FieldsFuncSeq(regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`).ReplaceAllString(all, ""), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if w := runewidth.StringWidth(line); w >= 30 {
			t.Errorf("%d columns: %q", w, line)
		}
	}
	if strings.Contains(all, "\a") || !strings.Contains(all, "one    wide") {
		t.Errorf("%q", all)
	}
}

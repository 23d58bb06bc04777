package dockerfile

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestStepsAreReadAsTheyAreWritten(t *testing.T) {
	text := `# what this bottle has
from bottle
ENV A=1 B="two words" C=$A/x D='$A' E=\$A
ENV OLD form of it
ARG V=1.2
RUN apt-get update \
 # a comment between
 && apt-get install -y jq

RUN ["pip", "install", "a b"]
RUN <<EOF
set -e
echo $HOME
EOF
USER agent:agent
WORKDIR "/opt/my tool"
COPY --chmod=0755 <<'EOF' /usr/local/bin/x
#!/bin/sh
FROM nowhere $1
EOF
COPY <<-END /etc/x
	plain
	END
RUN [ -e /x ] || true
`
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].Text == "" || !strings.Contains(text, got[i].Text) {
			t.Errorf("step %d has the text %q", i, got[i].Text)
		}
		got[i].Text = ""
	}
	want := []Step{
		{Op: Env, Line: 3, Vars: []Var{{"A", "1"}, {"B", "two words"}, {"C", "$A/x"}, {"D", `\$A`}, {"E", `\$A`}}},
		{Op: Env, Line: 4, Vars: []Var{{"OLD", "form of it"}}},
		{Op: Arg, Line: 5, Vars: []Var{{"V", "1.2"}}},
		{Op: Run, Line: 6, Argv: []string{"/bin/sh", "-c", "apt-get update  && apt-get install -y jq"}},
		{Op: Run, Line: 10, Argv: []string{"pip", "install", "a b"}},
		{Op: Run, Line: 11, Argv: []string{"/bin/sh", "-c", "set -e\necho $HOME\n"}, Body: "set -e\necho $HOME\n"},
		{Op: User, Line: 15, Word: "agent:agent"},
		{Op: Workdir, Line: 16, Word: "/opt/my tool"},
		{Op: Copy, Line: 17, Word: "/usr/local/bin/x", Body: "#!/bin/sh\nFROM nowhere $1\n", Mode: 0o755},
		{Op: Copy, Line: 21, Word: "/etc/x", Body: "plain\n", Mode: 0o644},
		{Op: Run, Line: 24, Argv: []string{"/bin/sh", "-c", "[ -e /x ] || true"}},
	}
	if !reflect.DeepEqual(got, want) {
		for i := range min(len(got), len(want)) {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("step %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
			}
		}
		t.Errorf("%d steps, want %d", len(got), len(want))
	}
}

func TestWhatIsNotTakenIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                       "line 1: there is no",
		"# nothing\n":                                            "line 1: there is no",
		"RUN x":                                                  "line 1: the first instruction",
		"FROM debian":                                            "line 1: the first instruction",
		"FROM bottle AS x":                                       "line 1: the first instruction",
		"FROM --platform=linux/386 bottle":                       "line 1: the first instruction",
		"# syntax=evil/frontend\nFROM bottle":                    "line 1: the directive \"syntax\"",
		"FROM bottle\n# escape=`":                                "line 2: the directive \"escape\"",
		"FROM bottle\nFROM bottle":                               "line 2: FROM stands once",
		"FROM bottle\nADD https://x.example/ /x":                 "line 2: ADD is not taken",
		"FROM bottle\nCOPY a /b":                                 "line 2: COPY takes inline text alone",
		"FROM bottle\nCOPY --from=x /a /b":                       "line 2: COPY's flag --from=x",
		"FROM bottle\nCOPY --chmod=4755 <<E /x\nE":               "line 2: COPY's flag --chmod=4755",
		"FROM bottle\nCOPY <<E x\nE":                             "line 2: COPY's target",
		"FROM bottle\nCOPY <<E /x/\nE":                           "line 2: COPY's target",
		"FROM bottle\nCOPY <<E /a /b\nE":                         "line 2: one word is expected",
		"FROM bottle\nCOPY <<E <<F /b\nE\nF":                     "line 2: one word is expected",
		"FROM bottle\nCOPY <<E /x\n$A\nE":                        "line 2: the inline text holds a $",
		"FROM bottle\nCOPY <<E /x\nabc":                          "line 2: the inline text does not end",
		"FROM bottle\nRUN":                                       "line 2: RUN has no command",
		"FROM bottle\nRUN []":                                    "line 2: RUN has no command",
		"FROM bottle\nRUN --mount=type=bind,target=/x true":      "line 2: RUN's flag --mount",
		"FROM bottle\nRUN --network=host true":                   "line 2: RUN's flag --network=host",
		"FROM bottle\nRUN --security=insecure true":              "line 2: RUN's flag --security",
		"FROM bottle\nRUN <<E cat\nE":                            "line 2: after RUN <<EOF",
		"FROM bottle\nRUN a \\":                                  "line 2: the last instruction does not end",
		"FROM bottle\nRUN cat <<E\nhello\nE":                     "line 3: HELLO is not taken",
		"FROM bottle\nENV":                                       "line 2: there is no variable",
		"FROM bottle\nENV 1=2":                                   "line 2: \"1\" is not a variable",
		"FROM bottle\nENV A='x":                                  "line 2: the quote ' does not end",
		"FROM bottle\nARG A":                                     "line 2: A has no value",
		"FROM bottle\nUSER a b":                                  "line 2: one word",
		"FROM bottle\nUSER -x":                                   "line 2: \"-x\" is not a user",
		"FROM bottle\nWORKDIR":                                   "line 2: one word",
		"FROM bottle\nONBUILD RUN x":                             "line 2: ONBUILD is not taken",
		"FROM bottle\nVOLUME /x":                                 "line 2: VOLUME is not taken",
		"FROM bottle\nSHELL [\"x\"]":                             "line 2: SHELL is not taken",
		"FROM bottle\nRUN a\u202eb":                              "line 2: the character U+202E",
		"FROM bottle\nRUN a\x00b":                                "line 2: the character U+0000",
		"FROM bottle\r\nRUN a":                                   "line 1: the character U+000D",
		"FROM bottle\nRUN \xff":                                  "line 2: it is not UTF-8",
		"FROM bottle\n" + strings.Repeat("USER a\n", MaxSteps+1): "there are more than",
		strings.Repeat("#", MaxSize+1):                           "line 1: the text has more than",
	} {
		steps, err := Parse(text)
		var e *Error
		if err == nil || !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v and %d steps, want %q", text, err, len(steps), want)
		}
	}
}

func TestVariablesArePutIn(t *testing.T) {
	known := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "PATH": "/bin"}[name]
		return v, ok
	}
	for in, want := range map[string]string{"x": "x", "$A": "1", "${A}b": "1b", "/opt:$PATH": "/opt:/bin", `\$A`: "$A", `\\`: `\`} {
		if got, err := Expand(in, known); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"$B", "${B}", "$", "$$", "${A:-x}", "$(id)", "$1"} {
		if got, err := Expand(in, known); err == nil {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// Whatever comes in, what comes out stays within what the package takes.
func FuzzParse(f *testing.F) {
	f.Add("FROM bottle\nRUN a \\\n b\nENV A=\"b c\" D=$A\nCOPY --chmod=755 <<'E' /x\ntext\nE\n")
	f.Add("FROM bottle\nRUN <<E\n$x\nE\nARG A=1\nUSER 0:0\nWORKDIR /x")
	f.Add("from bottle\n# check=skip=all\n")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: the error %q", text, err)
			}
			return
		}
		for _, s := range steps {
			switch s.Op {
			case Run:
				if len(s.Argv) == 0 {
					t.Fatalf("%q: a RUN of nothing", text)
				}
			case Env, Arg:
				for _, v := range s.Vars {
					if !varName().MatchString(v.Name) {
						t.Fatalf("%q: a variable %q", text, v.Name)
					}
					Expand(v.Value, func(string) (string, bool) { return "", true })
				}
			case User, Workdir, Copy:
				if s.Word == "" || s.Mode > 0o777 {
					t.Fatalf("%q: %+v", text, s)
				}
			default:
				t.Fatalf("%q: took %s", text, s.Op)
			}
		}
	})
}

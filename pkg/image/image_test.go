package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"bottle/pkg/agent"
)

var user = User{UID: 70707, Home: "/home/agent", Work: "/work"}

func build(t *testing.T, tools, program, version string, own []byte) Build {
	t.Helper()
	a, err := agent.Lookup(agent.Program{Name: program})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Agent(tools, a, version, own)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTagChangesWithAllThatGoesIn(t *testing.T) {
	tags := map[string]string{}
	for name, b := range map[string]Build{
		"sidecar":        Sidecar([]File{{Name: "bottle-egress", ID: "1"}}),
		"other content":  Sidecar([]File{{Name: "bottle-egress", ID: "2"}}),
		"other size":     Sidecar([]File{{Name: "bottle-egress", ID: "1", Size: 1}}),
		"other name":     Sidecar([]File{{Name: "bottle-other", ID: "1"}}),
		"shifted":        Sidecar([]File{{Name: "bottle-egress1"}}),
		"tools":          Tools(Base, user),
		"other base":     Tools("other:1", user),
		"other user":     Tools(Base, User{UID: 1, Home: "/home/agent", Work: "/work"}),
		"claude":         build(t, "tools:1", "claude", "", nil),
		"other tools":    build(t, "tools:2", "claude", "", nil),
		"pinned":         build(t, "tools:1", "claude", "2.1.330", nil),
		"other version":  build(t, "tools:1", "claude", "2.1.197", nil),
		"shell":          build(t, "tools:1", "shell", "", nil),
		"own dockerfile": build(t, "tools:1", "shell", "", []byte("RUN true")),
		"git":            Gate(Base, File{Name: "g", Data: []byte("1")}, Owner{1, 1}, "/repos"),
		"other gate":     Gate(Base, File{Name: "g", Data: []byte("2")}, Owner{1, 1}, "/repos"),
		"other owner":    Gate(Base, File{Name: "g", Data: []byte("1")}, Owner{2, 1}, "/repos"),
		"empty one":      build(t, "tools:1", "claude", "", []byte("")),
	} {
		if !regexp.MustCompile(`^bottle-[a-z]+:[A-Za-z0-9._-]{16,128}$`).MatchString(b.Tag) {
			t.Errorf("%s: %q is no tag", name, b.Tag)
		}
		if other, taken := tags[b.Tag]; taken {
			t.Errorf("%s and %s are both %s", name, other, b.Tag)
		}
		tags[b.Tag] = name
	}
}

func TestEqualBuildsAreEqualByteForByte(t *testing.T) {
	a, b, c := File{Name: "a", Data: []byte("1")}, File{Name: "b", Data: []byte("2")}, File{Name: "c", Data: []byte("3")}
	var first, second bytes.Buffer
	one, two := Sidecar([]File{b, a, c}), Sidecar([]File{c, b, a})
	if err := errors.Join(one.Context(&first), two.Context(&second)); err != nil {
		t.Fatal(err)
	}
	if one.Tag != two.Tag || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same programs give another tag or another stream")
	}
}

// read unpacks a context.
func read(t *testing.T, b Build) (map[string]string, map[string]int64) {
	t.Helper()
	var stream bytes.Buffer
	if err := b.Context(&stream); err != nil {
		t.Fatal(err)
	}
	files, modes := map[string]string{}, map[string]int64{}
	for r := tar.NewReader(&stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name], modes[h.Name] = string(data), h.Mode
	}
}

func TestProvidedProgramIsStreamedAndItsVersionTold(t *testing.T) {
	b := build(t, "tools:1", "claude", "", nil)
	opened := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("ELF")), nil }
	whole := b.Provide("2.1.330", File{Name: "claude", Mode: 0o755, Open: opened, Size: 3})
	if whole.Tag != b.Tag || len(b.Files) != 0 || b.Labels[LabelVersion] != "" {
		t.Error("Provide changed the tag or its receiver")
	}
	files, modes := read(t, whole)
	if files["claude"] != "ELF" || modes["claude"] != 0o755 {
		t.Errorf("the context holds %q, mode %o", files["claude"], modes["claude"])
	}
	want := "FROM tools:1\nLABEL bottle.program=\"claude\"\nLABEL bottle.version=\"2.1.330\"\nCOPY claude /usr/local/bin/claude\n"
	if files["Dockerfile"] != want {
		t.Errorf("Dockerfile is %q, want %q", files["Dockerfile"], want)
	}
	short := b.Provide("", File{Name: "claude", Open: opened, Size: 5})
	if err := short.Context(io.Discard); err == nil {
		t.Error("a file shorter than was said is passed on")
	}
}

func TestLabelsAreReadAsTheyAre(t *testing.T) {
	b := Build{From: "scratch", Labels: map[string]string{"x": "a\"b\\c $HOME\nRUN evil"}}
	want := "FROM scratch\nLABEL x=\"a\\\"b\\\\c \\$HOME\\nRUN evil\"\n"
	if got := string(b.Dockerfile()); got != want {
		t.Errorf("Dockerfile is %q, want %q", got, want)
	}
}

func TestOwnDockerfile(t *testing.T) {
	for _, c := range []struct{ name, in, want, err string }{
		{"without FROM", "RUN true\n", "RUN true\n", ""},
		{"FROM bottle", "# mine\nFROM bottle\nRUN true\n", "# mine\n\nRUN true\n", ""},
		{"CRLF and BOM", "\ufeffFROM bottle\r\nRUN true\r\n", "\nRUN true\n", ""},
		{"FROM as an argument", "RUN echo \\\nFROM debian\n", "RUN echo \\\nFROM debian\n", ""},
		{"comment inside", "RUN a \\\n# x \\\n && b\nRUN c\n", "RUN a \\\n# x \\\n && b\nRUN c\n", ""},
		{"foreign FROM", "FROM debian\n", "", "line 1: only"},
		{"stage", "FROM bottle AS x\n", "", "line 1: only"},
		{"second FROM", "FROM bottle\nRUN a\nfrom bottle\n", "", "line 3: only"},
		{"FROM later", "RUN a\nFROM bottle\n", "", "line 2: only"},
		{"FROM behind a comment that ends in a backslash", "RUN a\n# \\\nFROM x\n", "", "line 3: only"},
		{"split FROM", "FROM \\\n debian\n", "", "line 1: only"},
		{"volume", "RUN a\n volume /work/x\n", "", "line 2: VOLUME is not taken"},
		{"VOLUME as an argument", "RUN echo \\\nVOLUME /x\n", "RUN echo \\\nVOLUME /x\n", ""},
		{"split FROM bottle", "FROM \\\n bottle\nRUN a\n", "\n\nRUN a\n", ""},
		{"split word", "RUN a\nFR\\\nOM debian\n", "", "line 2: only"},
		{"two backslashes", "RUN a \\\\\nFROM debian\n", "", "line 1: it ends with two"},
		{"no-break space behind a backslash", "RUN a \\\u00a0\nFROM debian\n", "", "line 1: it begins or ends"},
		{"no-break space before a comment", "RUN a\n\u00a0# \\\nFROM debian\n", "", "line 2: it begins or ends"},
		{"carriage return", "RUN a \\\r\r\nFROM debian\n", "", "line 1: the character"},
		{"another image's files", "COPY --chown=1 --from=debian /a /b\n", "", "line 1: \"--from=debian\""},
		{"another image's files, split", "RUN a\nCOPY \\\n# x\n --fr\\\nom=debian /a /b\n", "", "line 2: \"--from=debian\""},
		{"another image's mount", "RUN --mount=type=bind,from=debian,target=/x true\n", "", "line 1: \"--mount"},
		{"from in a command", "RUN grep --from=x y\n", "RUN grep --from=x y\n", ""},
		{"an onbuild", "ONBUILD COPY --from=debian /a /b\n", "", "line 1: \"--from=debian\""},
		{"syntax", "# syntax=x/y\nRUN a\n", "", `line 1: the directive "syntax"`},
		{"escape", "# Escape = `\nRUN a\n", "", `line 1: the directive "escape"`},
		{"open end", "RUN a \\\n", "", "does not end"},
	} {
		got, err := Own([]byte(c.in))
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.err)
		}
	}
}

func FuzzOwnNeverPassesAForeignFrom(f *testing.F) {
	for _, s := range []string{"FROM bottle\nRUN a", "FROM x", "RUN a \\\nFROM x", "# c \\\nFROM x", "\tfrom\tx", "\u00a0FROM x", "FR\\\nOM x", "RUN a \\\\\nFROM x"} {
		f.Add(s)
	}
	// What a builder takes for an instruction: the first line, and each line
	// after one that does not end in a backslash; comments and blanks are air.
	f.Fuzz(func(t *testing.T, in string) {
		out, err := Own([]byte(in))
		if err != nil {
			return
		}
		continued, instruction := false, ""
		for line := range strings.SplitSeq(out, "\n") {
			line = strings.Trim(line, " \t\r")
			if line == "" || line[0] == '#' {
				continue
			}
			if !continued {
				instruction = ""
			}
			instruction += strings.TrimSuffix(line, `\`)
			if words := strings.Fields(instruction); len(words) > 0 && strings.EqualFold(words[0], "FROM") {
				t.Fatalf("%q passes as %q", in, out)
			}
			continued = strings.HasSuffix(line, `\`)
		}
	})
}

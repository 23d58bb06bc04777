// Package arch tests how the module is put together: who may import whom, with
// the reason in words, and that every package says what it is. It tests no
// behaviour.
package arch

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "bottle/"

// listed is what go list says of a package.
type listed struct {
	ImportPath, Name, Doc, Dir string
	Imports, Deps              []string
	TestGoFiles, XTestGoFiles  []string
	GoFiles                    []string
}

// own returns the imports that are this module's, without its name.
func own(imports []string) []string {
	var found []string
	for _, i := range imports {
		if p, ok := strings.CutPrefix(i, module); ok {
			found = append(found, p)
		}
	}
	return found
}

func packages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Dir,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(out); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	if err := cmd.Wait(); err != nil || len(all) == 0 {
		t.Fatalf("go list: %v, %d packages", err, len(all))
	}
	return all
}

func TestImportsAreThoseThatTheRulesGive(t *testing.T) {
	for path, p := range packages(t) {
		r, ok := rules[path]
		if !ok {
			t.Errorf("%s has no rule in rules_test.go: say what it may import, and why", path)
			continue
		}
		for _, imported := range own(p.Imports) {
			if !slices.Contains(r.may, imported) {
				t.Errorf("%s imports %s. It must not: %s", path, imported, r.why)
			}
		}
		for _, door := range doors {
			if r.pure && slices.Contains(p.Imports, door) {
				t.Errorf("%s imports %s. It must not: it is pure, and decides with values", path, door)
			}
		}
	}
}

func TestWallsHoldAtAnyRemove(t *testing.T) {
	all := packages(t)
	for _, w := range walls {
		for _, from := range w.from {
			p, ok := all[from]
			if !ok {
				t.Errorf("there is no %s any more: mend the walls in rules_test.go", from)
			}
			for _, to := range own(p.Deps) {
				if slices.Contains(w.to, to) {
					t.Errorf("%s comes to import %s: %s", from, to, w.why)
				}
			}
		}
	}
}

func TestBuildStepsAreInNoProgram(t *testing.T) {
	for path, p := range packages(t) {
		if p.Name != "main" || strings.Contains(path, "rulegen") {
			continue
		}
		for _, d := range p.Deps {
			if strings.HasPrefix(d, "github.com/zricethezav/") {
				t.Errorf("%s comes to import %s: gitleaks is for rulegen alone, which turns its rules into a table", path, d)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for path, p := range packages(t) {
		doc := p.Doc
		if len(p.GoFiles) == 0 {
			doc = testDoc(t, p)
		}
		switch {
		case doc == "":
			t.Errorf("%s has no package comment", path)
		case p.Name != "main" && !strings.HasPrefix(doc, "Package "+strings.TrimSuffix(p.Name, "_test")+" "):
			t.Errorf("%s: its comment does not begin with %q: %s", path, "Package "+p.Name, doc)
		}
	}
}

// testDoc finds the comment of a package that is tests only.
func testDoc(t *testing.T, p listed) string {
	t.Helper()
	for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if doc := f.Doc.Text(); doc != "" {
			return doc
		}
	}
	return ""
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	for path, p := range packages(t) {
		for _, name := range []string{p.Name, filepath.Base(path)} {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base"}, name) {
				t.Errorf("%s: the name says nothing of what is in it", path)
			}
		}
	}
}

func TestRulesAreGood(t *testing.T) {
	for path, r := range rules {
		if r.why == "" {
			t.Errorf("the rule of %s gives no reason", path)
		}
		for _, m := range r.may {
			if _, ok := rules[m]; !ok {
				t.Errorf("%s may import %s, which has no rule", path, m)
			}
		}
	}
}

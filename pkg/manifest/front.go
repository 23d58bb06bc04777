package manifest

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a manifest, in bytes.
const maxFile = 1 << 20

// file is one manifest being read. Its methods make errors that name the line.
type file struct {
	name string // as errors tell it
	root *yaml.Node
	body string
}

const fence = "---"

// split parts a manifest into its front matter and the text below. Windows line
// ends and a byte order mark are as good as none.
func split(name string, data []byte) (*file, error) {
	f := &file{name: name}
	switch {
	case len(data) > maxFile:
		return nil, f.err(0, "it is larger than %d bytes", maxFile)
	case !utf8.Valid(data):
		return nil, f.err(0, "it is not UTF-8 text")
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\r\n", "\n")
	first, rest, _ := strings.Cut(text, "\n")
	if strings.TrimRight(first, " \t") != fence {
		return nil, f.err(1, `the first line must be "---", and then keys follow`)
	}
	var front strings.Builder
	for line := range strings.Lines(rest) {
		if strings.TrimRight(line, " \t\n") == fence {
			f.body = strings.TrimSpace(rest[front.Len()+len(line):])
			return f, f.parse(front.String())
		}
		front.WriteString(line)
	}
	return nil, f.err(1, `the front matter that begins here is not closed by a line "---"`)
}

// yamlLine finds the line that the YAML parser tells of in an error's text. It
// does not count the fence, and does not tell of the first line.
var yamlLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^yaml: (?:line (\d+): )?`) })

func (f *file) parse(front string) error {
	var doc, rest yaml.Node
	d := yaml.NewDecoder(strings.NewReader(front))
	err := d.Decode(&doc)
	if err == nil {
		f.root = doc.Content[0]
		f.shift(f.root)
		err = d.Decode(&rest)
	}
	if err == io.EOF {
		return nil
	}
	line, text := rest.Line+1, secondDocument
	if err != nil {
		text, line = yamlError(err)
	}
	if tab := tabLine(front, line); tab > 0 {
		line, text = tab, "a tab indents nothing, write spaces"
	}
	return f.err(line, "this is not YAML: %s", text)
}

// secondDocument is what is wrong with a front matter that ends before its end:
// at a line "...", for one. What follows would be read by nobody.
const secondDocument = "nothing may follow what ended above"

// yamlError is what the YAML parser complains of, and the line of the file.
func yamlError(err error) (text string, line int) {
	text, line = strings.ReplaceAll(err.Error(), "\n", " "), 2
	if m := yamlLine().FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n + 1
		}
	}
	if text == "did not find expected <document start>" {
		text = secondDocument
	}
	return text, line
}

// tabLine returns the first line, from the given one of the file on, with a tab
// in front of its text, or 0. The parser tells of such a line where the block
// begins that it is in.
func tabLine(front string, from int) int {
	for i, line := range strings.Split(front, "\n") {
		if n := i + 2; n >= from && strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			return n
		}
	}
	return 0
}

// shift makes line numbers those of the file: the fence is its first line.
func (f *file) shift(n *yaml.Node) {
	n.Line++
	for _, c := range n.Content {
		f.shift(c)
	}
}

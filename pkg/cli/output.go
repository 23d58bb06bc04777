package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// OutputFlag is the -o of whatever lists.
func OutputFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "json", Usage: "`FORMAT` of the answer: json, table or tsv"}
}

// YesFlag answers every question with yes.
func YesFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "answer yes to every question"}
}

// Printer prints records one by one in the chosen format.
type Printer struct {
	out     io.Writer
	format  string
	columns []string
	rows    [][]string
	width   int // of the terminal that a table is for; 0: there is none
}

// NewPrinter returns a printer for -o format; columns head a table.
func NewPrinter(out io.Writer, format string, columns ...string) (*Printer, error) {
	switch format {
	case "json", "table", "tsv":
		return &Printer{out: out, format: format, columns: columns, width: width(out)}, nil
	}
	return nil, Error{Code: Usage, Msg: fmt.Sprintf("no output format %q", format), Hint: "use -o json, -o table or -o tsv"}
}

// For says which stream is behind the writer, whose tables are made to fit where it is a
// terminal.
func (p *Printer) For(stream any) { p.width = width(stream) }

// Print prints one record: v as a JSON line, or its cells. A table's rows are
// kept until Flush, since its columns are as wide as their widest cell.
func (p *Printer) Print(v any, cells ...string) error {
	if p.format == "json" {
		return WriteJSON(p.out, v)
	}
	row := inert([][]string{cells})[0]
	if p.format == "tsv" {
		_, err := fmt.Fprintln(p.out, strings.Join(row, "\t"))
		return err
	}
	p.rows = append(p.rows, row)
	return nil
}

// Flush writes what Print kept back.
func (p *Printer) Flush() error {
	if p.format != "table" {
		return nil
	}
	rows := append([][]string{p.columns}, p.rows...)
	p.rows = nil
	_, err := io.WriteString(p.out, strings.Join(align(rows, p.width), "\n")+"\n")
	return err
}

func inert(rows [][]string) [][]string {
	all := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			all[i] = append(all[i], Inert(cell))
		}
	}
	return all
}

// least is how narrow a column is made; the first has names, and is not.
const least = 16

// fit makes the widest columns narrower until a line has this width. Where that
// would take more than may go, it leaves them as they are: then nothing is lost.
func fit(widths []int, width int) {
	over, spare := 2*(len(widths)-1)-width, 0
	for i, w := range widths {
		over += w
		if i > 0 {
			spare += max(w-least, 0)
		}
	}
	if over > spare {
		return
	}
	for ; over > 0; over-- {
		widest := 1
		for i := 2; i < len(widths); i++ {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		widths[widest]--
	}
}

// align makes a line of each row, its columns as wide as their widest cell, or as
// fits into width, where that is not 0.
func align(rows [][]string, width int) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	if width > 0 {
		fit(widths, width)
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			cell = runewidth.Truncate(cell, widths[i], "…")
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-runewidth.StringWidth(cell)+2))
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// Fit cuts a line short where it does not fit into the terminal that stream is,
// beside so many other columns.
func Fit(stream any, line string, beside int) string {
	w := width(stream)
	if w == 0 {
		return line
	}
	return runewidth.Truncate(line, max(w-beside, 1), "…")
}

// width is that of the terminal that stream is, and 0 where it is none.
func width(stream any) int {
	if !IsTerminal(stream) {
		return 0
	}
	w, _, err := term.GetSize(int(stream.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return w
}

// IsTerminal says whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// CanAsk says whether a person can be asked: stdin and stderr are terminals.
func (s Streams) CanAsk() bool { return IsTerminal(s.In) && IsTerminal(s.Err) }

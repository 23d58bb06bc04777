// Package cli is what all bottle programs share at their command line: the
// order of flags, output formats, one-line errors with a remedy, exit codes.
// It knows nothing of bottles, the engine or the state directory.
package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// Streams are a program's three standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// App describes one program: its flags, and the one call that main makes.
type App struct {
	Name      string
	Usage     string // one line, no full stop
	ArgsUsage string // such as "[SLUG…]"
	About     string // a paragraph for --help, optional
	Examples  string // lines for the EXAMPLES section of --help
	Exit      string // lines for the EXIT STATUS section, beyond the common table
	Flags     []urfave.Flag
	Command   bool // what stands behind "--" is a command line; otherwise it is more arguments
	Action    func(*Call) error
	Complete  Completions // what a shell offers at the cursor
	// Asides are what it does for other programs, by its first argument. They have
	// no flags, and are in no help.
	Asides map[string]Aside
}

// Aside is one thing that a program does for another one.
type Aside struct {
	Args int // how many stand behind the word
	Run  func(args []string, s Streams) error
}

// Call is one invocation, its flags parsed and its arguments in order.
type Call struct {
	*urfave.Context
	Streams
	Args []string // positional arguments
	Tail []string // the command line behind "--"; nil where there is no "--"
}

// Run parses args (args[0] is the program's name), runs the action and returns
// the exit code. Flags may stand before or after arguments, up to "--". An
// error is printed on the error stream as one line and, where there is one, a
// hint.
func (a App) Run(args []string, in io.Reader, out, errOut io.Writer) int {
	s := Streams{In: in, Out: out, Err: errOut}
	if len(args) > 1 {
		switch args[1] {
		case completeWord:
			a.complete(out, args[2:])
			return Done
		case manWord:
			_, err := io.WriteString(out, a.man(args[2:]))
			return a.report(errOut, err)
		}
		if aside, ok := a.Asides[args[1]]; ok && len(args) == 2+aside.Args {
			return a.report(errOut, aside.Run(args[2:], s))
		}
	}
	flags, positional, tail, err := a.permute(args[1:])
	if err == nil {
		if !a.Command {
			positional, tail = append(positional, tail...), nil
		}
		err = a.parse(s, flags, positional, tail)
	}
	return a.report(errOut, err)
}

// Main runs the app on the process's own streams.
func (a App) Main() int {
	return a.Run(os.Args, os.Stdin, os.Stdout, os.Stderr)
}

// parse reads the flags and runs the action, or prints the help: urfave does not
// say where that cannot be written.
func (a App) parse(s Streams, flags, positional, tail []string) error {
	var help bytes.Buffer
	app := a.urfave(s, positional, tail)
	app.Writer = &help
	err := app.Run(append([]string{a.Name}, flags...))
	if _, failed := help.WriteTo(s.Out); failed != nil {
		return failed
	}
	return err
}

func (a App) urfave(s Streams, positional, tail []string) *urfave.App {
	app := urfave.NewApp()
	app.Name, app.HelpName, app.Usage, app.ArgsUsage = a.Name, a.Name, a.Usage, a.ArgsUsage
	app.Flags = a.flags()
	app.Reader, app.ErrWriter = s.In, s.Err
	app.HideHelpCommand = true
	app.HideVersion = true
	app.UseShortOptionHandling = false
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*urfave.Context, error) {} // report decides what is printed
	app.OnUsageError = func(_ *urfave.Context, err error, _ bool) error { return a.usage(err) }
	app.CustomAppHelpTemplate = a.help()
	app.Action = func(c *urfave.Context) error {
		return a.Action(&Call{Context: c, Streams: s, Args: positional, Tail: tail})
	}
	return app
}

func (a App) usage(err error) error {
	return Error{Code: Usage, Msg: err.Error(), Hint: "run " + a.Name + " --help"}
}

// report prints err as the user sees it and returns the exit code for it.
func (a App) report(w io.Writer, err error) int {
	if err == nil {
		return Done
	}
	var quiet Status
	if errors.As(err, &quiet) {
		return int(quiet)
	}
	Tell(w, a.Name, err)
	var e Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Failed
}

// Tell prints an error as its user sees it: who says it, in one line, and what
// mends it in another one where that is known.
func Tell(w io.Writer, who string, err error) {
	fmt.Fprintf(w, "%s: %s\n", who, Inert(firstLine(err)))
	var e Error
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", Inert(e.Hint))
	}
}

// firstLine folds an error into one line: engines answer with several.
func firstLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// permute splits argv into flags, positionals and what stands behind "--", so
// that `bottle-approve ID --reject` rejects: urfave/cli alone stops reading
// flags at the first positional. Flags come out under their first names: of a
// repeated one, the last counts.
func (a App) permute(argv []string) (flags, positional, tail []string, err error) {
	known := a.known()
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--" {
			return flags, positional, append([]string{}, argv[i+1:]...), nil
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			positional = append(positional, arg)
			continue
		}
		written, value, inline := strings.Cut(arg, "=")
		flag, ok := known[bare(written)]
		if !ok {
			return nil, nil, nil, Error{Code: Usage, Msg: "there is no flag " + written, Hint: a.near(bare(written)) + "run " + a.Name + " --help"}
		}
		switch {
		case inline:
			flags = append(flags, "--"+flag.name+"="+value)
		case !flag.takesValue:
			flags = append(flags, "--"+flag.name)
		case i+1 == len(argv):
			return nil, nil, nil, Error{Code: Usage, Msg: fmt.Sprintf("%s needs a value", arg), Hint: "write " + arg + " VALUE"}
		default:
			i++
			// A word that was forgotten must not make a value of the next flag.
			if name, _, _ := strings.Cut(argv[i], "="); strings.HasPrefix(name, "-") && known[bare(name)].name != "" {
				return nil, nil, nil, Error{Code: Usage, Msg: fmt.Sprintf("%s needs a value, and %s is a flag", arg, name), Hint: fmt.Sprintf("write %s=%s where that is meant", arg, argv[i])}
			}
			flags = append(flags, "--"+flag.name+"="+argv[i])
		}
	}
	return flags, positional, nil, nil
}

// alike is how alike names are, by Jaro and Winkler, of which one may be meant by
// the other: letters that changed places, one that lacks, a beginning.
const alike = 0.8

// near is what a hint begins with where a flag was perhaps meant by what is none.
func (a App) near(written string) string {
	best, likest := "", alike
	for _, f := range a.flags() {
		for _, name := range f.Names() {
			if like := smetrics.JaroWinkler(name, written, 0.7, 4); like > likest && len(name) > 1 {
				best, likest = "perhaps --"+name+"; ", like
			}
		}
	}
	return best
}

// bare is what a flag is called, without its dashes.
func bare(written string) string { return strings.TrimPrefix(strings.TrimPrefix(written, "-"), "-") }

type flag struct {
	name       string // the first of its names
	takesValue bool
}

// flags are the program's own, and --help.
func (a App) flags() []urfave.Flag {
	for _, f := range a.Flags {
		if b, ok := f.(*urfave.BoolFlag); ok {
			b.DisableDefaultText = true // "(default: false)" at every switch tells nobody anything
		}
	}
	return append(slices.Clone(a.Flags), urfave.HelpFlag)
}

// known are the flags by all of their names.
func (a App) known() map[string]flag {
	known := map[string]flag{}
	for _, f := range a.flags() {
		_, boolean := f.(*urfave.BoolFlag)
		for _, name := range f.Names() {
			known[name] = flag{f.Names()[0], !boolean}
		}
	}
	return known
}

// Libexec returns the directory of the programs that run in containers and of
// the scripts: ../libexec/bottle beside the running program's bin directory, or
// $BOTTLE_LIBEXEC.
func Libexec() (string, error) {
	if dir := os.Getenv("BOTTLE_LIBEXEC"); dir != "" {
		return filepath.Abs(dir)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find this program's own path: %w", err)
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return "", fmt.Errorf("cannot resolve this program's own path: %w", err)
	}
	return filepath.Join(filepath.Dir(filepath.Dir(exe)), "libexec", "bottle"), nil
}

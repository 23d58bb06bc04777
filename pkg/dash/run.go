package dash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/nsf/termbox-go"

	"bottle/pkg/tmux"
)

// Options are what the operator may choose.
type Options struct {
	NoJump  bool // a new proposal does not move the focus
	NoColor bool
}

// stamped is an event and when it came about, which may be before the screen was
// drawn that it seems to answer.
type stamped struct {
	at    time.Time
	event any
}

type edge struct {
	state   *State
	options Options
	ctx     context.Context
	events  chan stamped
	polled  chan struct{} // closed when the terminal is no longer read
	signals chan os.Signal
	held    []stamped // events that came while the terminal was handed over
}

// Show shows the dashboard on the terminal until the operator leaves it or the
// terminal goes away.
func Show(o Options) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := &edge{options: o, ctx: ctx, events: make(chan stamped, 256), signals: make(chan os.Signal, 4)}
	pane := ""
	if os.Getenv("TMUX") != "" {
		pane = os.Getenv("TMUX_PANE")
	}
	e.state = New(pane)
	e.state.NoJump = o.NoJump
	for _, name := range tmux.Kept {
		if value, ok := os.LookupEnv(name); ok {
			e.state.Env = append(e.state.Env, name+"="+value)
		}
	}
	// SIGINT is for whom has the terminal; the dashboard reads it as a key.
	signal.Notify(e.signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGQUIT, os.Interrupt)
	if err := e.open(); err != nil {
		return err
	}
	defer termbox.Close()
	if pane != "" {
		e.tmux(tmux.MarkDash(pane, true))
		defer e.tmux(tmux.MarkDash(pane, false))
	}
	watchAll(ctx, pane != "", e.tell)
	return e.loop()
}

func (e *edge) tmux(argv []string) {
	// It is advice to key bindings, and not worth a word where it fails.
	_ = exec.Command(argv[0], argv[1:]...).Run()
}

func (e *edge) tell(event any) {
	select {
	case e.events <- stamped{time.Now(), event}:
	case <-e.ctx.Done():
	}
}

// open takes the terminal.
func (e *edge) open() error {
	if err := termbox.Init(); err != nil {
		return fmt.Errorf("cannot use this terminal: %w", err)
	}
	termbox.SetInputMode(termbox.InputEsc)
	termbox.HideCursor()
	w, h := termbox.Size()
	e.update(stamped{time.Now(), Resize{w, h}})
	e.polled = make(chan struct{})
	go e.poll(e.polled)
	return nil
}

func (e *edge) poll(over chan struct{}) {
	defer close(over)
	for {
		switch ev := termbox.PollEvent(); ev.Type {
		case termbox.EventInterrupt:
			return
		case termbox.EventError: // the terminal is gone
			e.tell(Quit{})
			return
		case termbox.EventResize:
			e.tell(Resize{ev.Width, ev.Height})
		case termbox.EventKey:
			if k := keyOf(ev); k != "" {
				e.tell(Key(k))
			}
		}
	}
}

// close gives the terminal back.
func (e *edge) close() {
	go termbox.Interrupt()
	for done := false; !done; {
		select {
		case <-e.polled:
			done = true
		case s := <-e.events: // make room for who holds the last key
			e.held = append(e.held, s)
		}
	}
	termbox.Close()
}

func (e *edge) loop() error {
	for {
		e.draw()
		var wake <-chan time.Time
		if at := e.state.Wake(); !at.IsZero() {
			wake = time.After(max(time.Until(at), time.Millisecond))
		}
		select {
		case s := <-e.signals:
			if s != os.Interrupt {
				return nil
			}
		case s := <-e.events:
			if e.update(s) {
				return nil
			}
		case <-wake:
			e.update(stamped{time.Now(), Tick{}})
		}
		for len(e.held) > 0 {
			s := e.held[0]
			e.held = e.held[1:]
			if e.update(s) {
				return nil
			}
		}
		// A burst is one frame.
		for more := true; more; {
			select {
			case s := <-e.events:
				if e.update(s) {
					return nil
				}
			default:
				more = false
			}
		}
	}
}

// update takes one event in and does what it leads to; true: it is over.
func (e *edge) update(s stamped) (over bool) {
	if _, gone := s.event.(Quit); gone {
		return true
	}
	for _, effect := range e.state.Update(s.at, s.event) {
		switch effect := effect.(type) {
		case Quit:
			return true
		case Bell:
			os.Stdout.WriteString("\a") // termbox keeps no state that it could harm
		case Suspend:
			e.suspend()
		case Run:
			if effect.Foreground {
				e.foreground(effect)
				continue
			}
			go func() { e.tell(finish(e.ctx, effect)) }()
		}
	}
	return false
}

// foreground hands the terminal to a program until that ends.
func (e *edge) foreground(r Run) {
	e.close()
	cmd := exec.Command(r.Argv[0], r.Argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	d := Done{Run: r}
	if cmd.ProcessState != nil {
		d.Code = cmd.ProcessState.ExitCode()
	}
	if err != nil {
		said := oneLine(r.Argv[0], "", err)
		if !left(d.Code) {
			d.Err = said
		}
		if d.Err != "" || r.Job == Edit { // it says where it keeps what was typed
			e.pause(said)
		}
	}
	e.reopen()
	e.update(stamped{time.Now(), d})
}

// pause leaves on the terminal what a program said there that failed, until it
// was read.
func (e *edge) pause(text string) {
	fmt.Fprintf(os.Stdout, "%s: press Enter to go back ", text)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for key := []byte{0}; key[0] != '\n'; {
			if n, err := os.Stdin.Read(key); n == 0 || err != nil {
				return // the terminal is gone
			}
		}
	}()
	for {
		select {
		case <-read:
			return
		case s := <-e.signals:
			if s != os.Interrupt {
				e.held = append(e.held, stamped{time.Now(), Quit{}})
				return
			}
		}
	}
}

func (e *edge) suspend() {
	e.close()
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	// A child that is stopped between its fork and its exec would keep this program from
	// stopping, and the shell waiting for that.
	syscall.ForkLock.Lock()
	err := syscall.Kill(0, syscall.SIGTSTP)
	syscall.ForkLock.Unlock()
	if err == nil {
		select { // where nothing can wake it, the signal is ignored
		case <-goesOn:
		case <-time.After(time.Second):
		}
	}
	e.reopen()
}

func (e *edge) reopen() {
	if err := e.open(); err != nil {
		e.tell(Quit{})
		return
	}
	e.update(stamped{time.Now(), Back{}})
}

func (e *edge) draw() {
	screen := e.state.View()
	for y := range screen.H {
		for x := range screen.W {
			c := screen.Cells[y*screen.W+x]
			termbox.SetCell(x, y, c.Ch, attribute(c.Style, e.options.NoColor), termbox.ColorDefault)
		}
	}
	termbox.Flush() // an error is told by the next event
}

func attribute(s Style, plain bool) termbox.Attribute {
	a := termbox.ColorDefault
	if !plain {
		switch {
		case s&Green != 0:
			a = termbox.ColorGreen
		case s&Red != 0:
			a = termbox.ColorRed
		}
	}
	for style, attr := range map[Style]termbox.Attribute{Bold: termbox.AttrBold, Reverse: termbox.AttrReverse, Dim: termbox.AttrDim} {
		if s&style != 0 {
			a |= attr
		}
	}
	return a
}

var named = map[termbox.Key]string{
	termbox.KeyEnter: "enter", termbox.KeyCtrlJ: "enter", termbox.KeyEsc: "esc", termbox.KeyTab: "tab", termbox.KeySpace: " ",
	termbox.KeyArrowUp: "up", termbox.KeyArrowDown: "down", termbox.KeyPgup: "pgup", termbox.KeyPgdn: "pgdn",
	termbox.KeyHome: "home", termbox.KeyEnd: "end", termbox.KeyBackspace: "backspace", termbox.KeyBackspace2: "backspace",
	termbox.KeyCtrlC: "ctrl-c", termbox.KeyCtrlD: "ctrl-d", termbox.KeyCtrlU: "ctrl-u", termbox.KeyCtrlZ: "ctrl-z",
}

// keyOf names a key; one that has no meaning is "other", since it is a sign of
// hands all the same.
func keyOf(ev termbox.Event) string {
	if ev.Ch != 0 {
		return string(ev.Ch)
	}
	if name, ok := named[ev.Key]; ok {
		return name
	}
	return "other"
}

// Package tmux is tmux as a value: command lines and the configuration of the
// session in the agent's container, all pure. It runs nothing.
package tmux

import (
	_ "embed"
	"strconv"
	"strings"
)

// Session is the name of the one session in a container.
const Session = "main"

//go:embed session.conf
var config string

// Config returns the configuration of the session's server. What runs in it
// sees TERM=term.
func Config(term string) string {
	return config + "set -g default-terminal " + quote(term) + "\n"
}

// Tells has the session's server run a program when what runs in it rings the
// bell, and when it gives itself another title. bell and title are command
// lines for a shell.
func Tells(bell, title string) string {
	hook := func(event, command string) string {
		return "set-hook -g " + event + " " + quote("run-shell -b "+quote(Literal(command))) + "\n"
	}
	return "setw -g monitor-bell on\n" + hook("alert-bell", bell) + hook("pane-title-changed", title)
}

// Copies has the session's server give what is selected to a program's standard
// input. It is a command line for a shell.
func Copies(program string) string { return "set -g @copy " + quote(program) + "\n" }

// Server names a tmux server of its own: its socket and its configuration.
type Server struct {
	Socket string
	Conf   string
}

func (s Server) args(command ...string) []string {
	return append([]string{"tmux", "-u", "-S", s.Socket, "-f", s.Conf}, command...)
}

// New starts the server and its session, which runs argv in dir. tmux runs
// several arguments as they are and a single one by a shell: give two or more.
func (s Server) New(cols, rows int, dir string, argv ...string) []string {
	a := s.args("new-session", "-d", "-s", Session, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows),
		"-c", Literal(dir), "--")
	for _, arg := range argv {
		a = append(a, Argument(arg))
	}
	return a
}

// Attach shows the session on the terminal that it is run on.
func (s Server) Attach() []string { return s.args("attach-session", "-t", "="+Session) }

// Has ends with 0 where the session lives.
func (s Server) Has() []string { return s.args("has-session", "-t", "="+Session) }

// Kill ends the server.
func (s Server) Kill() []string { return s.args("kill-server") }

// Paste pastes the text on standard input. buffer is a name for that moment. A paste
// goes to the program even while somebody scrolls.
func (s Server) Paste(buffer string) []string {
	return s.args("load-buffer", "-b", buffer, "-", ";", "paste-buffer", "-p", "-d", "-b", buffer, "-t", "="+Session+":")
}

// Enter gives the program a newline as a key of its own.
func (s Server) Enter(buffer string) []string {
	return s.args("set-buffer", "-b", buffer, "\n", ";", "paste-buffer", "-d", "-b", buffer, "-t", "="+Session+":")
}

// Capture prints the screen with its colours.
func (s Server) Capture() []string {
	return s.args("capture-pane", "-p", "-e", "-t", "="+Session+":")
}

// History prints what has scrolled off the screen, and the screen, with its colours
// or without.
func (s Server) History(colours bool) []string {
	argv := s.args("capture-pane", "-p", "-S", "-", "-t", "="+Session+":")
	if colours {
		argv = append(argv, "-e")
	}
	return argv
}

// ClearHistory forgets what has scrolled off the screen.
func (s Server) ClearHistory() []string { return s.args("clear-history", "-t", "="+Session+":") }

// ServerPID prints the process ID of the server.
func (s Server) ServerPID() []string {
	return s.args("display-message", "-p", "-t", "="+Session+":", "#{pid}")
}

// PanePID prints the process ID of what the session runs.
func (s Server) PanePID() []string {
	return s.args("display-message", "-p", "-t", "="+Session+":", "#{pane_pid}")
}

// PaneTTY prints the name of the terminal that the session's program has.
func (s Server) PaneTTY() []string {
	return s.args("display-message", "-p", "-t", "="+Session+":", "#{pane_tty}")
}

// Literal doubles what starts a format (#{…}, #(command)), for places where
// tmux expands formats.
func Literal(text string) string { return strings.ReplaceAll(text, "#", "##") }

// Argument protects an argument that ends in a semicolon, which would end the
// tmux command.
func Argument(arg string) string {
	if strings.HasSuffix(arg, ";") {
		return arg[:len(arg)-1] + `\;`
	}
	return arg
}

func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

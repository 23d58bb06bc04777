package gitgate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bottle/pkg/bottle"
)

// command is one ref of a push, and what becomes of it.
type command struct {
	bottle.PushUpdate
	reason string // why it is refused; empty: it is not
}

// request is what a client asks for before its pack.
type request struct {
	commands []*command
	side     bool // it takes a stream of messages beside the answer
	report   bool // it wants to know what became of its refs
}

const (
	maxCommands = 1000    // refs of one push
	maxLine     = 65520   // of a packet, with its length
	maxHead     = 1 << 20 // bytes of all commands
)

var (
	errFormat   = errors.New("the request is not git's")
	errCommands = fmt.Errorf("more than %d refs in one push", maxCommands)
)

// capabilities are what a push may make use of. Deletions are among it so that a
// client hears why they are refused.
func capabilities(format string) string {
	return "report-status delete-refs side-band-64k ofs-delta atomic object-format=" + format + " agent=git-gate"
}

// readPacket reads one packet; a flush is nil.
func readPacket(r *bufio.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	n, err := strconv.ParseUint(string(size[:]), 16, 16)
	switch {
	case err != nil || n > maxLine || n != 0 && n <= 4:
		return nil, fmt.Errorf("%w: a packet of length %q", errFormat, size)
	case n == 0:
		return nil, nil
	}
	data := make([]byte, n-4)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	return data, nil
}

// readRequest reads the commands of a push, up to its pack. A request without
// any is how a client asks whether it may speak.
func readRequest(r *bufio.Reader, format string) (request, error) {
	var q request
	seen := map[string]bool{}
	for total := 0; ; {
		data, err := readPacket(r)
		if err != nil || data == nil {
			return q, err
		}
		if total += len(data); total > maxHead {
			return q, errCommands
		}
		line, caps, first := strings.Cut(string(data), "\x00")
		line = strings.TrimSuffix(line, "\n")
		if id, shallow := strings.CutPrefix(line, "shallow "); shallow && isID(id) {
			continue // what a push leaves out must be here already, whatever the client has
		}
		if first != (len(q.commands) == 0) {
			return q, errFormat
		}
		if first {
			if err := q.take(caps, format); err != nil {
				return q, err
			}
		}
		f := strings.SplitN(line, " ", 3)
		width := idLength(format)
		if len(f) != 3 || !isID(f[0]) || !isID(f[1]) || len(f[0]) != width || len(f[1]) != width || isZero(f[0]) && isZero(f[1]) || seen[f[2]] {
			return q, errFormat
		}
		seen[f[2]] = true
		if len(q.commands) == maxCommands {
			return q, errCommands
		}
		q.commands = append(q.commands, &command{PushUpdate: bottle.PushUpdate{Ref: f[2], Old: f[0], New: f[1]}})
	}
}

func idLength(format string) int {
	if format == formatSHA256 {
		return 64
	}
	return 40
}

const (
	formatSHA1   = "sha1"
	formatSHA256 = "sha256"
)

// take reads what the client makes use of.
func (q *request) take(caps, format string) error {
	is := formatSHA1
	for c := range strings.FieldsSeq(caps) {
		switch {
		case c == "side-band-64k":
			q.side = true
		case c == "report-status":
			q.report = true
		case strings.HasPrefix(c, "object-format="):
			is = strings.TrimPrefix(c, "object-format=")
		case c == "push-options" || strings.HasPrefix(c, "push-cert"):
			return fmt.Errorf("%w: %s is not offered", errFormat, c)
		}
	}
	if is != format {
		return fmt.Errorf("%w: the objects here are %s", errFormat, format)
	}
	return nil
}

// answer writes what a client hears of its push.
type answer struct {
	w     io.Writer
	flush func()
	side  bool
}

// say tells the person behind the client something: one line or more.
func (a *answer) say(format string, args ...any) {
	if !a.side {
		return
	}
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		a.packet(append([]byte{2}, strings.TrimSuffix(line, "\n")+"\n"...))
	}
	a.flush()
}

func (a *answer) packet(data []byte) {
	fmt.Fprintf(a.w, "%04x", len(data)+4)
	a.w.Write(data)
}

// report tells what became of the pack and of each ref.
func (a *answer) report(unpacked string, commands []*command) {
	var b strings.Builder
	line := func(s string) { fmt.Fprintf(&b, "%04x%s", len(s)+4, s) }
	line("unpack " + unpacked + "\n")
	for _, c := range commands {
		if c.reason == "" && unpacked == unpackedOK {
			line("ok " + c.Ref + "\n")
			continue
		}
		reason := c.reason
		if reason == "" {
			reason = unpackFailed
		}
		line("ng " + inert(c.Ref) + " " + inert(reason) + "\n")
	}
	b.WriteString("0000")
	if !a.side {
		io.WriteString(a.w, b.String())
		a.flush()
		return
	}
	for text := b.String(); text != ""; {
		n := min(len(text), 60000)
		a.packet(append([]byte{1}, text[:n]...))
		text = text[n:]
	}
	io.WriteString(a.w, "0000")
	a.flush()
}

const (
	unpackedOK   = "ok"
	unpackFailed = "unpacker error"
)

package inside

import (
	"fmt"
	"io"
	"os"
	"time"

	"bottle/pkg/frame"
)

// A selection is waited for, since tmux has yet to read the end of it; one that
// nobody fetched grows old.
const (
	selectTime = time.Second
	selectOld  = 5 * time.Second
)

// Selected keeps what was selected, for whoever fetches it. What is too much for
// a clipboard is nothing.
func Selected(_ []string, in io.Reader, _, errOut io.Writer) int {
	text, err := io.ReadAll(io.LimitReader(in, frame.MaxSelection+1))
	if err != nil {
		return complain(errOut, fmt.Errorf("cannot read what was selected: %w", err))
	}
	if err := theSession().replace(fileSelect, text); err != nil {
		return complain(errOut, err)
	}
	return 0
}

// Selection prints what was selected a moment ago, and forgets it; nothing where
// that was nothing.
func Selection(_ []string, _ io.Reader, out, errOut io.Writer) int {
	s := theSession()
	var text []byte
	looked(selectTime, func() bool {
		info, err := os.Stat(s.path(fileSelect))
		if err != nil || time.Since(info.ModTime()) > selectOld {
			return false
		}
		text, err = os.ReadFile(s.path(fileSelect))
		return err == nil
	})
	os.Remove(s.path(fileSelect))
	if _, err := out.Write(text); err != nil {
		return complain(errOut, err)
	}
	return 0
}

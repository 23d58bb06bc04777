package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"bottle/pkg/cli"
)

// errorLead begins the lines in which an editor is told what was wrong.
const errorLead = "#! "

// Edit shows a text in the operator's editor ($VISUAL, $EDITOR, vi), gives what
// he made of it to use, where that is another one, and says whether it is. What
// check does not take opens the editor again, with the error on top; the same text
// twice is the end of it, and so is a mistake where nobody sits before a terminal.
// Another text stays in its file where an error is returned, and s.Err is told so.
func Edit(ctx context.Context, s cli.Streams, name string, text []byte, check, use func([]byte) error) (changed bool, err error) {
	dir, err := os.MkdirTemp("", "bottle-edit-")
	if err != nil {
		return false, fmt.Errorf("cannot edit: %w", err)
	}
	file := filepath.Join(dir, name)
	defer func() {
		if err == nil || !differs(file, text) {
			os.RemoveAll(dir)
			return
		}
		fmt.Fprintf(s.Err, "note: what was edited is kept in %s\n", file)
	}()
	edited, err := untilTaken(ctx, s, file, text, check)
	if err != nil || bytes.Equal(edited, text) {
		return false, err
	}
	return true, use(edited)
}

// differs says whether a file holds another text than it began with.
func differs(file string, text []byte) bool {
	saved, err := os.ReadFile(file)
	return err == nil && !bytes.Equal(withoutErrors(saved), text)
}

// untilTaken has the file edited until check takes it.
func untilTaken(ctx context.Context, s cli.Streams, file string, text []byte, check func([]byte) error) ([]byte, error) {
	shown := text
	for {
		if err := os.WriteFile(file, shown, 0o600); err != nil {
			return nil, fmt.Errorf("cannot edit: %w", err)
		}
		if err := editor(ctx, s, file); err != nil {
			return nil, err
		}
		saved, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read what was edited: %w", err)
		}
		edited := withoutErrors(saved)
		wrong := check(edited)
		if wrong == nil {
			return edited, nil
		}
		if bytes.Equal(edited, text) {
			return nil, wrong
		}
		if bytes.Equal(edited, withoutErrors(shown)) || !s.CanAsk() {
			return nil, cli.Error{Code: cli.Failed, Msg: "what was edited cannot be taken: " + wrong.Error(), Hint: "nothing was changed"}
		}
		shown = append([]byte(errorLead+strings.ReplaceAll(cli.Inert(wrong.Error()), "\n", " ")+"\n"), edited...)
	}
}

func withoutErrors(text []byte) []byte {
	for bytes.HasPrefix(text, []byte(errorLead)) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}

// editor runs the operator's editor, which is a command line of his own.
func editor(ctx context.Context, s cli.Streams, file string) error {
	line := os.Getenv("VISUAL")
	if line == "" {
		line = os.Getenv("EDITOR")
	}
	if line == "" {
		line = "vi"
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line+` "$1"`, "sh", file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Err, s.Err // stdout is the answer
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return cli.Error{Code: cli.Interrupted, Msg: "interrupted"}
	case errors.As(err, &exit):
		return cli.Error{Code: cli.Declined, Msg: fmt.Sprintf("the editor ended with status %d: nothing was changed", exit.ExitCode())}
	case err != nil:
		return fmt.Errorf("cannot run the editor: %w", err)
	}
	return nil
}

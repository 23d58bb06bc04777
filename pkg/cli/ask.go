package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/manifoldco/promptui"
)

// Confirm asks question on stderr and returns whether the answer was yes. An
// empty answer is no; when ctx ends, the error is Status(Interrupted). Call it
// only where CanAsk.
func (s Streams) Confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(s.Input(ctx)).ReadString('\n')
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(s.Err)
		return false, Status(Interrupted)
	case errors.Is(err, io.EOF):
		fmt.Fprintln(s.Err)
	case err != nil:
		return false, fmt.Errorf("cannot read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// Input is the standard input until ctx ends: a read that waits for a person
// then fails with the context's error.
func (s Streams) Input(ctx context.Context) io.Reader { return input{ctx, s.In} }

type input struct {
	ctx context.Context
	in  io.Reader
}

func (i input) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	buf, done := make([]byte, len(p)), make(chan result, 1)
	go func() {
		n, err := i.in.Read(buf)
		done <- result{n, err}
	}()
	select {
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	}
}

// Pick lets a person choose one of rows on the terminal; it returns the index.
// promptui draws on stdout, rings the bell at every arrow key, and loses count
// of its lines where one is wider than the terminal. Call it only where CanAsk.
func (s Streams) Pick(label string, rows [][]string) (int, error) {
	const cursor = 5 // columns that promptui draws in front, and one for the end
	items := make([]string, len(rows))
	for i, line := range align(inert(rows), 0) {
		items[i] = Fit(s.Err, line, cursor)
	}
	p := promptui.Select{Label: Fit(s.Err, label+" (arrows, / searches)", cursor), Items: items, Size: 12, HideHelp: true, Stdin: readCloser{s.In}, Stdout: noBell{s.Err},
		StartInSearchMode: false, Searcher: func(input string, i int) bool {
			return strings.Contains(strings.ToLower(strings.Join(rows[i], " ")), strings.ToLower(input))
		}}
	i, _, err := p.Run()
	switch {
	case errors.Is(err, promptui.ErrInterrupt):
		return 0, Status(Interrupted)
	case errors.Is(err, promptui.ErrEOF), errors.Is(err, promptui.ErrAbort):
		return 0, Error{Code: Declined, Msg: "nothing was chosen"}
	case err != nil:
		return 0, fmt.Errorf("cannot show the menu: %w", err)
	}
	return i, nil
}

type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// noBell drops BEL from what it passes on.
type noBell struct{ w io.Writer }

func (n noBell) Write(p []byte) (int, error) {
	if _, err := io.WriteString(n.w, strings.ReplaceAll(string(p), "\a", "")); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (noBell) Close() error { return nil }

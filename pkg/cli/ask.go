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
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // a read that nothing but a key ends
		line, err := bufio.NewReader(s.In).ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.Err)
		return false, Status(Interrupted)
	case a := <-answers:
		return s.judge(a.line, a.err)
	}
}

func (s Streams) judge(line string, err error) (bool, error) {
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("cannot read the answer: %w", err)
	}
	if errors.Is(err, io.EOF) {
		fmt.Fprintln(s.Err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// Pick lets a person choose one of rows on the terminal; it returns the index.
// promptui draws on stdout, rings the bell at every arrow key, and loses count
// of its lines where one is wider than the terminal. Call it only where CanAsk.
func (s Streams) Pick(label string, rows [][]string) (int, error) {
	const cursor = 5 // columns that promptui draws in front, and one for the end
	items := make([]string, len(rows))
	for i, line := range align(inert(rows)) {
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

package main

import (
	"context"
	"fmt"
	"io"

	"bottle/pkg/cli"
	"bottle/pkg/frame"
)

// maxTask is the longest first task in bytes: it may travel as one argument.
const maxTask = 100_000

// task is the agent's first task as the flag gives it.
func task(ctx context.Context, c *cli.Call) (string, error) {
	if !c.IsSet("task") {
		return "", nil
	}
	text := c.String("task")
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(c.Input(ctx), maxTask+1))
		if err != nil {
			return "", fmt.Errorf("cannot read the task: %w", err)
		}
		text = string(read)
	}
	return checkTask(text)
}

// checkTask is a task as it may be typed.
func checkTask(text string) (string, error) {
	switch text = frame.Text(text); {
	case text == "":
		return "", cli.Error{Code: cli.Usage, Msg: "the task is empty", Hint: "leave it out, or say what is to be done"}
	case len(text) > maxTask:
		return "", cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("the task is longer than %d bytes", maxTask), Hint: "put it into a file of the folder, and name that"}
	}
	return text, nil
}

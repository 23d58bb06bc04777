package main

import (
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
)

// pick asks which bottle to stop, where none was named.
func pick(c *cli.Call, known []bottle.Bottle) (string, error) {
	if len(known) == 0 {
		return "", cli.Error{Code: cli.NotFound, Msg: "there are no bottles", Hint: "bottle-start starts one"}
	}
	var rows [][]string
	for _, b := range known {
		rows = append(rows, []string{b.Slug, string(b.Status), b.StartedAt.Local().Format(time.DateTime), b.Folder})
	}
	i, err := c.Pick("stop which bottle", rows)
	if err != nil {
		return "", err
	}
	return known[i].Slug, nil
}

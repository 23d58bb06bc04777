package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"bottle/pkg/cli"
	"bottle/pkg/operator"
)

// maxOrders bounds how many bottles one call starts.
const maxOrders = 500

// order is one of several bottles that are to be started. An agent may stand in
// more than one.
type order struct {
	agent string
	task  string // empty: none
}

// readOrders are the agents of the command line or, where that is "-", those of
// standard input. Who has no task of its own gets that of --task.
func readOrders(ctx context.Context, c *cli.Call) ([]order, error) {
	all, err := task(ctx, c)
	if err != nil {
		return nil, err
	}
	var orders []order
	if c.Args[0] != "-" {
		for _, agent := range c.Args {
			orders = append(orders, order{agent, all})
		}
		return orders, nil
	}
	n := 0
	err = operator.EachLine(ctx, c, func(line string) error {
		n++
		if strings.TrimSpace(line) == "" {
			return nil
		}
		o, err := parseOrder(line, all)
		if err == nil && len(orders) == maxOrders {
			err = cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("more than %d agents", maxOrders), Hint: "start them in parts"}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		orders = append(orders, o)
		return nil
	})
	return orders, err
}

// parseOrder reads AGENT, AGENT<TAB>TASK, or a JSON object that has an agent and
// may have a task, as the lines of bottle-ls agents have one.
func parseOrder(line, otherwise string) (order, error) {
	if strings.HasPrefix(strings.TrimSpace(line), "{") {
		var doc struct {
			Agent string
			Task  *string
		}
		if json.Unmarshal([]byte(line), &doc) != nil || doc.Agent == "" {
			return order{}, cli.Error{Code: cli.Usage, Msg: "it is no JSON object with an agent", Hint: `write AGENT, AGENT<TAB>TASK, or {"agent":"…","task":"…"}`}
		}
		if doc.Task == nil {
			return order{doc.Agent, otherwise}, nil
		}
		text, err := checkTask(*doc.Task)
		return order{doc.Agent, text}, err
	}
	agent, text, has := strings.Cut(line, "\t")
	o := order{strings.TrimSpace(agent), otherwise}
	if !has {
		return o, nil
	}
	var err error
	o.task, err = checkTask(text)
	return o, err
}

package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/eventlog"
)

// printer prints events.
type printer struct {
	c      *cli.Call
	text   bool
	denied bool // nothing else
}

func newPrinter(c *cli.Call) (printer, error) {
	p := printer{c: c, denied: c.Bool("denied")}
	switch o := c.String("output"); o {
	case "json":
	case "text":
		p.text = true
	default:
		return p, cli.Error{Code: cli.Usage, Msg: fmt.Sprintf("no output format %q", o), Hint: "use -o json or -o text"}
	}
	return p, nil
}

// all prints what the sources hold.
func (p printer) all(sources []eventlog.Source, since time.Time) (bad int, err error) {
	records, bad, err := eventlog.Read(sources, since)
	if err != nil {
		return bad, err
	}
	for _, r := range records {
		if err := p.print(r); err != nil {
			return bad, err
		}
	}
	return bad, nil
}

func (p printer) print(r eventlog.Record) error {
	if p.denied && r.Verdict != "deny" {
		return nil
	}
	if !p.text {
		return cli.WriteJSON(p.c.Out, r)
	}
	_, err := fmt.Fprintln(p.c.Out, line(r))
	return err
}

// line is an event for people: when, where, what became of what, and why.
func line(r eventlog.Record) string {
	words := []string{r.Time.Local().Format("15:04:05.000"), r.Slug, r.Source, r.Kind}
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	add(r.Verdict)
	add(cmp.Or(r.Proposal, r.Grant)) // a grant has the name of its proposal
	add(r.Method)
	add(place(r))
	if r.Status != 0 {
		add(fmt.Sprint(r.Status))
	}
	if r.Recv+r.Sent > 0 {
		add(fmt.Sprintf("%d/%dB", r.Sent, r.Recv))
	}
	if r.Millis > 0 {
		add(fmt.Sprintf("%.0fms", r.Millis))
	}
	if r.Held > 0 {
		add(fmt.Sprintf("held:%.0fms", r.Held))
	}
	add(r.Rule)
	for _, why := range []string{r.Reason, r.Detail} {
		if why != "" && why != bottle.Lacking(0) { // as at every start
			add("(" + why + ")")
		}
	}
	return cli.Inert(strings.Join(words, "  "))
}

// place is what was asked for.
func place(r eventlog.Record) string {
	if r.Host == "" {
		return r.Path
	}
	s := r.Host
	if r.Scheme != "" {
		s = r.Scheme + "://" + s
	}
	if r.Port != 0 && r.Port != 443 && !(r.Port == 80 && r.Scheme == "http") {
		s += fmt.Sprintf(":%d", r.Port)
	}
	return s + r.Path
}

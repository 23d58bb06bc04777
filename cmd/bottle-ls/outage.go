package main

import "time"

// outage tells the beginnings of times without an engine from the tries in
// them: those come a few seconds apart.
type outage struct{ last time.Time }

const triesApart = 10 * time.Second

// begins says whether a failure at now is the first one.
func (o *outage) begins(now time.Time) bool {
	first := now.Sub(o.last) > triesApart
	o.last = now
	return first
}

package main

import (
	"testing"
	"time"
)

func TestAnOutageIsToldOnce(t *testing.T) {
	var o outage
	start := time.Now()
	for after, want := range []bool{true, false, false} {
		if o.begins(start.Add(time.Duration(after)*2*time.Second)) != want {
			t.Errorf("try %d: told %v", after, !want)
		}
	}
	if !o.begins(start.Add(time.Minute)) {
		t.Error("the next outage is not told")
	}
}

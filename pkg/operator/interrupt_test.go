package operator

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSignalsThatComeTogetherAreOneInterrupt(t *testing.T) {
	cases := []struct {
		name   string
		after  time.Duration
		signal os.Signal
		ends   bool
	}{
		{"at once", 0, syscall.SIGTERM, false},
		{"a little later", together - 1, os.Interrupt, false},
		{"again", together, os.Interrupt, true},
		{"the terminal is gone", together, syscall.SIGHUP, false},
	}
	for _, tc := range cases {
		synctest.Test(t, func(t *testing.T) {
			signals, over, ended := make(chan os.Signal), make(chan struct{}), make(chan bool, 1)
			said := 0
			go func() { ended <- again(signals, over, func(string) { said++ }) }()
			synctest.Wait()
			time.Sleep(tc.after)
			signals <- tc.signal
			synctest.Wait()
			close(over)
			if got := <-ended; got != tc.ends || got != (said == 1) {
				t.Errorf("%s: ended %t, said %d lines", tc.name, got, said)
			}
		})
	}
}

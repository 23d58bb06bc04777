// Package sidecar is what the mains of all sidecars share: signals, readiness,
// the log of events, and dialling that a hostile name cannot lead astray. It
// knows neither the host's state directory nor the engine, and nothing of what
// a sidecar does.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// ReadyFile appears in a sidecar's out directory when it can serve, and is
// gone while it cannot. It holds the time, RFC 3339.
const ReadyFile = "ready"

// drainTime bounds how long a sidecar that was told to stop finishes its work;
// the engine kills it some seconds later.
const drainTime = 3 * time.Second

// ErrUnchanged is what Reload returns where the files are those in force.
var ErrUnchanged = errors.New("nothing has changed")

// Service is a sidecar at work.
type Service interface {
	// Reload reads the files in the in directory again. On an error the old
	// ones stay in force.
	Reload() error
	// Failed delivers the error that ended the service by itself.
	Failed() <-chan error
	// Drain takes nothing new and finishes what is under way until ctx ends.
	Drain(ctx context.Context)
}

// Program is a sidecar's main. Start returns once the service can serve.
type Program struct {
	Name  string // the source in events
	In    string // the directory whose change reloads it, besides a signal; empty: none
	Out   string // the directory this sidecar alone writes
	Start func(*Events) (Service, error)
	// Secrets, where set, are what the host hands over at Socket.
	Secrets *Secrets
	Socket  string
}

// Run runs the program until SIGTERM or SIGINT, which drain it, or until it
// fails. SIGHUP reloads it, and so do bottle.ReloadSignal, which ends nobody who does
// not wait for it yet, and a change in its in directory. SIGUSR1 has it record what it
// holds.
func (p Program) Run() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGWINCH, syscall.SIGUSR1)
	defer signal.Stop(signals)
	return p.run(signals)
}

func (p Program) run(signals <-chan os.Signal) error {
	ready := filepath.Join(p.Out, ReadyFile)
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the old %s: %w", ReadyFile, err)
	}
	if err := spool.Sweep(p.Out); err != nil {
		return fmt.Errorf("cannot sweep %s: %w", p.Out, err)
	}
	events, err := OpenEvents(p.Out, p.Name)
	if err != nil {
		return err
	}
	defer events.Close()
	// First of all, so that no change falls between the reading and the watching.
	changes, err := watch(p.In)
	if err != nil {
		// A signal is the way; the watch only helps whoever writes the files by hand.
		events.Add(bottle.Event{Kind: "watch", Verdict: "error", Detail: err.Error()})
	}
	service, err := p.Start(events)
	if err != nil {
		events.Add(bottle.Event{Kind: "start", Verdict: "error", Detail: err.Error()})
		return err
	}
	if p.Secrets != nil {
		stop, err := p.Secrets.Listen(p.Socket)
		if err != nil {
			return err
		}
		defer stop()
	}
	events.Add(bottle.Event{Kind: "start"})
	fmt.Fprintf(os.Stderr, "%s: ready\n", p.Name) // for who reads the container's log
	if err := spool.WriteFile(ready, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return err
	}
	err = p.wait(service, signals, changes, events)
	os.Remove(ready)
	stop := bottle.Event{Kind: "stop"}
	if err != nil {
		stop.Verdict, stop.Detail = "error", err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	service.Drain(ctx)
	events.Add(stop)
	return err
}

// wait returns nil when a signal ends the service, or the error it failed with.
func (p Program) wait(service Service, signals <-chan os.Signal, changes <-chan struct{}, events *Events) error {
	reload := func() {
		e := bottle.Event{Kind: "reload"}
		switch err := service.Reload(); {
		case errors.Is(err, ErrUnchanged):
			return
		case err != nil:
			e.Verdict, e.Detail = "error", err.Error()
		}
		events.Add(e)
	}
	for {
		select {
		case err := <-service.Failed():
			return err
		case s := <-signals:
			switch s {
			case syscall.SIGHUP, syscall.SIGWINCH:
				reload()
			case syscall.SIGUSR1:
				events.Add(self())
			default:
				return nil
			}
		case <-changes:
			reload()
		}
	}
}

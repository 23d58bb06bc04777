// Command pipelock stands in for the real pipelock in tests: it reads the same
// file, as strictly, keeps to the list, opens TLS with the CA that it is given,
// refuses what holds a secret of two kinds but for the file's exceptions, and can be
// told to fail, or to take its time, by hosts on its list, and to hang by a path. It
// is no scanner.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	if len(args) != 3 || args[1] != "--config" || args[0] != "check" && args[0] != "run" {
		fmt.Fprintln(errOut, "usage: pipelock check|run --config FILE")
		return 2
	}
	c, err := load(args[2])
	if err == nil && c.lists(failCheck) && args[0] == "check" {
		err = fmt.Errorf("config validation failed: it was told to fail")
	}
	if err != nil {
		fmt.Fprintf(errOut, "pipelock: %v\n", err)
		return 1
	}
	if args[0] == "check" {
		fmt.Fprintln(out, "config is valid")
		return 0
	}
	if err := serve(args[2], c, out, errOut); err != nil {
		fmt.Fprintf(errOut, "pipelock: %v\n", err)
		return 1
	}
	return 0
}

// Hosts that on a list tell the stand-in to fail: in its check, at its start, and at
// a reload, which it then refuses whole.
const (
	failCheck  = "fail-check.test"
	failRun    = "fail-run.test"
	failReload = "fail-reload.test"
)

// waitRun on a list has it wait for SIGUSR1 when it starts, as a program that has no
// handlers yet.
const waitRun = "wait-run.test"

func serve(file string, c *config, out, errOut io.Writer) error {
	if c.lists(failRun) {
		return fmt.Errorf("it was told to fail")
	}
	if c.lists(waitRun) {
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGUSR1)
		<-told
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	p := &proxy{out: out}
	var err error
	if p.issuer, err = c.issuer(); err != nil {
		return err
	}
	if p.roots, err = roots(); err != nil {
		return err
	}
	var current atomic.Pointer[config]
	current.Store(c)
	p.config = current.Load
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	l, err := net.Listen("tcp", c.Fetch.Listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	p.note("started", "")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			fresh, err := load(file)
			if err == nil && fresh.lists(failReload) {
				err = fmt.Errorf("strict mode refuses it")
			}
			if err != nil {
				fmt.Fprintf(errOut, "pipelock: config reload failed: %v\n", err)
				continue
			}
			current.Store(fresh)
			p.note("reloaded", "")
		}
	}
}

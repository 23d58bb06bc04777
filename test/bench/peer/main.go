// Command peer is both ends of what the benchmarks send through a proxy: the
// server, and the clients that measure. Each runs as a process of its own.
//
//	peer server CA-DIR          serves https://localhost:PORT; prints PORT
//	peer load MODE FLAGS        asks it, by way of a proxy or not; prints a JSON result
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "server":
		return serve(args[1])
	case len(args) >= 2 && args[0] == "load":
		r, err := load(args[1], args[2:])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return fmt.Errorf("the arguments %q are none of mine", args)
}

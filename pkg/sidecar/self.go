package sidecar

import (
	"fmt"
	"os"
	"runtime"

	"bottle/pkg/bottle"
)

// self is what a sidecar tells of itself when it is sent SIGUSR1: how much it
// holds when it is swept clean. An operator who sees one grow asks it so.
func self() bottle.Event {
	descriptors := -1 // unknown
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		descriptors = len(list) - 1 // without the one that lists them
	}
	resident := 0 // pages
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		fmt.Sscanf(string(text), "%d %d", new(int), &resident)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return bottle.Event{Kind: "self", Detail: fmt.Sprintf("goroutines %d, descriptors %d, heap %d bytes, resident %d bytes",
		runtime.NumGoroutine(), descriptors, m.HeapAlloc, resident*os.Getpagesize())}
}

package rig

import (
	"strings"
	"testing"
)

func TestOfAStuckEngineTheWaitForNetworksIsShown(t *testing.T) {
	const stacks = `goroutine 1 [running]:
main.main()
	/x/main.go:1 +0x1

goroutine 2 [semacquire, 17 minutes]:
sync.runtime_SemacquireMutex(0xc000)
	/usr/lib/go/src/runtime/sema.go:71 +0x25
sync.(*Mutex).Lock(0xc001)
	/usr/lib/go/src/sync/mutex.go:138 +0x1
github.com/docker/libnetwork.(*network).ID(0xc002)
	/x/network.go:300 +0x1

goroutine 3 [semacquire]:
sync.(*Mutex).Lock(0xc001)
	/usr/lib/go/src/sync/mutex.go:138 +0x1
github.com/docker/docker/daemon.(*Daemon).Start(0xc002)
	/x/start.go:300 +0x1
`
	got := aboutNetworks([]byte(stacks))
	if !strings.HasPrefix(got, "goroutine 2 [semacquire, 17 minutes]:\n") || !strings.Contains(got, "network).ID") || strings.Count(got, "goroutine") != 1 {
		t.Errorf("%s", got)
	}
	all := aboutNetworks([]byte(strings.Repeat(stacks+"\n", 100)))
	if n := strings.Count(all, "goroutine"); n == 0 || n > 20 {
		t.Errorf("%d stacks are told", n)
	}
}

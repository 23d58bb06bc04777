//go:build ignore

// Writes seccomp.json from the profile that Docker ships.
package main

import (
	"encoding/json"
	"log"
	"os"
	"slices"

	"github.com/docker/docker/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// dropped are calls that Docker allows and no coding agent needs.
var dropped = []string{"io_uring_setup", "io_uring_enter", "io_uring_register", "socket", "socketcall",
	"clone", "clone3", "personality"}

const (
	unixFamily, inet, inet6, netlink = 1, 2, 10, 16
	newNamespaces                    = 0x7E020000 // CLONE_NEW*: of clone(2)
)

func main() {
	p := seccomp.DefaultProfile()
	var names []string
	for _, s := range p.Syscalls {
		conditional := s.Includes != nil && (len(s.Includes.Caps) > 0 || len(s.Includes.Arches) > 0)
		if s.Action != specs.ActAllow || conditional || len(s.Args) > 0 {
			continue
		}
		for _, n := range s.Names {
			if !slices.Contains(dropped, n) {
				names = append(names, n)
			}
		}
	}
	names = append(names, "arch_prctl", "modify_ldt") // Docker has these for amd64 only
	slices.Sort(names)
	out := map[string]any{
		"defaultAction":   "SCMP_ACT_ERRNO",
		"defaultErrnoRet": 1,
		// No 32-bit calls: socketcall's arguments are out of a filter's sight.
		"archMap": []any{
			map[string]any{"architecture": "SCMP_ARCH_X86_64"},
			map[string]any{"architecture": "SCMP_ARCH_AARCH64"},
		},
		"syscalls": append(rules(), allow(slices.Compact(names))),
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("seccomp.json", append(data, '\n'), 0o644); err != nil {
		log.Fatal(err)
	}
}

func allow(names []string, args ...map[string]any) map[string]any {
	r := map[string]any{"names": names, "action": "SCMP_ACT_ALLOW"}
	if args != nil {
		r["args"] = args
	}
	return r
}

func is(index int, value uint64) map[string]any {
	return map[string]any{"index": index, "value": value, "op": "SCMP_CMP_EQ"}
}

func masked(index int, mask, value uint64) map[string]any {
	return map[string]any{"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
}

func rules() []any {
	list := []any{
		// clone3's flags are behind a pointer, so it does not exist: libc then uses clone.
		map[string]any{"names": []string{"clone3"}, "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
		allow([]string{"clone"}, masked(0, newNamespaces, 0)),
		allow([]string{"socket"}, is(0, unixFamily)),
		// Of netlink the routing family alone: it is how libc learns the interfaces.
		allow([]string{"socket"}, is(0, netlink), is(2, 0)),
	}
	for _, family := range []uint64{inet, inet6} {
		for _, protocol := range []uint64{0, 6, 17} { // any, TCP, UDP: no ICMP, no raw ones
			list = append(list, allow([]string{"socket"}, is(0, family), is(2, protocol)))
		}
	}
	for _, persona := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		list = append(list, allow([]string{"personality"}, is(0, persona)))
	}
	return list
}

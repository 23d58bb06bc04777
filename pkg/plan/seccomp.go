package plan

import _ "embed"

//go:generate go run seccomp_gen.go

//go:embed seccomp.json
var seccomp []byte

// Seccomp returns the profile of all containers of a bottle, in the engine's
// format: the system calls that Docker's own profile allows to a container
// without capabilities, less those that lead out of a bottle (raw, packet,
// vsock, netlink-beyond-route and crypto sockets, io_uring, new namespaces).
func Seccomp() []byte { return seccomp }

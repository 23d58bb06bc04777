package spool

import "syscall"

const (
	// nonblock keeps the opening of a FIFO from waiting for its other end.
	nonblock = syscall.O_NONBLOCK
	// nofollow opens no symlink; errLink is its error.
	nofollow = syscall.O_NOFOLLOW
	errLink  = syscall.ELOOP
)

package egress

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawIO reads and writes a TCP connection by system calls that Go's scheduler is
// not told of. A call that it is told of loses its processor to another thread
// after 20 µs, and another thread wakes as often to look. Calls on a socket that
// never blocks do not need that: they take so long only where another process
// has the core, and then the change of threads comes on top. Waiting is left to
// the scheduler, deadlines included.
//
// One goroutine may read at a time, one write, and one ask whether it is quiet.
type rawIO struct {
	conn    *net.TCPConn
	fd      syscall.RawConn
	in, out transfer
	peeked  [1]byte
	calm    bool // there was nothing to peek at, and no end
	// What is done with the descriptor, made once for a connection.
	readNow, writeNow func(fd uintptr) (done bool)
	peekNow           func(fd uintptr)
}

// transfer is one call of Read or Write.
type transfer struct {
	buf []byte
	n   int
	err syscall.Errno
}

func newRawIO(conn *net.TCPConn) *rawIO {
	fd, _ := conn.SyscallConn() // it fails for nil alone
	r := &rawIO{conn: conn, fd: fd}
	r.readNow = func(fd uintptr) bool {
		r.in.step(unix.SYS_RECVFROM, fd, 0)
		return r.in.err != unix.EAGAIN
	}
	r.writeNow = func(fd uintptr) bool {
		for r.out.n < len(r.out.buf) {
			if r.out.step(unix.SYS_SENDTO, fd, unix.MSG_NOSIGNAL); r.out.err != 0 {
				return r.out.err != unix.EAGAIN
			}
		}
		return true
	}
	r.peekNow = func(fd uintptr) {
		peek := transfer{buf: r.peeked[:]}
		peek.step(unix.SYS_RECVFROM, fd, unix.MSG_PEEK)
		r.calm = peek.err == unix.EAGAIN
	}
	return r
}

// quiet says whether nothing has come in, and the other side has closed nothing.
func (r *rawIO) quiet() bool { return r.fd.Control(r.peekNow) == nil && r.calm }

// step makes one system call for what is left of buf: recvfrom or sendto, which
// cost less than read and write, since those know files too.
func (t *transfer) step(call, fd, flags uintptr) {
	left := t.buf[t.n:]
	for {
		n, _, err := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(left))), uintptr(len(left)), flags, 0, 0)
		if t.err = err; err == 0 {
			t.n += int(n)
		}
		if err != unix.EINTR {
			return
		}
	}
}

func (r *rawIO) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.in = transfer{buf: p}
	err := r.fd.Read(r.readNow)
	n, err := r.in.end("read", r.conn, err)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (r *rawIO) Write(p []byte) (int, error) {
	r.out = transfer{buf: p}
	err := r.fd.Write(r.writeNow)
	return r.out.end("write", r.conn, err)
}

// end returns how far it came, and an error as the net package words it. err is
// that of waiting.
func (t *transfer) end(op string, conn *net.TCPConn, err error) (int, error) {
	t.buf = nil
	if wait, ok := err.(*net.OpError); ok {
		err = wait.Err
	} else if err == nil && t.err != 0 {
		err = os.NewSyscallError(op, t.err)
	}
	if err != nil {
		err = &net.OpError{Op: op, Net: "tcp", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
	}
	return t.n, err
}

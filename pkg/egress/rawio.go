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
	poll    [1]unix.PollFd
	now     unix.Timespec // how long poll waits
	calm    bool          // poll found nothing
	// What is done with the descriptor, made once for a connection.
	readNow, writeNow func(fd uintptr) (done bool)
	pollNow           func(fd uintptr)
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
		r.in.step(unix.SYS_READ, fd)
		return r.in.err != unix.EAGAIN
	}
	r.writeNow = func(fd uintptr) bool {
		for r.out.n < len(r.out.buf) {
			if r.out.step(unix.SYS_WRITE, fd); r.out.err != 0 {
				return r.out.err != unix.EAGAIN
			}
		}
		return true
	}
	r.pollNow = func(fd uintptr) {
		r.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
		n, err := uintptr(0), unix.EINTR
		for err == unix.EINTR {
			n, _, err = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&r.poll)), 1, uintptr(unsafe.Pointer(&r.now)), 0, 0, 0)
		}
		r.calm = n == 0 && err == 0
	}
	return r
}

// quiet says whether nothing has come in, and the other side has closed nothing.
func (r *rawIO) quiet() bool { return r.fd.Control(r.pollNow) == nil && r.calm }

// step makes one system call for what is left of buf.
func (t *transfer) step(call, fd uintptr) {
	left := t.buf[t.n:]
	for {
		n, _, err := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(left))), uintptr(len(left)))
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

package inside

import (
	"io"
	"net"
	"strconv"
	"time"

	"bottle/pkg/tunnel"
)

// dialTime bounds one connection to a server in this container.
const dialTime = 10 * time.Second

// Forward is the agent's end of a tunnel: it dials the ports of the container's
// own loopback that the host asks for, until its input ends.
func Forward(args []string, in io.Reader, out, errOut io.Writer) int {
	if f := flags("forward", errOut); f.Parse(args) != nil || f.NArg() > 0 {
		return exitUsage
	}
	if err := tunnel.Serve(io.NopCloser(in), stay{out}, dialLoopback); err != nil {
		return complain(errOut, err)
	}
	return 0
}

func dialLoopback(port uint16) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTime}
	c, err := d.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// stay is a writer that is closed with the program.
type stay struct{ io.Writer }

func (stay) Close() error { return nil }

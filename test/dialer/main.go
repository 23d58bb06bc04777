// Command dialer opens TCP connections for tests, in the bottle that it runs in. Its
// standard streams carry them, by yamux. A stream begins with the address that is to
// be dialled, ADDRESS:PORT and a line's end, and is answered by one byte: 0 where it
// was, 1 where not. Bytes then come and go unchanged; it ends when the other side
// ends the connection, however that was.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-yamux/v5"

	"bottle/test/pipe"
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

func run(in io.ReadCloser, out io.WriteCloser, errOut io.Writer) int {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false // the end of the streams tells
	config.LogOutput = errOut
	mux, err := yamux.Server(pipe.Conn{ReadCloser: in, Out: out}, config, nil)
	if err != nil {
		fmt.Fprintf(errOut, "dialer: %v\n", err)
		return 1
	}
	for {
		s, err := mux.AcceptStream()
		if err != nil {
			return 0 // the test is gone
		}
		go serve(s)
	}
}

func serve(s *yamux.Stream) {
	r := bufio.NewReader(s)
	address, err := r.ReadString('\n')
	if err != nil {
		s.Reset()
		return
	}
	c, err := net.DialTimeout("tcp", strings.TrimSuffix(address, "\n"), 20*time.Second)
	if err != nil {
		s.Write([]byte{1})
		s.Close()
		return
	}
	if _, err := s.Write([]byte{0}); err != nil {
		c.Close()
		return
	}
	go func() {
		// Who can no longer write may still have an answer to read.
		if _, err := io.Copy(c, r); err == nil {
			c.Close()
		}
	}()
	io.Copy(s, c)
	s.Close()
	c.Close()
}

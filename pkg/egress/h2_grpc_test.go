package egress

import (
	"bytes"
	zip "compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// bare sends texts as they are: what is tried is the way, not protobuf.
type bare struct{}

func (bare) Name() string                  { return "bare" }
func (bare) Marshal(v any) ([]byte, error) { return []byte(*v.(*string)), nil }
func (bare) Unmarshal(b []byte, v any) error {
	*v.(*string) = string(b)
	return nil
}

// echoed is a service of all four kinds: it sends back what comes, until it is
// told to fail, or to end.
func echoed(_ any, s grpc.ServerStream) error {
	s.SetTrailer(metadata.Pairs("x-last", "trailer"))
	md, _ := metadata.FromIncomingContext(s.Context())
	s.SetHeader(metadata.Pairs("x-first", strings.Join(md["x-sent"], ",")))
	for {
		var m string
		if err := s.RecvMsg(&m); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		switch m {
		case "fail":
			return status.Error(codes.FailedPrecondition, "as it was told")
		case "end":
			return nil
		}
		if err := s.SendMsg(&m); err != nil {
			return err
		}
	}
}

// serveGRPC makes a host of the outside that speaks gRPC.
func (w *world) serveGRPC(host string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	s := grpc.NewServer(grpc.ForceServerCodec(bare{}), grpc.UnknownServiceHandler(echoed), grpc.Creds(credentials.NewTLS(w.certificate(host))))
	go s.Serve(l)
	w.t.Cleanup(s.Stop)
	w.setHost(host+":443", l.Addr().String())
}

// dialGRPC is a gRPC client of the agent's.
func (w *world) dialGRPC(host string) *grpc.ClientConn {
	c, err := grpc.NewClient("passthrough:///"+host+":443", grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(w.trust, host)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bare{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr(w.s.Ports().TLS))
		}))
	must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

var both = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

func TestGRPCCallsAndStreams(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC("a.example")
	c := w.dialGRPC("a.example")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-sent", "header")
	for _, size := range []int{0, 10, 100_000} {
		var first, last metadata.MD
		in, out := strings.Repeat("x", size), ""
		if err := c.Invoke(ctx, "/echo.Echo/One", &in, &out, grpc.Header(&first), grpc.Trailer(&last)); err != nil || out != in {
			t.Errorf("%d bytes: %v, %d came back", size, err, len(out))
		}
		if fmt.Sprint(first["x-first"], last["x-last"]) != "[header] [trailer]" {
			t.Errorf("%v, %v", first, last)
		}
	}
	in, out := "fail", ""
	if err := c.Invoke(ctx, "/echo.Echo/One", &in, &out); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "as it was told") {
		t.Errorf("a call that fails: %v", err)
	}
	s, err := c.NewStream(ctx, both, "/echo.Echo/Many")
	must(t, err)
	for i := range 100 { // each is answered before the next is sent
		in := fmt.Sprint("message ", i)
		must(t, s.SendMsg(&in))
		must(t, s.RecvMsg(&out))
		if out != in {
			t.Fatalf("%q came back as %q", in, out)
		}
	}
	must(t, s.CloseSend())
	if err := s.RecvMsg(&out); err != io.EOF || fmt.Sprint(s.Trailer()["x-last"]) != "[trailer]" {
		t.Errorf("at the end: %v, %v", err, s.Trailer())
	}
}

// A server that ends first is not waited for.
func TestGRPCServersMayEndFirst(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC("a.example")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := w.dialGRPC("a.example").NewStream(ctx, both, "/echo.Echo/Many")
	must(t, err)
	in, out := "end", ""
	must(t, s.SendMsg(&in))
	if err := s.RecvMsg(&out); err != io.EOF {
		t.Errorf("%v", err)
	}
	if e := w.event("request"); e.Status != 200 || e.Path != "/echo.Echo/Many" || e.Millis > 900 {
		t.Errorf("event %+v", e)
	}
}

func TestGRPCIsScannedMessageByMessage(t *testing.T) {
	w, _ := scanWorld(t)
	w.serveGRPC("a.example")
	c := w.dialGRPC("a.example")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	in, out := "it is "+aKey+".", ""
	if err := c.Invoke(ctx, "/echo.Echo/One", &in, &out); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a call with a secret: %v", err)
	}
	if e := w.event("request"); e.Verdict != "deny" || e.Finding != "github-pat" {
		t.Errorf("event %+v", e)
	}
	s, err := c.NewStream(ctx, both, "/echo.Echo/Many")
	must(t, err)
	fine := "fine"
	must(t, s.SendMsg(&fine))
	must(t, s.RecvMsg(&out))
	must(t, s.SendMsg(&in))
	if err := s.RecvMsg(&out); err == nil {
		t.Errorf("%q came back", out)
	}
	if e := w.event("request"); e.Verdict != "deny" || e.Finding != "github-pat" {
		t.Errorf("event %+v", e)
	}
	packed := strings.Repeat("compressed ", 100) + aKey
	if err := c.Invoke(ctx, "/echo.Echo/One", &packed, &out, grpc.UseCompressor(gzip.Name)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("compressed messages: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Contains(mustJSON(t, w.events), []byte(aKey)) {
		t.Error("the log holds the secret")
	}
}

// Streams that last hold no memory that others need.
func TestManyLastingStreamsLeaveRoom(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC("a.example")
	c := w.dialGRPC("a.example")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var list []grpc.ClientStream
	in, out := "here", ""
	for range 80 {
		s, err := c.NewStream(ctx, both, "/echo.Echo/Many")
		must(t, err)
		must(t, s.SendMsg(&in))
		must(t, s.RecvMsg(&out))
		list = append(list, s)
	}
	must(t, c.Invoke(ctx, "/echo.Echo/One", &in, &out))
	for _, s := range list {
		must(t, s.CloseSend())
	}
}

// Messages are looked into however their body is announced, where a server would.
func TestCompressedMessagesAreScannedUnderEveryName(t *testing.T) {
	w, arrived := scanWorld(t)
	c := w.agent()
	framed := func(text string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		io.WriteString(z, text)
		must(t, z.Close())
		head := []byte{1, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[1:], uint32(b.Len()))
		return append(head, b.Bytes()...)
	}
	for name, header := range map[string][]string{
		"identity":                      {"Content-Type", "application/grpc", "Grpc-Encoding", "gzip", "Content-Encoding", "identity"},
		"gRPC-Web":                      {"Content-Type", "application/grpc-web+proto", "Grpc-Encoding", "gzip"},
		"Connect":                       {"Content-Type", "application/connect+json", "Connect-Content-Encoding", "gzip"},
		"another type":                  {"Content-Type", "application/octet-stream", "Grpc-Encoding", "gzip"},
		"a type of gRPC's and a suffix": {"Content-Type", "application/grpcx", "Grpc-Encoding", "gzip"},
	} {
		for _, chunked := range []bool{false, true} {
			before := arrived.Load()
			if status, _, got := post(t, c, "https://a.example/x", framed(strings.Repeat("compressed ", 100)+aKey), chunked, header...); status != 403 || arrived.Load() != before {
				t.Errorf("%s, chunked %v: %d %s", name, chunked, status, got)
			}
			if status, _, got := post(t, c, "https://a.example/x", framed("nothing of note"), chunked, header...); status != 200 {
				t.Errorf("%s, chunked %v, without a secret: %d %s", name, chunked, status, got)
			}
		}
	}
	for name, header := range map[string][]string{
		"a Content-Encoding": {"Content-Type", "application/grpc", "Grpc-Encoding", "gzip", "Content-Encoding", "deflate"},
		"two encodings":      {"Content-Type", "application/grpc", "Grpc-Encoding", "gzip", "Connect-Content-Encoding", "deflate"},
		"gRPC-Web's base64":  {"Content-Type", "application/grpc-web-text", "Grpc-Encoding", "gzip"},
	} {
		body := framed("nothing of note")
		if strings.HasSuffix(header[1], "text") {
			body = base64.StdEncoding.AppendEncode(nil, body)
		}
		if status, _, got := post(t, c, "https://a.example/x", body, false, header...); status != 403 {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
	if status, _, got := post(t, c, "https://model.example/x", []byte{0, 0, 0, 0, 1, 'x'}, false, "Content-Type", "application/grpc", "Content-Encoding", "identity"); status != 403 {
		t.Errorf("gRPC to the model: %d %s", status, got)
	}
}

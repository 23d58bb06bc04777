package escape

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"bottle/test/rig"
)

// calls has a program inside stream messages by gRPC, each of which is answered
// before the next one is sent, and then one that must not leave.
func (s *stage) calls(t *testing.T) {
	const method = "/e20.Calls/Stream"
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	way := s.dial(t, tlsPort)
	conn, err := grpc.NewClient("passthrough:///"+second+":443", grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(s.raw(t).trust, second)),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return way, nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) (string, error) {
		if err := stream.SendMsg(wrapperspb.String(text)); err != nil {
			return "", err
		}
		var back wrapperspb.StringValue
		err := stream.RecvMsg(&back)
		return back.Value, err
	}
	texts := []string{strings.Repeat(calm+" ", 10_000)}
	for i := range 20 {
		texts = append(texts, fmt.Sprint(calm, " ", i))
	}
	for _, text := range texts {
		if got, err := say(text); err != nil || got != text {
			t.Fatalf("of %d bytes came back %d: %v", len(text), len(got), err)
		}
	}
	if got, err := say("e20-called " + aKey); err == nil {
		t.Errorf("a secret came back: %s", got)
	}
	s.unheard(t, "e20-called")
	if n := len(s.messages(method)); n != len(texts) {
		t.Errorf("%d of %d messages arrived", n, len(texts))
	}
	if e := s.requests(method); len(e) != 1 || e[0].Proto != "HTTP/2.0" {
		t.Errorf("the internet got %+v", e)
	}
}

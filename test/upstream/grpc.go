package main

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// calls serves gRPC to who speaks it, and says whether it was so: whatever the
// method, each message, a text, is told of and sent back.
func (d *diary) calls(w http.ResponseWriter, r *http.Request, kind string) bool {
	if r.ProtoMajor != 2 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		return false
	}
	d.note(entry{Kind: kind, From: r.RemoteAddr, Host: r.Host, Method: r.Method, Path: r.URL.Path, Proto: r.Proto, Header: headerLines(r)})
	echo := func(_ any, s grpc.ServerStream) error {
		for {
			var m wrapperspb.StringValue
			switch err := s.RecvMsg(&m); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			d.note(entry{Kind: "message", Host: r.Host, Path: r.URL.Path, Detail: m.Value})
			if err := s.SendMsg(&m); err != nil {
				return err
			}
		}
	}
	grpc.NewServer(grpc.UnknownServiceHandler(echo)).ServeHTTP(w, r)
	return true
}

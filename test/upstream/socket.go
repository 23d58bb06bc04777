package main

import (
	"net/http"

	"github.com/coder/websocket"
)

// socket is a WebSocket that tells of each message, and sends it back.
func (d *diary) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		d.note(entry{Kind: "message", Host: r.Host, Path: r.URL.RequestURI(), Detail: string(data)})
		if conn.Write(r.Context(), kind, data) != nil {
			return
		}
	}
}
